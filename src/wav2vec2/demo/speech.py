"""Speech for the demo, synthesised: many voices that read commands of a small grammar (espeak-ng through ctypes).

The result is a LibriSpeech-like tree (``split/speaker/chapter/*.flac`` with ``*.trans.txt``), so that the ordinary
``prepare librispeech`` reads it. No speaker is in two splits, and no voice variant serves two speakers. The same seed
and minutes give the same files.
"""

import ctypes
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.errors import UserError

VERBS = ("bring", "move", "hide", "paint", "count", "take")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = ("red", "blue", "green", "yellow", "black", "white")
OBJECTS = ("boxes", "chairs", "lamps", "books", "coins", "stones")
PLACES = ("kitchen", "garden", "window", "river", "table", "station")
RELATIONS = ("to the", "behind the", "near the", "under the")

TRAIN_VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m7", "f1", "f2", "f3", "Alex", "Andy", "Annie", "Denis", "Gene", "Hugo", "Jacky"),
    *("Lee", "Marco", "Mario", "Michael", "Mike", "Storm", "adam", "anika", "antonio", "aunty", "benjamin", "boris"),
    *("david", "edward", "john", "linda", "max", "paul", "pedro", "robert", "steph2", "victor", "zac"),
)
DEV_VARIANTS = ("f4", "m8", "Alicia", "miguel")
TEST_VARIANTS = ("f5", "m6", "Andrea", "Diogo", "quincy", "steph", "travis", "sandro")
ACCENTS = ("en-us", "en", "en-gb-x-rp", "en-us-nyc")
SHARES = {"unlabelled": 0.35, "train": 0.5, "dev": 0.05, "test": 0.1}
"""Of the minutes, by split. ``unlabelled`` has the speakers of train; those of dev and test are heard nowhere else."""


@dataclass(frozen=True)
class Speaker:
    """One synthetic voice: an espeak-ng voice name and the middle of its settings, which vary from phrase to phrase."""

    name: str
    split: str
    voice: str
    words_per_minute: int
    pitch: int
    pitch_range: int
    noise_db: float


class Synthesizer:
    """libespeak-ng, opened once a process; ``say`` returns float32 samples at 16 kHz."""

    _SYNCHRONOUS, _RATE, _PITCH, _RANGE, _UTF8 = 2, 1, 3, 4, 1

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise UserError("the demo's speech needs espeakng-loader: pip install 'wav2vec2[demo]'") from error
        data = str(espeakng_loader.get_data_path())
        try:
            self._library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        except OSError as error:
            raise UserError(f"cannot open libespeak-ng: {error}; pass recordings of your own by --speech") from error
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
            ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        self._rate = self._library.espeak_Initialize(self._SYNCHRONOUS, 0, data.encode(), 0)
        if self._rate <= 0:
            raise UserError(f"espeak-ng cannot read its data in {data}: use a shorter path for the environment")
        self._blocks: list[bytes] = []
        prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = prototype(self._collect)  # kept: ctypes does not hold a reference
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if samples and count > 0:
            self._blocks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def set_voice(self, name: str) -> None:
        """Choose the voice; raises UserError when this espeak-ng does not have it."""
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise UserError(f"espeak-ng has no voice {name}: install espeakng-loader 0.2.4")

    def say(self, text: str, *, words_per_minute: int, pitch: int, pitch_range: int) -> np.ndarray:
        """Speak ``text``; the silence that espeak-ng leaves at both ends is trimmed to at most 0.1 s."""
        for parameter, value in ((self._RATE, words_per_minute), (self._PITCH, pitch), (self._RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._blocks.clear()
        data = text.encode()
        # Breathy voices draw noise, which the clock would seed.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, self._UTF8, None, None)
        pcm = np.frombuffer(b"".join(self._blocks), dtype=np.int16).astype(np.float32) / 32768
        loud = np.flatnonzero(np.abs(pcm) > 0.01)
        if len(loud) == 0:
            raise UserError(f"espeak-ng gave silence for '{text}': reinstall espeakng-loader")
        margin = self._rate // 10
        pcm = pcm[max(0, loud[0] - margin) : loud[-1] + margin]
        return np.asarray(soxr.resample(pcm, self._rate, SAMPLE_RATE), dtype=np.float32)


def phrase(rng: random.Random) -> str:
    """A command of the grammar or a part of one, lower case, e.g. ``bring seven red boxes to the garden``."""
    verb, things = rng.choice(VERBS), [rng.choice(NUMBERS), rng.choice(COLOURS), rng.choice(OBJECTS)]
    place = [rng.choice(RELATIONS), rng.choice(PLACES)]
    parts = ([verb, *things, *place], things, place, things[:2], things[1:], [verb, *things])
    return " ".join(rng.choice(parts))


def speakers(seed: int = 0) -> list[Speaker]:
    """The cast: each voice variant is one speaker of one split, with an accent, a rate and a pitch of its own."""
    rng = random.Random(f"speakers {seed}")
    cast = []
    for split, variants in (("train", TRAIN_VARIANTS), ("dev", DEV_VARIANTS), ("test", TEST_VARIANTS)):
        for index, variant in enumerate(variants):
            cast.append(
                Speaker(
                    name=str(1000 * (1 + ("train", "dev", "test").index(split)) + index),
                    split=split,
                    voice=f"{ACCENTS[index % len(ACCENTS)]}+{variant}",
                    words_per_minute=rng.randint(145, 175),
                    pitch=rng.randint(30, 70),
                    pitch_range=rng.randint(30, 70),
                    noise_db=rng.uniform(-60, -45),
                )
            )
    return cast


def _record(folder: Path, seconds: dict[str, float], seed: int, speaker: Speaker) -> dict[str, float]:
    """Write one speaker's utterances of each of their splits; returns the seconds written, by split."""
    synthesizer = Synthesizer()
    synthesizer.set_voice(speaker.voice)
    # Long utterances for pre-training (distractors come from the same utterance), short ones for CTC to align soon.
    lengths = {"unlabelled": 4, "train": 1} if speaker.split == "train" else {speaker.split: 1}
    return {
        split: _record_split(synthesizer, folder, speaker, split, phrases, seconds[split], seed)
        for split, phrases in lengths.items()
    }


def _record_split(
    synthesizer: Synthesizer, folder: Path, speaker: Speaker, split: str, phrases: int, seconds: float, seed: int
) -> float:
    number = f"{speaker.name}-{2 if split == 'unlabelled' else 1}"
    chapter = folder / split / number.replace("-", "/")
    chapter.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{seed} {split} {speaker.name}")
    noise = np.random.default_rng([seed, int(speaker.name), phrases])
    lines: list[str] = []
    written = 0
    while written < seconds * SAMPLE_RATE:
        name = f"{number}-{len(lines):04d}"
        texts = [phrase(rng) for _ in range(phrases)]
        speech = synthesizer.say(
            ", ".join(texts),
            words_per_minute=speaker.words_per_minute + rng.randint(-15, 15),
            pitch=speaker.pitch + rng.randint(-10, 10),
            pitch_range=speaker.pitch_range + rng.randint(-15, 15),
        )
        # Room noise: digital silence between words is found in no recording.
        level = np.float32(10 ** (speaker.noise_db / 20))
        speech = speech + level * noise.standard_normal(len(speech), dtype=np.float32)
        peak = float(np.abs(speech).max())
        soundfile.write(chapter / f"{name}.flac", speech * np.float32(0.7 / peak), SAMPLE_RATE, subtype="PCM_16")
        lines.append(f"{name} {' '.join(texts).upper()}\n")
        written += len(speech)
    (chapter / f"{number}.trans.txt").write_text("".join(lines), encoding="utf-8")
    return written / SAMPLE_RATE


def synthesize(folder: Path, *, minutes: float = 20.0, seed: int = 0, processes: int = 2) -> dict[str, float]:
    """Write about ``minutes`` of speech under ``folder``; returns the seconds of each split.

    Raises UserError when espeakng-loader is missing or the folder cannot be written.
    """
    cast = speakers(seed)
    number = {split: sum(s.split == split for s in cast) for split in ("train", "dev", "test")}
    number["unlabelled"] = number["train"]
    seconds = {split: 60 * minutes * share / number[split] for split, share in SHARES.items()}
    totals = dict.fromkeys(SHARES, 0.0)
    # A fresh process for each speaker: espeak-ng keeps state, and a file must not depend on what was said before it.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:
            for written in pool.map(partial(_record, folder, seconds, seed), cast):
                for split, length in written.items():
                    totals[split] += length
    except OSError as error:
        raise UserError(f"cannot write speech to {folder}: {error.strerror or error}; pass another --out") from error
    return totals
