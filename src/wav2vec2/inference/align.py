"""The command ``wav2vec2 align``: one recording and its text, or every transcribed utterance of a manifest."""

import re
import sys
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure, Recording, Waveform, is_audio_name, open_recording
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.decode.aligned_text import unknown_text
from wav2vec2.errors import UserError
from wav2vec2.inference.aligner import Aligner
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.transcribe import progress_bar
from wav2vec2.output.alignment_files import SUFFIXES, WRITERS, Alignment, AlignmentFormat, as_json
from wav2vec2.output_file import writing
from wav2vec2.text.argument import read_text


@dataclass(frozen=True)
class AlignOptions(ComputeOptions):
    """Find when each word and character of a known text is spoken.

    wav2vec2 align MODEL AUDIO TEXT for one recording of any length; wav2vec2 align MODEL MANIFEST --out DIR for every
    transcribed utterance of a manifest, one file each. What the model cannot spell gets no time and is named on stderr.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory or checkpoint file with a CTC head."""
    audio: Annotated[str, Positional, arg(metavar="AUDIO|MANIFEST")]
    """An audio file; without a text, a manifest (file, folder or pattern)."""
    text: Annotated[tuple[str, ...], Positional, arg(metavar="[TEXT|TEXT_FILE]")] = ()
    """What is said in the recording: the words, or the name of a UTF-8 text file that holds them; - reads stdin."""
    format: AlignmentFormat = "json"
    """json: words and characters with times, scores and what was left out (one line an utterance if there are
    several on stdout). textgrid: for Praat. srt: captions. ctm: one line a word."""
    out: Path | None = None
    """Where to write: a file, or a folder (a manifest's: made if it is not there). Default: stdout."""
    split: str | None = None
    """Only this split of the manifest, such as test-clean, or several: dev+test."""


def run(options: AlignOptions) -> None:
    """Align, write, and raise UserError at the end if anything failed."""
    if not options.text:
        _align_manifest(options)
    elif options.split is not None:
        raise UserError("align: --split chooses among a manifest's rows; with an audio file and its text leave it out")
    else:
        _align_one(options, read_text(" ".join(options.text)))


def _align_one(options: AlignOptions, text: str) -> None:
    recording = open_recording(options.audio)
    if isinstance(recording, Failure):
        raise UserError(recording.message)
    aligner = Aligner(options.model, **options.computing())
    with progress_bar() as progress:
        task = progress.add_task("seconds", total=round(recording.samples / SAMPLE_RATE))
        (result,) = aligner.stream([(recording, text)], lambda seconds: progress.advance(task, seconds))
    if isinstance(result, Failure):
        raise UserError(result.message)
    if result.unknown:
        print(f"{result.source}: {unknown_text(result.unknown)}; they get no time", file=sys.stderr)
    content = WRITERS[options.format](result)
    if options.out is None:
        sys.stdout.write(content)
        return
    folder = options.out.is_dir()
    _write(content, options.out / f"{Path(options.audio).stem}{SUFFIXES[options.format]}" if folder else options.out)


def _align_manifest(options: AlignOptions) -> None:
    if options.out is None and options.format in ("textgrid", "srt"):
        raise UserError(f"align: several {options.format} files cannot share stdout; name a folder with --out")
    if options.out is not None and options.out.is_file():
        raise UserError(f"{options.out}: is a file; a manifest is aligned into a folder, name one with --out")
    manifest = _manifest(options)
    aligner = Aligner(options.model, **options.computing())
    waiting: deque[str] = deque()
    tally: Counter[str] = Counter()
    unknown: Counter[str] = Counter()

    def pairs() -> Iterator[tuple[Recording, str]]:
        for utterance in manifest:
            if utterance.text is None:
                tally["untranscribed"] += 1
            else:
                waiting.append(utterance.id)
                yield _recording(utterance), utterance.text

    with progress_bar(shown=options.out is not None or not sys.stdout.isatty()) as progress:
        task = progress.add_task("seconds", total=round(int(manifest.samples.sum()) / SAMPLE_RATE))
        for result in aligner.stream(pairs(), lambda seconds: progress.advance(task, seconds)):
            identity = waiting.popleft()
            if isinstance(result, Failure):
                tally["failed"] += 1
                print(result.message, file=sys.stderr)
            else:
                tally["aligned"] += 1
                unknown.update(result.unknown)
                _write_utterance(result, identity, options)
    if unknown:
        print(f"{manifest.name}: {unknown_text(unknown)}; they get no time", file=sys.stderr)
    if tally["untranscribed"]:
        print(f"{manifest.name}: {tally['untranscribed']} utterances without a transcript left out", file=sys.stderr)
    total = tally["aligned"] + tally["failed"]
    if not total:
        raise UserError(f"{manifest.name}: no utterance has a transcript to align; check its split and text columns")
    if tally["failed"]:
        raise UserError(f"{tally['failed']} of {total} utterances could not be aligned; the lines above say why")


def _manifest(options: AlignOptions) -> Manifest:
    path = Path(options.audio)
    if is_audio_name(path) and not path.is_dir():
        raise UserError(f"{path}: looks like a recording; say what is said in it: wav2vec2 align MODEL AUDIO TEXT")
    return Manifest.open(options.audio, split=options.split)


def _recording(utterance: Utterance) -> Recording:
    def read(start: int, count: int) -> Waveform:
        return read_utterance(replace(utterance, start=utterance.start + start, samples=count))

    return Recording(utterance.id, utterance.samples, read)


def _write_utterance(result: Alignment, identity: str, options: AlignOptions) -> None:
    if options.out is not None:
        _write(WRITERS[options.format](result), options.out / file_name(identity, SUFFIXES[options.format]))
    else:
        sys.stdout.write(as_json(result, indent=None) if options.format == "json" else WRITERS[options.format](result))
        sys.stdout.flush()


def file_name(identity: str, suffix: str) -> str:
    """A file name for an utterance: its id, with %XX for what would be a folder, hidden, or no name at all.

    Different ids have different names.
    """
    safe = re.sub(r"^\.|[%/\\:\x00-\x1f\x7f]", lambda found: f"%{ord(found[0]):02X}", identity)
    return safe + suffix


def _write(content: str, path: Path) -> None:
    with writing(path) as temporary:
        Path(temporary).write_text(content, encoding="utf-8", newline="\n")
