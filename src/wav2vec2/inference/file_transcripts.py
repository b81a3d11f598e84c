"""From named recordings to written transcripts, one after the other; those that fail do not stop the others."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wav2vec2.audio.encoded_file import NamedFile
from wav2vec2.audio.promised import promised_lengths, promised_seconds
from wav2vec2.audio.recordings import AnyRecording, Failure, audio_files, stream_recording
from wav2vec2.audio.standard_input import recording_on_stdin
from wav2vec2.errors import UserError
from wav2vec2.inference.chunks import TranscribedPiece
from wav2vec2.inference.frame_outputs import output_names
from wav2vec2.inference.freed_memory import give_back_above
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.output.transcript import Transcript
from wav2vec2.progress import AudioProgress

STDIN = "-"


@dataclass(frozen=True)
class Source:
    """A recording to transcribe: its file, the name of its output files, and its likely seconds (0: unknown)."""

    file: Path | NamedFile
    name: str
    seconds: float = 0.0

    def open(self) -> AnyRecording | Failure:
        """Return the recording, called as the user called it; it is decoded when it is read."""
        return stream_recording(self.file)


class Destination(Protocol):
    """Where transcripts go. wants_pieces: whether it can use the pieces of a recording before all of it is known."""

    wants_pieces: bool

    def add(self, text: str, gap: str) -> None:
        """Take what is said in a piece of the recording that is being transcribed; `gap` comes between two pieces."""

    def write(self, transcript: Transcript, name: str) -> None:
        """Write a transcript; `name` is the name of its output files."""

    def fail(self) -> None:
        """The recording that is being transcribed cannot be read to its end."""


def named_sources(names: tuple[str, ...], stack: ExitStack, *, for_files: bool) -> list[Source]:
    """Return the recordings that files, folders, patterns and - (stdin, copied until `stack` closes) stand for.

    for_files: their names are those of output files, so that equal ones are refused. Raises UserError for these, for
    folders without audio, and for patterns that match nothing.
    """
    if names.count(STDIN) > 1:
        raise UserError("-: stdin can be read once; name it once")
    others = [name for name in names if name != STDIN]
    if for_files:
        stems = output_names(others)
        if STDIN in names and "stdin" in stems.values():
            raise UserError("stdin: a recording has this name, too; give it another one")
        files = list(stems)
    else:
        files = audio_files(others)
        stems = {file: file.stem for file in files}
    sources = estimated(files, [stems[file] for file in files])
    if STDIN in names:
        # In its place among files; folders and patterns give several.
        place = len(audio_files(names[: names.index(STDIN)])) if not for_files else len(sources)
        copy = stack.enter_context(recording_on_stdin())
        sources.insert(place, Source(copy, "stdin", promised_seconds(copy)))
    return sources


def estimated(files: list[Path], names: list[str]) -> list[Source]:
    """Return sources with the lengths that the headers of their files promise."""
    return [Source(*entry) for entry in zip(files, names, promised_lengths(files), strict=True)]


def write_transcripts(
    transcriber: Transcriber, sources: Iterable[Source], destination: Destination, progress: AudioProgress
) -> int:
    """Transcribe `sources` and write each as soon as it is known; returns how many failed, with a line on stderr."""
    failed = 0
    opened: deque[Source] = deque()

    def opening() -> Iterator[AnyRecording | Failure]:
        for source in sources:
            opened.append(source)
            yield source.open()

    def advance(seconds: float) -> None:
        # The holes that batches of other shapes leave grow from hour to hour.
        give_back_above()
        progress.advance(seconds)

    gap = " " if transcriber.vocabulary.spaced else ""
    for result in transcriber.stream_pieces(opening(), advance):
        if isinstance(result, TranscribedPiece):
            if destination.wants_pieces:
                with progress.aside():
                    destination.add(result.text, gap)
            continue
        source = opened.popleft()
        if isinstance(result, Failure):
            failed += 1
            progress.finish(source.seconds, 0.0)
            with progress.aside():
                destination.fail()
            print(result.message, file=sys.stderr)
            continue
        progress.finish(source.seconds, result.seconds)
        with progress.aside():
            destination.write(result, source.name)
    return failed
