"""From audio to text with a CTC model: files, folders or arrays, of any length, with the times of the words.

Utterances are read when their batch comes, sorted by length within a pool, and only the best symbol of each frame is
kept, so that neither a long recording nor a large folder grows the memory. Batches do not change results: the model
ignores padding.
"""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tyro.conf import Positional, arg

from wav2vec2.audio import SAMPLE_RATE
from wav2vec2.decode.greedy import best_path, collapse
from wav2vec2.decode.hypothesis import Hypothesis
from wav2vec2.errors import UserError
from wav2vec2.long_form import PooledFrames, Window, plan_windows
from wav2vec2.recordings import Failure, Recording, Waveform, audio_files, open_recording
from wav2vec2.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from wav2vec2.model.ctc import Wav2Vec2ForCTC

# Recordings that wait for each other so that batches can be sorted by length: this many batches of audio, this many
# files.
_POOL_BATCHES, _POOL_RECORDINGS = 16, 512


@dataclass(frozen=True)
class Word:
    """A word (or a symbol, where the vocabulary has no word separator); the centres of its first and last frame in
    seconds.
    """

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Transcript:
    """What was said in `source`. seconds: length of the audio; score: log-probability (nats) of the best path."""

    source: str
    text: str
    words: tuple[Word, ...]
    seconds: float
    score: float


class Transcriber:
    """A CTC model with its vocabulary, ready for audio; the model is put into evaluation mode on `device`.

    model: a `Wav2Vec2ForCTC`, or what `wav2vec2.load` reads. vocabulary: by default the model directory's files, or
    else the model's own list of symbols. device: `auto` takes a GPU if there is one. batch_seconds: padded audio in
    one batch. window_seconds, context_seconds: recordings longer than a window are cut (see `long_form`). Raises
    UserError for a model without CTC head or vocabulary, and for impossible sizes.
    """

    def __init__(
        self,
        model: "Wav2Vec2ForCTC | str | Path",
        *,
        vocabulary: Vocabulary | None = None,
        device: str = "auto",
        batch_seconds: float = 60.0,
        window_seconds: float = 30.0,
        context_seconds: float = 4.0,
    ) -> None:
        if not (0 < batch_seconds < math.inf and 0 <= 2 * context_seconds < window_seconds < math.inf):
            raise UserError("batch_seconds must be positive and window_seconds more than twice context_seconds")
        self.model, self.vocabulary = _model_and_vocabulary(model, vocabulary)
        self.architecture = self.model.architecture
        self.device = _device(device)
        self.model.to(self.device).eval()
        self._budget = int(batch_seconds * SAMPLE_RATE)
        frames_per_second = SAMPLE_RATE / self.architecture.stride
        self._context_frames = round(context_seconds * frames_per_second)
        self._window_frames = max(round(window_seconds * frames_per_second), 2 * self._context_frames + 1)

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
        pool: list[Recording | Failure] = []
        waiting = 0
        for recording in recordings:
            pool.append(recording)
            waiting += 0 if isinstance(recording, Failure) else recording.samples
            if waiting >= _POOL_BATCHES * self._budget or len(pool) >= _POOL_RECORDINGS:
                yield from self._transcribe_pool(pool)
                pool, waiting = [], 0
        yield from self._transcribe_pool(pool)

    def _transcribe_pool(self, pool: Sequence[Recording | Failure]) -> Iterator[Transcript | Failure]:
        readable = [recording for recording in pool if isinstance(recording, Recording)]
        frames = PooledFrames(readable, self._windows, normalize=self.architecture.normalize_input)
        frames.compute(self._best_frames, budget=self._budget)
        row = 0
        for recording in pool:
            if isinstance(recording, Failure):
                yield recording
                continue
            if row in frames.failures:
                yield Failure(recording.name, frames.failures[row])
            else:
                symbols, score = frames.path(row)
                yield self._transcript(recording, collapse(symbols, self.vocabulary.blank, score))
            row += 1

    def _transcript(self, recording: Recording, hypothesis: Hypothesis) -> Transcript:
        center = self.architecture.frame_center
        words = tuple(
            Word(text, center(first), center(last)) for text, first, last in word_frames(self.vocabulary, hypothesis)
        )
        text = self.vocabulary.decode(hypothesis.ids)
        return Transcript(recording.name, text, words, recording.samples / SAMPLE_RATE, hypothesis.score)

    def _windows(self, samples: int) -> list[Window]:
        sizes = {"window_frames": self._window_frames, "context_frames": self._context_frames}
        return plan_windows(samples, self.architecture, **sizes)

    @torch.inference_mode()
    def _best_frames(self, waveforms: Sequence[Waveform]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        lengths = torch.tensor([len(waveform) for waveform in waveforms])
        batch = torch.zeros(len(waveforms), int(lengths.max()))
        for row, waveform in enumerate(waveforms):
            batch[row, : len(waveform)] = torch.from_numpy(waveform)
        logits, frame_lengths = self.model(batch.to(self.device), lengths.to(self.device))
        if logits.shape[-1] != len(self.vocabulary):
            sizes = f"{len(self.vocabulary)} symbols, the model's head {logits.shape[-1]}"
            raise UserError(f"vocabulary: has {sizes}; use the model's own")
        return best_path(logits, frame_lengths)


def word_frames(vocabulary: Vocabulary, hypothesis: Hypothesis) -> list[tuple[str, int, int]]:
    """Cut a hypothesis at the word separator: each word with the first and last frame of its symbols.

    Without a separator every symbol is a word of its own.
    """
    words: list[tuple[list[int], int, int]] = []
    joins = False
    for index, first, last in zip(hypothesis.ids, hypothesis.frames, hypothesis.last_frames, strict=True):
        if vocabulary.word_separator is not None and vocabulary.symbols[index] == vocabulary.word_separator:
            joins = False
        elif joins:
            words[-1] = ([*words[-1][0], index], words[-1][1], last)
        else:
            words.append(([index], first, last))
            joins = vocabulary.word_separator is not None
    shown = [(vocabulary.decode(ids), first, last) for ids, first, last in words]
    return [word for word in shown if word[0]]


def _model_and_vocabulary(
    source: "Wav2Vec2ForCTC | str | Path", vocabulary: Vocabulary | None
) -> tuple["Wav2Vec2ForCTC", Vocabulary]:
    model: Any = source
    if isinstance(source, (str, Path)):
        from wav2vec2.recognizer import load_recognizer

        model = load_recognizer(source)
        # The files say more than the model's list of symbols: what the unit is, and how transcripts were normalised.
        directory = Path(source).parent if Path(source).suffix in (".safetensors", ".bin") else Path(source)
        if vocabulary is None and hasattr(model, "blank") and (directory / "vocab.json").is_file():
            vocabulary = Vocabulary.load(directory)
    vocabulary = vocabulary or getattr(model, "symbol_table", None)  # an exported file carries the whole table
    if not hasattr(model, "blank"):
        raise UserError(f"{_name(source)}: has no CTC head and cannot write text; fine-tune it first")
    if vocabulary is None:
        if model.vocabulary is None:
            raise UserError(f"{_name(source)}: has no vocabulary; pass one, or use a model directory with vocab.json")
        vocabulary = Vocabulary.from_symbols(model.vocabulary, blank=model.blank)
    return model, vocabulary


def _name(source: Any) -> str:
    return str(source) if isinstance(source, (str, Path)) else "model"


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} is not usable here; choose auto or cpu") from error


@dataclass(frozen=True)
class TranscribeOptions:
    """Write down what is said in audio files. Results go to stdout; files that fail get one line each on stderr."""

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory or checkpoint file with a CTC head."""
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILE [FILE ...]")]
    """Audio files, and folders that are searched for them."""
    format: Literal["text", "json", "jsonl"] = "text"
    """text: the words (after the file's name and a tab, if there are several). json: one array with word times in
    seconds. jsonl: one object a line, as soon as it is known."""
    device: str = "auto"
    """auto takes a GPU if there is one; else cpu, cuda, cuda:1, ..."""
    batch_seconds: float = 60.0
    """Audio in one batch, padding included: less needs less memory."""
    window_seconds: float = 30.0
    """Longer recordings are read in windows of this length."""
    context_seconds: float = 4.0
    """Part of a window, at both of its ends, that only serves the rest as context."""


def run(options: TranscribeOptions) -> None:
    """Transcribe `options.files` to stdout; raises UserError at the end if any of them failed."""
    if not options.files:
        raise UserError("transcribe: name at least one audio file or folder")
    files = audio_files(options.files)
    transcriber = Transcriber(
        options.model,
        device=options.device,
        batch_seconds=options.batch_seconds,
        window_seconds=options.window_seconds,
        context_seconds=options.context_seconds,
    )
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
    if failed:
        raise UserError(f"{failed} of {len(files)} files could not be transcribed; the lines above say why")


def _format(transcript: Transcript, style: str, *, alone: bool, first: bool) -> str:
    if style == "text":
        return transcript.text if alone else f"{transcript.source}\t{transcript.text}"
    line = json.dumps(asdict(transcript), ensure_ascii=False)
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
