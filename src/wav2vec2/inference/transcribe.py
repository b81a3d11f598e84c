"""From audio to text with a CTC model: files, folders or arrays, of any length, with the times of the words."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure, Recording, audio_files, open_recording
from wav2vec2.decode.build import DecodingOptions, build_searches
from wav2vec2.decode.collapse import collapse
from wav2vec2.decode.hypothesis import Hypothesis
from wav2vec2.decode.search import Search, run_searches
from wav2vec2.decode.words import hypothesis_text, word_frames
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel, Frames
from wav2vec2.inference.frame_outputs import COMPUTE_KEYWORDS, ComputeOptions
from wav2vec2.output.transcript import Reading, Transcript, Word
from wav2vec2.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from wav2vec2.model.ctc import Wav2Vec2ForCTC

__all__ = ["Transcriber", "Transcript", "Word", "progress_bar"]


class Transcriber:
    """A CTC model with its vocabulary, ready for audio; arguments and errors as `AcousticModel`, or one of these.

    Further keywords: lm, lexicon, preset, decoder, nbest and what else `DecodingOptions` has: how text is found,
    greedily by default; or `search`, made before. A search may hold worker processes: `close` the transcriber, or use
    it in a `with`.
    """

    def __init__(
        self,
        model: "Wav2Vec2ForCTC | str | Path | AcousticModel",
        *,
        vocabulary: Vocabulary | None = None,
        search: Search | None = None,
        **options: Any,
    ) -> None:
        computing = {name: options.pop(name) for name in COMPUTE_KEYWORDS if name in options}
        try:
            decoding = DecodingOptions(**options)
        except TypeError as error:
            raise UserError(f"Transcriber: {error}") from None
        decoding.resolve()  # an impossible choice is refused before the model is loaded
        if not isinstance(model, AcousticModel):
            model = AcousticModel(model, vocabulary=vocabulary, **computing)
        self.acoustic_model = model
        self.model, self.vocabulary, self.device = model.model, model.vocabulary, model.device
        self.architecture = model.architecture
        self.search = search or build_searches(decoding, self.vocabulary)[-1]

    def close(self) -> None:
        """End the search's workers."""
        self.search.close()

    def __enter__(self) -> "Transcriber":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, audio: Any) -> Any:
        """Transcribe a file, encoded bytes or a float array (16 kHz mono), or a list of these or a folder.

        Returns a Transcript, or a list of them for a list or a folder.

        Raises UserError for the first recording that cannot be read; `stream` goes on instead.
        """
        folder = isinstance(audio, (str, Path)) and Path(audio).is_dir()
        many = folder or isinstance(audio, (list, tuple))
        sources = audio_files([audio]) if folder else audio if many else [audio]
        transcripts: list[Transcript] = []
        for result in self.stream(open_recording(source) for source in sources):
            if isinstance(result, Failure):
                raise UserError(result.message)
            transcripts.append(result)
        return transcripts if many else transcripts[0]

    def stream(self, recordings: Iterable[Recording | Failure]) -> Iterator[Transcript | Failure]:
        """Yield one result for each recording, in order; one that cannot be read gives a Failure and the rest goes on.

        A recording shorter than one frame (400 samples) has an empty text.
        """
        for result in self.stream_searches(recordings, [self.search]):
            yield result if isinstance(result, Failure) else result[0]

    def stream_searches(
        self, recordings: Iterable[Recording | Failure], searches: Sequence[Search]
    ) -> Iterator[list[Transcript] | Failure]:
        """As `stream`, with a transcript by each of `searches` from one pass of the model."""
        needed = any(search.decoder is not None for search in searches)
        for pool in self.acoustic_model.pools(recordings, log_probs=needed):
            good = [frames for frames in pool if isinstance(frames, Frames)]
            columns = [self._transcripts(good, search) if search.decoder is None else [] for search in searches]
            if needed:
                beams = [number for number, search in enumerate(searches) if search.decoder is not None]
                emissions = [frames.log_probs for frames in good if frames.log_probs is not None]
                found = run_searches([searches[number] for number in beams], self.vocabulary, emissions)
                for number, lists in zip(beams, found, strict=True):
                    columns[number] = [
                        self._transcript(frames, readings, searches[number])
                        for frames, readings in zip(good, lists, strict=True)
                    ]
            rows = iter(zip(*columns, strict=True))
            for frames in pool:
                yield frames if isinstance(frames, Failure) else list(next(rows))

    def _transcripts(self, pool: Sequence[Frames], search: Search) -> list[Transcript]:
        paths = [collapse(frames.symbols, self.vocabulary.blank, frames.score) for frames in pool]
        return [self._transcript(frames, [path], search) for frames, path in zip(pool, paths, strict=True)]

    def _transcript(self, frames: Frames, readings: Sequence[Hypothesis], search: Search) -> Transcript:
        recording, center = frames.recording, self.architecture.frame_center
        best, vocabulary = readings[0], self.vocabulary
        spans = word_frames(vocabulary, best)
        confidences: Sequence[float | None] = best.word_confidences
        if len(confidences) != len(spans):
            confidences = [None] * len(spans)
        words = tuple(
            Word(text, center(first), center(last), confidence)
            for (text, first, last), confidence in zip(spans, confidences, strict=True)
        )
        nbest = tuple(
            Reading(hypothesis_text(vocabulary, reading), reading.score, reading.acoustic_score, reading.lm_score)
            for reading in readings[: search.nbest]
        )
        return Transcript(
            recording.name,
            hypothesis_text(vocabulary, best),
            words,
            recording.samples / SAMPLE_RATE,
            best.score,
            nbest if search.nbest > 1 else (),
        )


@dataclass(frozen=True)
class TranscribeOptions(ComputeOptions):
    """Write down what is said in audio files. Results go to stdout; files that fail get one line each on stderr."""

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory or checkpoint file with a CTC head."""
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILE [FILE ...]")]
    """Audio files, and folders that are searched for them."""
    format: Literal["text", "json", "jsonl"] = "text"
    """text: the words (after the file's name and a tab, if there are several). json: one array with word times in
    seconds. jsonl: one object a line, as soon as it is known."""
    decoding: OmitArgPrefixes[DecodingOptions] = field(default_factory=DecodingOptions)


def run(options: TranscribeOptions) -> None:
    """Transcribe `options.files` to stdout; raises UserError at the end if any of them failed."""
    if not options.files:
        raise UserError("transcribe: name at least one audio file or folder")
    files = audio_files(options.files)
    transcriber = Transcriber(options.model, **options.computing(), **vars(options.decoding))
    with transcriber:
        failed = _write(transcriber, files, options)
    if failed:
        raise UserError(f"{failed} of {len(files)} files could not be transcribed; the lines above say why")


def _write(transcriber: Transcriber, files: Sequence[Path], options: TranscribeOptions) -> int:
    """Print every result as it comes; return how many files failed."""
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


def progress_bar(*, shown: bool = True) -> Progress:
    """Make a bar with rate and time left on stderr, where that is a terminal; stdout stays as it is."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, redirect_stdout=False, disable=not (shown and console.is_terminal))
