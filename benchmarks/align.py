"""Errors of `wav2vec2 align` against the true word boundaries of synthetic speech.

espeak-ng reports the sample at which each word starts, and the pause after the last one; a word ends where the next one
starts. The phrases come from the grammar of the demo, spoken by its test voices, so MODEL is the model that `make demo`
trains (runs/demo/finetune/model). The baseline does not use the audio: it spreads the words over the speech, between
its true ends, in proportion to their letters.

    python benchmarks/align.py runs/demo/finetune/model --phrases 10
"""

import argparse
import ctypes
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from arguments import run

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.demo.speech import Speaker, Synthesizer, phrase, speakers
from wav2vec2.errors import UserError
from wav2vec2.inference.align import Aligner

END_OF_LIST, WORD, PHONEME = 0, 1, 7
PHONEME_EVENTS = 1


class Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


class TimedSynthesizer(Synthesizer):
    """Also reports the seconds at which the words and the final pause start."""

    def __init__(self) -> None:
        super().__init__()
        import espeakng_loader

        data = str(espeakng_loader.get_data_path()).encode()
        self._library.espeak_Initialize(self._SYNCHRONOUS, 0, data, PHONEME_EVENTS)
        self._library.espeak_SetSynthCallback(self._callback)
        self.edges: list[float] = []

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        events = ctypes.cast(_events, ctypes.POINTER(Event))
        number = 0
        while _events and events[number].type != END_OF_LIST:
            event = events[number]
            if event.type == WORD or (event.type == PHONEME and event.name.startswith(b"_")):
                self.edges.append(event.sample / self._rate)
            number += 1
        return super()._collect(samples, count, _events)

    def timed(self, text: str, speaker: Speaker, rng: random.Random) -> tuple[np.ndarray, list[float]]:
        """Return samples at 16 kHz, and len(words) + 1 edges in seconds."""
        self.edges.clear()
        rate = speaker.words_per_minute + rng.randint(-15, 15)
        self.say(text, words_per_minute=rate, pitch=speaker.pitch, pitch_range=speaker.pitch_range)
        # not the samples of `say`, which trims the silence at both ends and so moves the edges
        whole = np.frombuffer(b"".join(self._blocks), dtype=np.int16).astype(np.float32) / 32768
        speech = np.asarray(soxr.resample(whole, self._rate, SAMPLE_RATE), dtype=np.float32)
        noise = np.random.default_rng(rng.randrange(1 << 30)).standard_normal(len(speech), dtype=np.float32)
        speech = speech + np.float32(10 ** (speaker.noise_db / 20)) * noise
        return speech * np.float32(0.7 / np.abs(speech).max()), self.edges[: len(text.split()) + 1]


@dataclass
class Errors:
    """Seconds by which the edges found are late."""

    begins: list[float]
    ends: list[float]

    def row(self, name: str) -> str:
        cells = []
        for late in (np.array(self.begins), np.array(self.ends)):
            size = 1000 * np.abs(late)
            shares = [f"{100 * np.mean(size <= limit):.0f} %" for limit in (20, 50, 100)]
            cells += [f"{size.mean():.0f}", f"{np.median(size):.0f}", f"{1000 * late.mean():+.0f}", *shares]
        return " | ".join([f"| {name}", *cells, ""]).rstrip()


def by_letters(words: list[str], edges: list[float]) -> np.ndarray:
    """Return edges of words spread over the same speech in proportion to their letters."""
    shares = np.cumsum([0, *(len(word) for word in words)]) / sum(map(len, words))
    return np.asarray(edges[0] + shares * (edges[-1] - edges[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--phrases", type=int, default=10, help="phrases of each voice")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    aligner, synthesizer, rng = Aligner(str(options.model)), TimedSynthesizer(), random.Random(options.seed)
    found, guessed, failed, cast = Errors([], []), Errors([], []), 0, [s for s in speakers() if s.split == "test"]
    for speaker in cast:
        synthesizer.set_voice(speaker.voice)
        for _ in range(options.phrases):
            text = phrase(rng)
            speech, edges = synthesizer.timed(text, speaker, rng)
            words = text.split()
            assert len(edges) == len(words) + 1, (text, edges)
            try:
                aligned = aligner(speech, text.upper()).words
            except UserError:
                failed += 1
                continue
            guess = by_letters(words, edges)
            for place, word in enumerate(aligned):
                if word.start is not None and word.end is not None:
                    found.begins.append(word.start - edges[place])
                    found.ends.append(word.end - edges[place + 1])
                guessed.begins.append(guess[place] - edges[place])
                guessed.ends.append(guess[place + 1] - edges[place + 1])
    print(f"{len(cast)} voices, {len(guessed.begins)} words, {failed} phrases could not be aligned; milliseconds\n")
    head = ["mean", "median", "bias", "<= 20 ms", "<= 50 ms", "<= 100 ms"]
    print(" | ".join(["|", *(f"begin {name}" for name in head), *(f"end {name}" for name in head), ""]).rstrip())
    print("|---" * 13 + "|")
    print(found.row("align"))
    print(guessed.row("by letters"))


if __name__ == "__main__":
    run(main)
