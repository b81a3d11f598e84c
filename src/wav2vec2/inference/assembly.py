"""A recording's transcript, put together from its chunks as they are decoded."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import AnyRecording
from wav2vec2.decode.hypothesis import Hypothesis, hypothesis_text, word_frames
from wav2vec2.decode.search import Search, join
from wav2vec2.model.architecture import Architecture
from wav2vec2.output.transcript import Alternative, Transcript, Word
from wav2vec2.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class TranscribedPiece:
    """What is said between two pauses of a recording. start, end: in seconds, of what the model has seen of it."""

    source: str
    start: float
    end: float
    text: str
    words: tuple[Word, ...]


class Assembly:
    """Collects the n-best lists of a recording's chunks. Symbols are kept without their frames, in two bytes or so."""

    def __init__(self, vocabulary: Vocabulary, architecture: Architecture, search: Search) -> None:
        self._vocabulary, self._architecture, self._search = vocabulary, architecture, search
        name = vocabulary.word_separator
        self._separator = None if name is None else vocabulary.symbols.index(name)
        self._ids = array("i")
        self._written: list[str] = []
        self._words: list[Word] = []
        self._score = 0.0
        self._nbest: list[Hypothesis] = []

    def add(self, recording: AnyRecording, first: int, frames: int, nbest: Sequence[Hypothesis]) -> TranscribedPiece:
        """Take the n-best list of the chunk of `frames` frames from frame `first` on; return what it says."""
        best, a = nbest[0], self._architecture
        words = self._timed(best, first)
        if self._separator is not None and self._ids and best.ids and self._ids[-1] != self._separator:
            self._ids.append(self._separator)
        self._ids.extend(best.ids)
        self._written.extend(best.words)
        self._words.extend(words)
        self._score += best.score
        if self._search.nbest > 1:
            lists, offsets = ([self._nbest, nbest], [0, first]) if self._nbest else ([nbest], [first])
            self._nbest = join(lists, offsets, self._separator)
        start, end = a.frame_span(first, first + max(frames, 1) - 1)
        return TranscribedPiece(recording.name, start, end, hypothesis_text(self._vocabulary, best), words)

    def transcript(self, recording: AnyRecording) -> Transcript:
        """Return the transcript of the recording, which has ended."""
        ids = list(self._ids)
        text = hypothesis_text(self._vocabulary, Hypothesis(ids, [], 0.0, words=tuple(self._written)))
        return Transcript(
            source=recording.name,
            text=text,
            words=tuple(self._words),
            seconds=recording.samples / SAMPLE_RATE,
            score=self._score,
            nbest=tuple(
                Alternative(hypothesis_text(self._vocabulary, h), h.score, h.acoustic_score, h.lm_score)
                for h in self._nbest[: self._search.nbest]
            ),
            spaced=self._vocabulary.spaced or bool(self._written),
            warning=recording.warning,
        )

    def _timed(self, best: Hypothesis, offset: int) -> tuple[Word, ...]:
        spans = word_frames(self._vocabulary, best)
        confidences: Sequence[float | None] = best.word_confidences
        if len(confidences) != len(spans):
            confidences = [None] * len(spans)
        span = self._architecture.frame_span
        return tuple(
            Word(text, *span(offset + first, offset + last), confidence)
            for (text, first, last), confidence in zip(spans, confidences, strict=True)
        )
