"""From a recording and its text to the times of words and characters, by CTC forced alignment.

Frame f of the model sees samples 320 f to 320 f + 400 and stands for the 20 ms around the middle of this field:
(320 f + 200) / 16000 s, 10 ms to either side. A symbol begins where its first frame's 20 ms begin and ends where its
last frame's end, so that neighbours can touch and nothing has length zero; a word, with its first and last symbol.
(`Transcriber` gives the middles themselves, 10 ms inside of these.) CTC models write a symbol in one or two frames
where they recognise it, and blanks after it: times say where that is, and the end of a word is often early.

Memory: the emissions (T, V), float32, of what is aligned at a time, and the scores of `decode.align`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from wav2vec2.alignment_files import Alignment, TimedSymbol, TimedWord
from wav2vec2.audio import SAMPLE_RATE
from wav2vec2.decode.aligned_text import AlignedText, Span, align_text
from wav2vec2.errors import UserError
from wav2vec2.long_form import Window, WindowReader, batches_by_length, plan_windows
from wav2vec2.model.architecture import Architecture
from wav2vec2.recordings import Failure, Recording, Waveform, open_recording
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.transcribe import Transcriber

if TYPE_CHECKING:
    from wav2vec2.model.ctc import Wav2Vec2ForCTC

# Recordings that wait for each other so that batches can be sorted by length: this many batches of audio, this many
# files.
_POOL_BATCHES, _POOL_RECORDINGS = 8, 256


class Aligner:
    """A CTC model with its vocabulary, ready for recordings and their texts; arguments as `Transcriber`.

    Raises UserError for a model without CTC head or vocabulary, and for impossible sizes.
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
        transcriber = Transcriber(model, vocabulary=vocabulary, device=device)
        self.model, self.vocabulary, self.device = transcriber.model, transcriber.vocabulary, transcriber.device
        self.architecture: Architecture = self.model.architecture
        self._budget = int(batch_seconds * SAMPLE_RATE)
        frames_per_second = SAMPLE_RATE / self.architecture.stride
        self._context_frames = round(context_seconds * frames_per_second)
        self._window_frames = max(round(window_seconds * frames_per_second), 2 * self._context_frames + 1)

    def __call__(self, audio: Any, text: str) -> Alignment:
        """Align `text` to a file, encoded bytes or a float array (16 kHz mono).

        Raises UserError if the recording cannot be read or the text cannot be aligned to it.
        """
        (result,) = self.stream([(open_recording(audio), text)])
        if isinstance(result, Failure):
            raise UserError(result.message)
        return result

    def stream(
        self,
        pairs: Iterable[tuple[Recording | Failure, str]],
        advance: Callable[[float], object] = lambda seconds: None,
    ) -> Iterator[Alignment | Failure]:
        """Yield one result for each recording and its text, in order; where that fails, a Failure, and the rest goes
        on. `advance` is told how many more seconds of audio the model has heard.
        """
        pool: list[tuple[Recording | Failure, str]] = []
        waiting = 0
        for recording, text in pairs:
            pool.append((recording, text))
            waiting += 0 if isinstance(recording, Failure) else recording.samples
            if waiting >= _POOL_BATCHES * self._budget or len(pool) >= _POOL_RECORDINGS:
                yield from self._align_pool(pool, advance)
                pool, waiting = [], 0
        yield from self._align_pool(pool, advance)

    def _align_pool(
        self, pool: Sequence[tuple[Recording | Failure, str]], advance: Callable[[float], object]
    ) -> Iterator[Alignment | Failure]:
        readable = [recording for recording, _ in pool if isinstance(recording, Recording)]
        emissions = iter(self._emissions(readable, advance))
        for recording, text in pool:
            if isinstance(recording, Failure):
                yield recording
                continue
            matrix = next(emissions)
            if isinstance(matrix, Failure):
                yield matrix
                continue
            try:
                aligned = align_text(matrix, text, self.vocabulary, name=recording.name)
            except UserError as error:
                yield Failure(recording.name, str(error))
            else:
                yield in_seconds(aligned, recording, self.architecture, self.vocabulary)

    def _emissions(
        self, recordings: Sequence[Recording], advance: Callable[[float], object]
    ) -> list[NDArray[np.float32] | Failure]:
        """(T, V) log-probabilities of every recording, its windows joined, or why it could not be read."""
        sizes = {"window_frames": self._window_frames, "context_frames": self._context_frames}
        plans = [plan_windows(recording.samples, self.architecture, **sizes) for recording in recordings]
        normalize = self.architecture.normalize_input
        readers = [WindowReader(r, plan, normalize=normalize) for r, plan in zip(recordings, plans, strict=True)]
        results: list[NDArray[np.float32] | Failure] = [
            np.empty((sum(window.keep for window in plan), len(self.vocabulary)), dtype=np.float32) for plan in plans
        ]
        items = [(row, window) for row, plan in enumerate(plans) for window in plan]
        places = [end - window.keep for plan in plans for window, end in zip(plan, _ends(plan), strict=True)]
        for batch in batches_by_length([window.samples for _, window in items], self._budget):
            ready: list[tuple[int, Waveform]] = []
            for item in batch:
                row, window = items[item]
                try:
                    if not isinstance(results[row], Failure):
                        ready.append((item, readers[row].read(window)))
                except UserError as error:
                    results[row] = Failure(recordings[row].name, str(error))
            computed = self._log_probabilities([waveform for _, waveform in ready])
            for (item, _), log_probs in zip(ready, computed, strict=True):
                row, window = items[item]
                matrix = results[row]
                if not isinstance(matrix, Failure):
                    matrix[places[item] : places[item] + window.keep] = log_probs[window.skip :][: window.keep]
            advance(sum(items[item][1].keep for item in batch) * self.architecture.stride / SAMPLE_RATE)
        return results

    @torch.inference_mode()
    def _log_probabilities(self, waveforms: Sequence[Waveform]) -> list[NDArray[np.float32]]:
        if not waveforms:
            return []
        lengths = torch.tensor([len(waveform) for waveform in waveforms])
        batch = torch.zeros(len(waveforms), int(lengths.max()))
        for row, waveform in enumerate(waveforms):
            batch[row, : len(waveform)] = torch.from_numpy(waveform)
        logits, frame_lengths = self.model(batch.to(self.device), lengths.to(self.device))
        if logits.shape[-1] != len(self.vocabulary):
            sizes = f"{len(self.vocabulary)} symbols, the model's head {logits.shape[-1]}"
            raise UserError(f"vocabulary: has {sizes}; use the model's own")
        log_probs = logits.float().log_softmax(-1).cpu().numpy()
        return [log_probs[row, :frames] for row, frames in enumerate(frame_lengths.tolist())]


def _ends(plan: Sequence[Window]) -> Iterator[int]:
    return accumulate(window.keep for window in plan)


def in_seconds(aligned: AlignedText, recording: Recording, a: Architecture, vocabulary: Vocabulary) -> Alignment:
    """Turn frames into seconds: each frame stands for one stride around the middle of its receptive field."""
    half = a.stride / 2 / SAMPLE_RATE

    def times(span: Span | None) -> tuple[float | None, float | None, float | None]:
        if span is None:
            return None, None, None
        return a.frame_center(span.first) - half, a.frame_center(span.last) + half, span.score

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
        spaced=vocabulary.word_separator is not None or vocabulary.unit == "whitespace",
        unknown=aligned.unknown,
    )
