"""The command ``wav2vec2 transcribe``."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from wav2vec2.bulk.options import BulkOptions, manifest_among
from wav2vec2.checkpoints.default_model import model_and_words
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.errors import UserError
from wav2vec2.inference.file_transcripts import STDIN, Source, estimated, named_sources, write_transcripts
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.inference.watched_folder import WatchedFolder
from wav2vec2.output.destination import ToFolder, ToStdout
from wav2vec2.output.formats import Format
from wav2vec2.progress import AudioProgress, counted


@dataclass(frozen=True)
class TranscribeOptions:
    """Transcribe recordings to stdout or to the files of a folder, or a manifest of any size to Parquet files.

        wav2vec2 transcribe talk.mp3
        wav2vec2 transcribe recordings --out texts --format srt --format json
        wav2vec2 transcribe --watch inbox --out texts

    The first line prints what is said, in English (see --model and --language); the second writes two files for each
    recording; the third does so for every recording that arrives, until Ctrl-C. Recordings that cannot be transcribed
    are named on stderr, one line each, and the others go on.
    """

    files: Annotated[tuple[str, ...], Positional, arg(metavar="[FILE ...]")] = ()
    """Audio files, folders to search for them, and patterns in quotes ("calls/**/*.mp3"); - is an audio file on stdin;
    or a manifest (MANIFEST.parquet), with --out."""
    model: str | None = None
    """The recogniser: a model directory or the folder of a training run, a checkpoint file, an id on the Hugging Face
    hub, or an exported .onnx or .pt2 file. If not given, what the environment variable WAV2VEC2_MODEL names, or else
    facebook/wav2vec2-base-960h (English; 378 MB, downloaded once)."""
    language: str | None = None
    """Language of a multilingual model by its code of three letters, such as swh. Without --model, the model is
    facebook/mms-1b-all (over 1,100 languages; 3.9 GB, downloaded once; not for commercial use)."""
    format: UseAppendAction[tuple[Format, ...]] = ()
    """text (default): the transcript, on stdout after the file name and a tab if there are several files.
    json: text, words with times in seconds and confidences, score; on stdout an array.
    jsonl: the same on one line, printed as soon as it is known.
    srt, vtt: captions of two lines of 42 characters, at most 20 characters a second.
    tsv, ctm: one line per word.
    textgrid: for Praat.
    """
    out: Path | None = None
    """Folder for a file of each recording in each format, such as talk.srt. Recordings whose files are all there are
    skipped. For a manifest: id, text, confidence, words with times, and the n-best list of each row, in Parquet files
    that appear as they are finished. Either way the same command goes on after an interruption."""
    watch: Path | None = None
    """Transcribe the recordings below this folder, and those that arrive there once they are complete, until Ctrl-C
    (extra wav2vec2[watch])."""
    decoding: OmitArgPrefixes[DecodingOptions] = field(default_factory=DecodingOptions)
    compute: OmitArgPrefixes[ComputeOptions] = field(default_factory=ComputeOptions)
    bulk: OmitArgPrefixes[BulkOptions] = field(default_factory=BulkOptions)


def run(options: TranscribeOptions) -> None:
    """Transcribe what `options` name; raises UserError at the end if any of it failed."""
    model, files = model_and_words("transcribe", options.files, options.model, options.language)
    options = replace(options, model=model, files=files)
    formats: tuple[Format, ...] = tuple(dict.fromkeys(options.format)) or ("text",)
    if options.watch is not None:
        _watch(options, options.watch, formats)
        return
    if not options.files:
        raise UserError("transcribe: name at least one audio file or folder")
    if (manifest := manifest_among(options.files)) is not None:
        if options.out is None:
            raise UserError(f"transcribe: name the folder for the transcripts of {manifest} with --out")
        if options.format:
            raise UserError("--format: the transcripts of a manifest are Parquet files; leave it out")
        # Only here: their library for tables takes a while to import.
        from wav2vec2.bulk.run import run_over_manifest
        from wav2vec2.inference.transcripts import TranscribeJob

        job = TranscribeJob(model, options.compute, options.decoding, language=options.language)
        run_over_manifest(job, manifest, options.out, options.bulk)
        return
    options.bulk.refuse("transcribe")
    with ExitStack() as stack:
        folder = None if options.out is None else ToFolder(options.out, formats)
        sources = named_sources(options.files, stack, for_files=folder is not None)
        if folder is None:
            alone = len(sources) == 1 and options.files[0] in (STDIN, str(sources[0].file))
            _transcribe(options, sources, ToStdout(formats, alone=alone), stack)
        else:
            _transcribe(options, _unfinished(sources, folder), folder, stack)


def _transcribe(
    options: TranscribeOptions, sources: list[Source], destination: ToFolder | ToStdout, stack: ExitStack
) -> None:
    if not sources:
        return
    transcriber = _transcriber(options, stack)
    with AudioProgress("file") as progress:
        for source in sources:
            progress.expect(source.seconds)
        failed = write_transcripts(transcriber, sources, destination, progress)
    destination.close()
    if failed:
        raise UserError(f"{failed} of {counted(len(sources), 'file')} could not be transcribed; see the messages above")


def _transcriber(options: TranscribeOptions, stack: ExitStack) -> Transcriber:
    compute, decoding = options.compute, options.decoding
    transcriber = Transcriber(options.model, compute=compute, decoding=decoding, language=options.language)
    return stack.enter_context(transcriber)


def _unfinished(sources: list[Source], folder: ToFolder) -> list[Source]:
    """Return the sources whose output files are not all there; a line on stderr says how many are."""
    left = [source for source in sources if not folder.finished(source.name)]
    if done := len(sources) - len(left):
        print(f"{folder.folder}: has the files of {done} of {counted(len(sources), 'recording')}", file=sys.stderr)
    return left


def _watch(options: TranscribeOptions, folder: Path, formats: tuple[Format, ...]) -> None:
    """Transcribe what is in a folder and what arrives there, until Ctrl-C."""
    if options.files:
        raise UserError("--watch: takes no other files; run a second command for them")
    options.bulk.refuse("transcribe")
    watched = WatchedFolder(folder)
    out = None if options.out is None else ToFolder(options.out, formats)
    destination = out or ToStdout(formats, alone=False, endless=True)
    with ExitStack() as stack:
        transcriber = _transcriber(options, stack)
        print(f"{folder}: watched for recordings until Ctrl-C", file=sys.stderr)
        names: dict[str, Path] = {}
        seen: set[Path] = set()
        for arrived in watched.arrivals():
            # Names do not depend on what else is there, so that they stay the same when more arrives.
            stems = ["-".join(file.relative_to(folder).with_suffix("").parts) for file in arrived]
            left = []
            for file, source in zip(arrived, estimated(arrived, stems), strict=True):
                first = names.setdefault(source.name, file)
                if first != file:
                    print(f"{file}: would have the output files of {first}; rename it", file=sys.stderr)
                elif file in seen or out is None or not out.finished(source.name):
                    left.append(source)  # what has changed since it was transcribed is transcribed again
                seen.add(file)
            with AudioProgress("file") as progress:
                for source in left:
                    progress.expect(source.seconds)
                write_transcripts(transcriber, left, destination, progress)
