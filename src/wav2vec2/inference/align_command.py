"""The command ``wav2vec2 align``."""

import re
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure, is_audio_name, open_recording
from wav2vec2.checkpoints.default_model import chosen_model, model_and_words
from wav2vec2.data.manifest import Manifest
from wav2vec2.decode.aligned_text import unknown_text
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.align import Aligner
from wav2vec2.inference.frame_outputs import ComputeOptions, with_results
from wav2vec2.inference.manifest_rows import transcribed_utterances, utterance_recording
from wav2vec2.input_file import MOST_LINES, read_input, refuse_special
from wav2vec2.output.alignment import Alignment
from wav2vec2.output.formats import ONE_RECORDING, SUFFIXES, render
from wav2vec2.output.tables import as_tsv
from wav2vec2.output_file import writing
from wav2vec2.progress import AudioProgress


@dataclass(frozen=True)
class AlignOptions:
    """Find the times of the words and characters of a known text.

        wav2vec2 align talk.mp3 talk.txt
        wav2vec2 align data/manifest.parquet --out times

    The first line aligns one recording of any length; the second every transcribed utterance of a manifest, and writes
    a file for each. Characters that the model's vocabulary lacks get no time and are named on stderr.
    """

    audio: Annotated[str, Positional, arg(metavar="AUDIO|MANIFEST")]
    """An audio file or, without a text, a manifest (file, folder or pattern)."""
    text: Annotated[tuple[str, ...], Positional, arg(metavar="[TEXT|TEXT_FILE]")] = ()
    """What is said in the recording: the words, or a UTF-8 text file that holds them; - reads stdin."""
    model: str | None = None
    """The recogniser: a model directory or the folder of a training run, a checkpoint file, an id on the Hugging Face
    hub, or an exported .onnx or .pt2 file. If not given, what the environment variable WAV2VEC2_MODEL names, or else
    facebook/wav2vec2-base-960h (English; 378 MB, downloaded once)."""
    language: str | None = None
    """Language of a multilingual model by its code of three letters, such as swh. Without --model, the model is
    facebook/mms-1b-all (over 1,100 languages; 3.9 GB, downloaded once; not for commercial use)."""
    format: Literal["json", "textgrid", "srt", "vtt", "ctm", "tsv"] = "json"
    """json: words and characters with times and scores (one line per utterance if several go to stdout).
    textgrid: for Praat.
    srt, vtt: captions.
    ctm, tsv: one line per word.
    """
    out: Path | None = None
    """File, or folder, to write to; a folder for a manifest. stdout if not given."""
    split: str | None = None
    """Only this split of the manifest, such as test-clean, or several: dev+test."""
    compute: OmitArgPrefixes[ComputeOptions] = field(default_factory=ComputeOptions)


def run(options: AlignOptions) -> None:
    """Align and write the results; raises UserError at the end if anything failed."""
    words = options.audio, *options.text
    model, words = model_and_words("align", words, options.model, options.language)
    if not words:
        raise UserError("align: name a recording and its text, or a manifest")
    options = replace(options, model=model, audio=words[0], text=words[1:])
    if not options.text:
        _align_manifest(options)
    elif options.split is not None:
        raise UserError("align: --split selects rows of a manifest; leave it out for an audio file with its text")
    else:
        _align_recording(options, text_argument(" ".join(options.text)))


def text_argument(text: str) -> str:
    """Return the text that an argument means: the words themselves, the content of the file it names, or stdin for `-`.

    Raises UserError for a file that is missing (its name ends in .txt), unreadable, or not UTF-8.
    """
    if text == "-":
        content = sys.stdin.buffer.read()
    else:
        if "\0" not in text:
            refuse_special(text)
        try:
            named = Path(text).is_file()
        except OSError:  # longer than any file name
            named = False
        if not named:
            if Path(text).suffix == ".txt" and len(text.split()) == 1:
                raise UserError(f"{text}: does not exist; name a text file or give the words themselves in quotes")
            return text
        try:
            content = read_input(text, MOST_LINES)
        except OSError as error:
            raise UserError(f"{text}: cannot be read ({error.strerror}); check its permissions") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        name = "stdin" if text == "-" else text
        raise UserError(f"{name}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _aligner(options: AlignOptions) -> Aligner:
    model = chosen_model(options.model, options.language)
    return Aligner(AcousticModel(model, compute=options.compute, language=options.language))


def _align_recording(options: AlignOptions, text: str) -> None:
    recording = open_recording(options.audio)
    if isinstance(recording, Failure):
        raise UserError(recording.message)
    aligner = _aligner(options)
    with AudioProgress("file") as progress:
        progress.expect(recording.samples / SAMPLE_RATE)
        (result,) = aligner.stream([(recording, text)], progress.advance)
    if isinstance(result, Failure):
        raise UserError(result.message)
    if result.unknown:
        print(f"{result.source}: {unknown_text(result.unknown)}; they get no time", file=sys.stderr)
    content = render(result, options.format)
    if options.out is None:
        sys.stdout.write(content)
    elif options.out.is_dir():
        _write(content, options.out / f"{Path(options.audio).stem}{SUFFIXES[options.format]}")
    else:
        _write(content, options.out)


def _align_manifest(options: AlignOptions) -> None:
    if options.out is None and options.format in ONE_RECORDING:
        raise UserError(f"align: several {options.format} files cannot share stdout; name a folder with --out")
    if options.out is not None and options.out.is_file():
        raise UserError(f"{options.out}: is a file; name a folder with --out to align a manifest")
    manifest = _open_manifest(options)
    aligner = _aligner(options)
    aligned = failed = 0
    unknown: Counter[str] = Counter()
    transcribed = manifest.column("text").is_valid().to_numpy()
    with AudioProgress("utterance") as progress:
        progress.expect(int(manifest.samples[transcribed].sum()) / SAMPLE_RATE, int(transcribed.sum()))
        results = with_results(
            transcribed_utterances(manifest),
            lambda rows: aligner.stream(((utterance_recording(row), row.text or "") for row in rows), progress.advance),
        )
        for utterance, result in results:
            seconds = utterance.samples / SAMPLE_RATE
            progress.finish(seconds, seconds)
            if isinstance(result, Failure):
                failed += 1
                print(result.message, file=sys.stderr)
            else:
                with progress.aside():
                    _write_utterance(result, utterance.id, options, first=not aligned)
                aligned += 1
                unknown.update(result.unknown)
    if unknown:
        print(f"{manifest.name}: {unknown_text(unknown)}; they get no time", file=sys.stderr)
    if len(manifest) > aligned + failed:
        skipped = len(manifest) - aligned - failed
        print(f"{manifest.name}: {skipped} utterances without a transcript skipped", file=sys.stderr)
    if not aligned + failed:
        raise UserError(f"{manifest.name}: no utterance has a transcript to align; check its split and text columns")
    if failed:
        raise UserError(f"{failed} of {aligned + failed} utterances could not be aligned; see the messages above")


def _open_manifest(options: AlignOptions) -> Manifest:
    path = Path(options.audio)
    if is_audio_name(path) and not path.is_dir():
        raise UserError(f"{path}: is a recording without a text; give the text: wav2vec2 align AUDIO TEXT")
    return Manifest.open(options.audio, split=options.split)


def _write_utterance(result: Alignment, utterance_id: str, options: AlignOptions, *, first: bool) -> None:
    if options.out is not None:
        _write(render(result, options.format), options.out / file_name(utterance_id, SUFFIXES[options.format]))
        return
    if options.format == "tsv":
        content = as_tsv(result.timed(), header=first)
    else:
        content = render(result, "jsonl" if options.format == "json" else options.format)
    sys.stdout.write(content)
    sys.stdout.flush()


def file_name(utterance_id: str, suffix: str) -> str:
    """Return a file name for an utterance: its id, with path separators, control characters and a leading dot as %XX.

    Different ids give different names.
    """
    safe = re.sub(r"^\.|[%/\\:\x00-\x1f\x7f]", lambda found: f"%{ord(found[0]):02X}", utterance_id)
    return safe + suffix


def _write(content: str, path: Path) -> None:
    with writing(path) as temporary:
        Path(temporary).write_text(content, encoding="utf-8", newline="\n")
