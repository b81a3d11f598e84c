"""The command ``wav2vec2 transcribe``."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.audio.recordings import Failure, audio_files, open_recording
from wav2vec2.bulk.options import BulkOptions
from wav2vec2.bulk.run import manifest_among, run_over_manifest
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.inference.transcripts import TranscribeJob
from wav2vec2.output.transcript import Transcript
from wav2vec2.progress import progress_bar


@dataclass(frozen=True)
class TranscribeOptions:
    """Transcribe audio files to stdout, or a manifest of any size to a folder of Parquet files.

    Files that cannot be transcribed are named on stderr, one line each, and the others go on.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory, checkpoint file or hub id with a CTC head, or an exported .onnx or .pt2 file."""
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILE [FILE ...]")]
    """Audio files, and folders to search for them; or a manifest (MANIFEST.parquet), with --out."""
    out: Path | None = None
    """Folder for the transcripts of a manifest: id, text, confidence, words with times, and the n-best list of each
    row, in Parquet files that appear as they are finished. The same command goes on after an interruption."""
    format: Literal["text", "json", "jsonl"] = "text"
    """text: the transcript, after the file name and a tab if there are several files.
    json: an array of objects with word times in seconds.
    jsonl: one such object per line, printed as soon as it is known.
    """
    decoding: OmitArgPrefixes[DecodingOptions] = field(default_factory=DecodingOptions)
    compute: OmitArgPrefixes[ComputeOptions] = field(default_factory=ComputeOptions)
    bulk: OmitArgPrefixes[BulkOptions] = field(default_factory=BulkOptions)


def run(options: TranscribeOptions) -> None:
    """Transcribe `options.files` to stdout; raises UserError at the end if any of them failed."""
    if not options.files:
        raise UserError("transcribe: name at least one audio file or folder")
    if (manifest := manifest_among(options.files)) is not None:
        if options.out is None:
            raise UserError(f"transcribe: name the folder for the transcripts of {manifest} with --out")
        job = TranscribeJob(options.model, options.decoding, options.compute)
        run_over_manifest(job, manifest, options.out, options.bulk)
        return
    options.bulk.refuse("transcribe")
    files = audio_files(options.files)
    acoustic_model = AcousticModel(options.model, compute=options.compute)
    with Transcriber(acoustic_model, decoding=options.decoding) as transcriber:
        failed = _write(transcriber, files, options)
    if failed:
        raise UserError(f"{failed} of {len(files)} files could not be transcribed; see the messages above")


def _write(transcriber: Transcriber, files: Sequence[Path], options: TranscribeOptions) -> int:
    """Print each result as it comes; return how many files failed."""
    alone = len(files) == 1 and not Path(options.files[0]).is_dir()
    failed = 0
    first = True
    with progress_bar(shown=not sys.stdout.isatty()) as progress:
        task = progress.add_task("transcribe", total=len(files))
        for result in transcriber.stream(map(open_recording, files)):
            progress.advance(task)
            if isinstance(result, Failure):
                failed += 1
                print(result.message, file=sys.stderr)
            else:
                print(_format(result, options.format, alone=alone, first=first), flush=True)
                first = False
    if options.format == "json":
        print("[]" if first else "]")
    return failed


def _format(transcript: Transcript, style: str, *, alone: bool, first: bool) -> str:
    if style == "text":
        return transcript.text if alone else f"{transcript.source}\t{transcript.text}"
    line = json.dumps(transcript.as_json(), ensure_ascii=False)
    return line if style == "jsonl" else ("[" if first else ",") + line
