"""Peak memory and processor time of `wav2vec2 transcribe` for recordings of 5 minutes, an hour and six hours.

    python scripts/long_recordings.py MODEL RECORDING FOLDER [--hours 0.0833 1 6] [--searches greedy beam]
    python scripts/long_recordings.py MODEL RECORDING FOLDER --hours 5 --containers mp3 --by-hour

RECORDING is repeated to the wanted lengths, without encoding it again, in WAV, MP3, Opus, M4A and WebM (by ffmpeg, in
FOLDER). Each run is a process of its own; its peak memory and processor time are those that the kernel counts. The
table is printed as Markdown; docs/results/long_recordings.md holds one. --by-hour: instead, the processor seconds that
each hour of the recordings takes, in this process and with one thread.
"""

import argparse
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch

from wav2vec2 import Transcriber
from wav2vec2.audio.recordings import stream_recording
from wav2vec2.inference.chunks import TranscribedPiece

CONTAINERS = {
    "wav": ["-c:a", "pcm_s16le"],
    "mp3": ["-c:a", "libmp3lame", "-b:a", "64k"],
    "opus": ["-c:a", "libopus", "-b:a", "24k"],
    "m4a": ["-c:a", "aac", "-b:a", "48k"],
    "webm": ["-c:a", "libopus", "-b:a", "24k"],
}
SEARCHES = {"greedy": ["--decoder", "greedy"], "beam": ["--decoder", "beam", "--beam", "50", "--workers", "1"]}


def made(recording: Path, folder: Path, container: str, hours: float) -> Path:
    """Return the recording repeated to a length, made if it is not there."""
    once, path = folder / f"once.{container}", folder / f"{hours:g}h.{container}"
    quiet = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    if not once.exists():
        ours = ["-ac", "1", "-ar", "48000" if container in ("opus", "webm") else "16000"]
        subprocess.run([*quiet, "-i", str(recording), *ours, *CONTAINERS[container], str(once)], check=True)
    if not path.exists():
        loop = ["-stream_loop", "-1", "-i", str(once), "-t", str(3600 * hours), "-c", "copy"]
        subprocess.run([*quiet, *loop, str(path)], check=True)
    return path


def measured(arguments: list[str]) -> tuple[float, float, float]:
    """Run a command; return its peak memory in MB, its processor seconds and the seconds that passed."""
    begin = time.monotonic()
    with open(os.devnull, "w") as nothing:
        process = subprocess.Popen(arguments, stdout=nothing, stderr=nothing)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: failed")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, time.monotonic() - begin


def by_hour(model: str, path: Path) -> list[float]:
    """Transcribe in this process; return the processor seconds of each hour of the recording."""
    torch.set_num_threads(1)
    times = [time.process_time()]
    with Transcriber(model, lm="none") as transcriber:
        times[0] = time.process_time()
        for event in transcriber.stream_pieces([stream_recording(path)], lambda seconds: None):
            if isinstance(event, TranscribedPiece) and event.start >= 3600 * len(times):
                times.append(time.process_time())
    return [after - before for before, after in pairwise([*times, time.process_time()])]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("recording", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=float, nargs="+", default=[1 / 12, 1, 6])
    parser.add_argument("--containers", nargs="+", default=[*CONTAINERS])
    parser.add_argument("--searches", nargs="+", default=[*SEARCHES])
    parser.add_argument("--by-hour", action="store_true")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    if chosen.by_hour:
        for container in chosen.containers:
            path = made(chosen.recording, chosen.folder, container, max(chosen.hours))
            print(
                container, *(f"{seconds:.1f}" for seconds in by_hour(chosen.model, path)), "CPU-s by hour", flush=True
            )
        return
    print("| container | search | hours | peak MB | CPU-s | CPU-s an hour |\n|---|---|---|---|---|---|", flush=True)
    for container in chosen.containers:
        for search in chosen.searches:
            for hours in chosen.hours:
                path = made(chosen.recording, chosen.folder, container, hours)
                command = [
                    sys.executable,
                    "-m",
                    "wav2vec2",
                    "transcribe",
                    str(path),
                    "--model",
                    chosen.model,
                    "--device",
                    "cpu",
                ]
                memory, seconds, _ = measured([*command, *SEARCHES[search]])
                row = f"| {container} | {search} | {hours:.3g} | {memory:.0f} | {seconds:.0f} | {seconds / hours:.0f} |"
                print(row, flush=True)


if __name__ == "__main__":
    main()
