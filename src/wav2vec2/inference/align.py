"""CTC forced alignment of a recording to its text: the class `Aligner` and the command ``wav2vec2 align``.

Frame f sees samples 320 f to 320 f + 400 and stands for the 20 ms around the centre of that field: 10 ms to either side
of (320 f + 200) / 16000 s. A symbol lasts from the start of its first frame's 20 ms to the end of its last frame's, so
that no symbol has zero length and neighbours can touch. A word lasts from its first symbol to its last. The times of a
`Transcriber` are defined in the same way. A CTC model tends to emit a symbol in one or two frames, followed by blanks,
so the end of a word is often early.

Memory: the emissions (T, V), float32, of one pool of recordings, and the scores of `decode.align`.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import AnyRecording, Failure, is_audio_name, open_recording
from wav2vec2.data.manifest import Manifest
from wav2vec2.decode.aligned_text import AlignedText, Span, align_text, unknown_text
from wav2vec2.device import InferencePrecision
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel, AcousticOutput, ModelSource
from wav2vec2.inference.frame_outputs import AudioSource, ComputeOptions, as_recording, with_results
from wav2vec2.inference.manifest_rows import transcribed_utterances, utterance_recording
from wav2vec2.input_file import MOST_LINES, read_input, refuse_special
from wav2vec2.model.architecture import Architecture
from wav2vec2.output.alignment import Alignment
from wav2vec2.output.formats import ONE_RECORDING, SUFFIXES, render
from wav2vec2.output.tables import as_tsv
from wav2vec2.output.timed import TimedSymbol, TimedWord
from wav2vec2.output_file import writing
from wav2vec2.progress import Advance, AudioProgress, no_progress
from wav2vec2.text.vocabulary import Vocabulary


class Aligner:
    """Finds the times of the words and characters of a known text in a recording.

    model: a `Wav2Vec2ForCTC`, or anything `wav2vec2.load` or `wav2vec2 export` names. vocabulary: replaces the model's
    own. device: auto (a GPU if there is one), cpu, cuda, cuda:1, ... Recordings longer than `window_seconds` are
    processed in overlapping windows, which have `context_seconds` of context at both ends; a batch holds at most
    `batch_seconds` of audio. precision: auto (bf16 on a GPU that has it, otherwise float32), float32, bf16 or fp16.

    Raises UserError for a model without a CTC head or a vocabulary, and for impossible sizes.
    """

    def __init__(
        self,
        model: ModelSource | AcousticModel,
        *,
        vocabulary: Vocabulary | None = None,
        device: str = "auto",
        batch_seconds: float = 60.0,
        window_seconds: float = 30.0,
        context_seconds: float = 4.0,
        precision: InferencePrecision = "auto",
    ) -> None:
        if not isinstance(model, AcousticModel):
            compute = ComputeOptions(device, batch_seconds, window_seconds, context_seconds, precision)
            model = AcousticModel(model, vocabulary=vocabulary, compute=compute)
        self._acoustic = model
        self.architecture: Architecture = model.architecture
        self.vocabulary = model.vocabulary

    def __call__(self, audio: AudioSource, text: str) -> Alignment:
        """Align `text` to a file, to the bytes of one, or to a float array (16 kHz mono).

        Raises UserError if the recording cannot be read or the text cannot be aligned to it.
        """
        (result,) = self.stream([(audio, text)])
        if isinstance(result, Failure):
            raise UserError(result.message)
        return result

    def stream(
        self,
        pairs: Iterable[tuple[AudioSource | AnyRecording | Failure, str]],
        advance: Advance = no_progress,
    ) -> Iterator[Alignment | Failure]:
        """Yield an Alignment for each pair of audio and text, in order, or a Failure where that is not possible.

        `advance` is called with the seconds of audio that the model has heard since the last call.
        """

        def run(
            pairs: Iterator[tuple[AudioSource | AnyRecording | Failure, str]],
        ) -> Iterator[AcousticOutput | Failure]:
            recordings = (as_recording(audio) for audio, _ in pairs)
            for pool in self._acoustic.pools(recordings, log_probs=True, advance=advance):
                yield from pool

        for (_, text), output in with_results(pairs, run):
            if isinstance(output, Failure):
                yield output
                continue
            yield self._align(output, text)

    def _align(self, output: AcousticOutput, text: str) -> Alignment | Failure:
        name = output.recording.name
        assert output.log_probs is not None
        try:
            aligned = align_text(output.log_probs, text, self.vocabulary, name=name)
        except UserError as error:
            return Failure(name, str(error))
        return in_seconds(aligned, output.recording, self.architecture, self.vocabulary)


def in_seconds(aligned: AlignedText, recording: AnyRecording, a: Architecture, vocabulary: Vocabulary) -> Alignment:
    """Convert frames to seconds: a frame stands for one stride around the centre of its receptive field."""

    def times(span: Span | None) -> tuple[float | None, float | None, float | None]:
        if span is None:
            return None, None, None
        return *a.frame_span(span.first, span.last), span.score

    words = tuple(
        TimedWord(word.text, *times(word.span), tuple(TimedSymbol(s.text, *times(s.span)) for s in word.symbols))
        for word in aligned.words
    )
    return Alignment(
        source=recording.name,
        seconds=recording.samples / SAMPLE_RATE,
        score=aligned.score,
        log_probability=aligned.log_probability,
        words=words,
        spaced=vocabulary.spaced,
        unknown=aligned.unknown,
    )


@dataclass(frozen=True)
class AlignOptions:
    """Find the times of the words and characters of a known text.

    wav2vec2 align MODEL AUDIO TEXT aligns one recording of any length.
    wav2vec2 align MODEL MANIFEST --out DIR aligns every transcribed utterance of a manifest and writes a file for each.
    Characters that the model's vocabulary lacks get no time and are named on stderr.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory, checkpoint file or hub id with a CTC head."""
    audio: Annotated[str, Positional, arg(metavar="AUDIO|MANIFEST")]
    """An audio file or, without a text, a manifest (file, folder or pattern)."""
    text: Annotated[tuple[str, ...], Positional, arg(metavar="[TEXT|TEXT_FILE]")] = ()
    """What is said in the recording: the words, or a UTF-8 text file that holds them; - reads stdin."""
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


def _align_recording(options: AlignOptions, text: str) -> None:
    recording = open_recording(options.audio)
    if isinstance(recording, Failure):
        raise UserError(recording.message)
    aligner = Aligner(AcousticModel(options.model, compute=options.compute))
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
    aligner = Aligner(AcousticModel(options.model, compute=options.compute))
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
        raise UserError(f"{path}: is a recording without a text; give the text: wav2vec2 align MODEL AUDIO TEXT")
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
