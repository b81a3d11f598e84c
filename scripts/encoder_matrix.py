"""Write recordings with every encoder of tests/audio/encoders.py, read them, and compare with FFmpeg's own decode.

    python -m scripts.encoder_matrix UTTERANCE... --long RECORDING --out matrix.md

The table has a line for each encoding: how much longer than FFmpeg's decode our length is, and how much later our
samples come, the worst of all recordings. `--long` is encoded every `--every`th time, because that takes a while.
"""

import argparse
import subprocess
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tests.audio.encoders import ENCODINGS, Encoding
from tests.audio.ffmpeg_decode import decoded_by_ffmpeg, delay

from wav2vec2.audio.read import SAMPLE_RATE, audio_info, read_audio
from wav2vec2.audio.recordings import Failure, open_recording

MOST_SECONDS = 0.05
COMPARED = 60 * SAMPLE_RATE


@dataclass
class Line:
    """What became of one encoding, over all recordings."""

    encoding: Encoding
    files: int = 0
    container: str = ""
    length: float = 0.0
    delay: float = 0.0
    said: str = ""
    wrong: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Read a file in three ways and compare."""
        self.files += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = open_recording(path)
        if isinstance(opened, Failure):
            self.said = opened.message.removeprefix(f"{path}: ")
            if not self.encoding.refused or self.encoding.refused not in self.said:
                self.wrong.append(self.said)
            return
        info, ours, theirs = audio_info(path), read_audio(path), decoded_by_ffmpeg(path)
        self.container = info.container
        self.said = info.warning.removeprefix(f"{path}: ")
        self.length = max(self.length, (len(ours) - len(theirs)) / SAMPLE_RATE, key=abs)
        if not self.encoding.known_wrong_in_ffmpeg:
            lag = delay(ours[:COMPARED], theirs[:COMPARED]) / SAMPLE_RATE
            self.delay = max(self.delay, lag, key=abs)
        if not info.samples == len(ours) == opened.samples:
            self.wrong.append(f"lengths {info.samples}, {len(ours)}, {opened.samples}")
        if bool(info.warning) != self.encoding.warned:
            self.wrong.append("a warning" if info.warning else "no warning")
        if self.encoding.refused:
            self.wrong.append("not refused")

    def row(self) -> str:
        """A line of the table."""
        if self.encoding.refused:
            return f"| {self.encoding.name} | refused | | | {self.said} |"
        numbers = f"{1000 * self.length:+.1f} | {1000 * self.delay:+.1f}"
        return f"| {self.encoding.name} | {self.container} | {numbers} | {self.said} |"


def wav_files(source: Path, folder: Path) -> tuple[Path, Path]:
    """The recording as the encoders get it: mono at 16 kHz, and stereo at 44.1 kHz."""
    mono, stereo = folder / f"{source.stem}-mono.wav", folder / f"{source.stem}-stereo.wav"
    for target, options in ((mono, ["-ac", "1", "-ar", "16000"]), (stereo, ["-ac", "2", "-ar", "44100"])):
        command = ["ffmpeg", "-v", "error", "-y", "-i", source, *options, "-bitexact", "-map_metadata", "-1", target]
        subprocess.run(command, check=True)
    return mono, stereo


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("utterances", nargs="+", type=Path)
    parser.add_argument("--long", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", default="", help="encodings whose name holds this")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    lines = [Line(encoding) for encoding in ENCODINGS if encoding.available and options.only in encoding.name]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=s=64x64", "-frames:v", "1"]
        subprocess.run([*picture, folder / "picture.jpg"], check=True)
        for source in [*options.utterances, *([options.long] if options.long else [])]:
            mono, stereo = wav_files(source, folder)
            for line in lines[:: options.every if source == options.long else 1]:
                path = line.encoding.write(folder, mono, stereo)
                line.add(path)
                path.unlink()
    for line in lines:
        off = abs(line.length) > MOST_SECONDS or abs(line.delay) > 0.001
        if off and not line.encoding.known_wrong_in_ffmpeg:
            line.wrong.append(f"length {line.length:+.3f} s, delay {line.delay:+.4f} s")
    counts = Counter("wrong" if line.wrong else "refused" if line.encoding.refused else "read" for line in lines)
    table = ["| encoding | read as | length, ms | delay, ms | said |", "|---|---|---:|---:|---|"]
    options.out.write_text("\n".join([*table, *(line.row() for line in lines)]) + "\n", encoding="utf-8")
    for line in lines:
        if line.wrong:
            print(f"wrong: {line.encoding.name}: {'; '.join(line.wrong)}")
    files = sum(line.files for line in lines)
    print(f"{files} files of {len(lines)} encodings: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))
    print(f"largest delay {1000 * float(np.max([abs(line.delay) for line in lines])):.2f} ms: {options.out}")


if __name__ == "__main__":
    main()
