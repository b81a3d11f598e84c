"""Measures live recognition against recordings of known text: error rate, latency, changes, and six hours on end.

    python scripts/live_check.py accuracy MODEL MANIFEST --split test
    python scripts/live_check.py realtime MODEL MANIFEST --split test --seconds 120
    python scripts/live_check.py hours MODEL MANIFEST --split test --hours 6

The utterances of each speaker are joined, with pauses of 0.3 to 1.5 s of faint noise between them. `accuracy` and
`hours` have a virtual clock: audio is heard as fast as it is computed, and what is computed when the audio says so is
counted as time. `realtime` plays audio into `wav2vec2 listen - --model MODEL` as fast as somebody speaks, and notes
when lines come out. Word ends are those of `wav2vec2.Aligner` with the utterance's own transcript.
"""

import argparse
import json
import resource
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import kaldialign
import numpy as np
import torch

from wav2vec2.audio.pauses import Detector, frame_energies, speech_by_energy
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.evaluation.joined import quietest
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.align import Aligner
from wav2vec2.inference.live.events import LiveEvent
from wav2vec2.inference.live.settings import LOOK_AHEAD, LiveSettings
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.text.error_rate import ErrorCounts, word_errors

RATE, BLOCK = 16_000, 1600


@dataclass
class Joined:
    """One speaker's utterances: audio, texts, and where each text begins, in seconds."""

    speaker: str
    audio: np.ndarray
    texts: list[str]
    parts: list[np.ndarray]
    starts: list[float]


def joined(manifest: str, split: str, pauses: tuple[float, float], noise: float | None) -> Iterator[Joined]:
    """Join the utterances of each speaker; noise: its level in dB, under everything. None: see `main`."""
    rows = defaultdict(list)
    for row in Manifest.open(manifest, split):
        if row.text:
            rows[row.speaker].append(row)
    rng = np.random.default_rng(0)
    for speaker, utterances in rows.items():
        pieces, texts, parts, starts = [np.zeros(RATE // 2, np.float32)], [], [], []
        for row in utterances:
            part = read_utterance(row)
            starts.append(sum(map(len, pieces)) / RATE)
            pause = np.zeros(round(RATE * rng.uniform(*pauses)), np.float32)
            if noise is None:
                pause += np.float32(quietest(part)) * rng.standard_normal(len(pause), dtype=np.float32)
            pieces += [part, pause]
            texts.append(row.text or "")
            parts.append(part)
        audio = np.concatenate([*pieces, np.zeros(RATE, np.float32)])
        if noise is not None:
            audio += np.float32(10 ** (noise / 20)) * rng.standard_normal(len(audio), dtype=np.float32)
        yield Joined(str(speaker), audio, texts, parts, starts)


def error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    return 100 * sum((word_errors(said, heard) for said, heard in pairs), ErrorCounts()).rate


def word_ends(aligner: Aligner, one: Joined) -> list[tuple[str, float]]:
    """The words of the transcripts with the time at which each ends."""
    found = []
    for start, part, text in zip(one.starts, one.parts, one.texts, strict=True):
        found += [(word.text, start + word.end) for word in aligner(part, text).words if word.end is not None]
    return found


def delays(spoken: Sequence[tuple[str, float]], written: Sequence[tuple[str, float, float]]) -> list[float]:
    """From the end of each correctly written word (text, end, time of commitment) to its commitment."""
    pairs = kaldialign.align([word for word, _ in spoken], [word for word, _, _ in written], "*")
    result, i, j = [], 0, 0
    for a, b in pairs:
        if a == b:
            result.append(written[j][2] - spoken[i][1])
        i, j = i + (a != "*"), j + (b != "*")
    return result


def overlapping(word, others) -> bool:  # type: ignore[no-untyped-def]
    return any(o.text == word.text and o.start < word.end and word.start < o.end for o in others)


@dataclass
class Played:
    events: list[tuple[LiveEvent, float]]
    """With the time of each: audio heard, and what was computed until then that the audio did not leave time for."""

    def words(self, kind: str):  # type: ignore[no-untyped-def]
        return [(word, at) for event, at in self.events if event.kind == kind for word in event.words]


def play(transcriber: Transcriber, settings: LiveSettings, audio: np.ndarray) -> Played:
    session, events, ready = transcriber.live(settings), [], 0.0
    for begin in range(0, len(audio) + BLOCK, BLOCK):
        block = audio[begin : begin + BLOCK]
        came = (begin + len(block)) / RATE
        clock = time.perf_counter()
        found = session.push(block) if len(block) else session.finish()
        ready = max(ready, came) + time.perf_counter() - clock
        events += [(event, ready) for event in found]
    return Played(events)


def accuracy(options: argparse.Namespace) -> None:
    model = AcousticModel(options.model)
    transcriber, aligner = Transcriber(model, lm=options.lm), Aligner(model)
    streams = list(joined(options.manifest, options.split, (0.3, 1.5), options.noise))
    offline = [
        (text, result.text) for one in streams for text, result in zip(one.texts, transcriber(one.parts), strict=True)
    ]
    whole = [(" ".join(one.texts), transcriber(one.audio).text) for one in streams]
    print(f"{sum(len(one.audio) for one in streams) / RATE:.0f} s, {len(streams)} streams")
    print(f"by utterance: WER {error_rate(offline):.2f}; the joined recordings at once: {error_rate(whole):.2f}")
    ends = [word_ends(aligner, one) for one in streams]
    for delay in options.delays:
        settings = LiveSettings(delay=delay, vad=options.vad).suited(model.longest_heard, transcriber.tuned)
        played = [play(transcriber, settings, one.audio) for one in streams]
        pairs, waits, retracted, shown, changed = [], [], 0, 0, 0
        for one, spoken, run in zip(streams, ends, played, strict=True):
            committed, final = run.words("committed"), run.words("final")
            pairs.append((" ".join(one.texts), " ".join(word.text for word, _ in committed)))
            retracted += [word for word, _ in committed] != [word for word, _ in final]
            waits += delays(spoken, [(word.text, word.end, at) for word, at in committed])
            tentative = [word for word, _ in run.words("tentative")]
            shown += len(tentative)
            changed += sum(not overlapping(word, [other for other, _ in committed]) for word in tentative)
        share = f"{changed} of {shown} ({100 * changed / max(shown, 1):.1f} %)"
        p50, p95 = np.percentile(waits, [50, 95])
        print(
            f"{delay}: latency {settings.latency:.2f} s, WER {error_rate(pairs):.2f}, streams with a retracted word "
            f"{retracted}, tentative words changed {share}, word end to commit p50 {p50:.2f} p95 {p95:.2f} s "
            f"({len(waits)} words)",
            flush=True,
        )


def realtime(options: argparse.Namespace) -> None:
    one = next(joined(options.manifest, options.split, (0.3, 1.5), options.noise))
    audio = one.audio[: round(options.seconds * RATE)]
    spoken = word_ends(Aligner(options.model), one)
    command = [sys.executable, "-m", "wav2vec2", "listen", "-", "--model", options.model, "--format", "jsonl"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    while b"speak now" not in (line := process.stderr.readline()):
        print(line.decode().strip())
    lines: list[tuple[float, dict]] = []  # type: ignore[type-arg]

    def read() -> None:
        for line in process.stdout:  # type: ignore[union-attr]
            lines.append((time.perf_counter(), json.loads(line)))

    reader = threading.Thread(target=read)
    reader.start()
    begin = time.perf_counter()
    for place in range(0, len(audio), BLOCK):
        block = audio[place : place + BLOCK]
        time.sleep(max(0.0, begin + (place + len(block)) / RATE - time.perf_counter()))
        process.stdin.write((np.clip(block, -1, 1) * 32767).astype("<i2").tobytes())
        process.stdin.flush()
    process.stdin.close()
    reader.join(60)
    speech = np.flatnonzero(speech_by_energy(frame_energies(audio)))
    waits, final_waits = [], []
    for at, event in lines:
        if event["kind"] == "final" and event["heard"] < len(audio) / RATE - 0.2:
            before = speech[speech < round((event["heard"] - 0.5) * 100)]
            if len(before) and event["heard"] - (before[-1] + 1) / 100 < 1.5:  # not one that was cut in speech
                final_waits.append(at - begin - (before[-1] + 1) / 100)
    written = [
        (word["text"], word["end"], at - begin)
        for at, event in lines
        if event["kind"] == "committed"
        for word in event["words"]
    ]
    waits = delays([(word, end) for word, end in spoken if end < len(audio) / RATE], written)
    print(f"{len(audio) / RATE:.0f} s played in {time.perf_counter() - begin:.0f} s; {len(written)} words")
    print(f"word end to commit: p50 {np.percentile(waits, 50):.2f}, p95 {np.percentile(waits, 95):.2f} s")
    print(f"speech end to final text: median {np.median(final_waits):.2f}, most {max(final_waits):.2f} s")
    print(f"({len(final_waits)} utterances)")


def hours(options: argparse.Namespace) -> None:
    model = AcousticModel(options.model)
    one = next(joined(options.manifest, options.split, (0.3, 1.5), options.noise))
    minute = np.concatenate([one.audio] * (1 + 60 * RATE // len(one.audio)))[: 60 * RATE]
    session = Transcriber(model).live()
    for number in range(round(options.hours * 60)):
        clock = time.process_time()
        events = [
            event for begin in range(0, len(minute), BLOCK) for event in session.push(minute[begin : begin + BLOCK])
        ]
        seconds = time.process_time() - clock
        if number < 3 or (number + 1) % 60 == 0:
            text = " ".join(event.text for event in events if event.kind == "committed")
            memory = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
            print(
                f"minute {number + 1}: {1000 * seconds * 0.96 / 60:.1f} ms of CPU a chunk, {memory:.0f} MiB, "
                f"{len(text.split())} words, text {hash(text) & 0xFFFF:04x}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["accuracy", "realtime", "hours"])
    parser.add_argument("model")
    parser.add_argument("manifest")
    parser.add_argument("--split", default="test")
    parser.add_argument("--noise", type=float, default=-70.0, help="dB of the noise under everything")
    own = "instead, noise in the pauses that is as loud as the quietest of the utterance before, as tune has it"
    parser.add_argument("--own-noise", dest="noise", action="store_const", const=None, help=own)
    parser.add_argument("--vad", default="energy", choices=get_args(Detector), help="for accuracy")
    parser.add_argument("--delays", nargs="*", default=["high"], choices=list(LOOK_AHEAD))
    parser.add_argument("--lm", help="a language model, for accuracy")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--hours", type=float, default=6.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    {"accuracy": accuracy, "realtime": realtime, "hours": hours}[options.what](options)


if __name__ == "__main__":
    main()
