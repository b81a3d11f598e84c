"""Chunks of a recording's frames that are decoded at once: what lies between two pauses, a minute at most.

Pieces that are joined without a pause are one chunk, so that a word across their seam is decoded once. A chunk that
grows too long ends where the best path has a word separator. A transcript is put together from the chunks.
"""

import itertools
import sys
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wav2vec2.audio.pieces import GRID
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import AnyRecording, Failure
from wav2vec2.decode.greedy import confident_words
from wav2vec2.decode.hypothesis import Emissions, Hypothesis, hypothesis_text, word_frames
from wav2vec2.decode.pieces import MOST_BYTES, Piece, search_pieces
from wav2vec2.decode.search import LONGEST_FRAMES, Search, join
from wav2vec2.inference.cuts import Ended
from wav2vec2.inference.pools import Computed
from wav2vec2.model.architecture import Architecture
from wav2vec2.output.transcript import Alternative, Transcript, Word
from wav2vec2.text.vocabulary import Vocabulary

_WAITING_FRAMES = 48_000  # 16 minutes; a model is faster than a search, and what waits must not grow with a recording


@dataclass(frozen=True)
class Chunk:
    """Frames of a recording, from sample `start` on.

    symbols, scores: (T,) the best symbol of each frame, and its log-probability in nats. emissions: (T, V) in nats, if
    they were asked for. goes_on: whether another chunk of the recording follows.
    """

    recording: AnyRecording
    start: int
    symbols: NDArray[np.int64]
    scores: NDArray[np.float32]
    emissions: Emissions | None = None
    goes_on: bool = False

    def part(self, begin: int, end: int, stride: int) -> "Chunk":
        """Return frames [begin, end) of the chunk; stride: samples from frame to frame."""
        emissions = None if self.emissions is None else self.emissions[begin:end]
        return Chunk(
            self.recording, self.start + begin * stride, self.symbols[begin:end], self.scores[begin:end], emissions
        )


ChunkEvent: TypeAlias = Chunk | Ended | Failure


@dataclass
class Chunker:
    """Joins the cuts of one recording to chunks. longest: frames of a chunk, where there is a place to end it."""

    vocabulary: Vocabulary
    stride: int = GRID
    longest: int = LONGEST_FRAMES
    _open: list[Chunk] = field(default_factory=list)
    _frames: int = 0

    def add(self, computed: Computed) -> Iterator[Chunk]:
        """Take the next cut with its outputs; yield the chunks that end before it, or in it."""
        cut, (symbols, scores, *emissions) = computed
        if not cut.joined:
            yield from self.end()
        of_all = emissions[0].numpy() if emissions else None
        self._open.append(Chunk(cut.recording, cut.start, symbols.numpy(), scores.numpy(), of_all))
        self._frames += cut.keep
        while self._frames > self.longest:
            whole = self._joined()
            place = self._place(whole.symbols)
            self._open, self._frames = [whole], len(whole.symbols)
            if not place:
                return
            self._open, self._frames = [whole.part(place, len(whole.symbols), self.stride)], len(whole.symbols) - place
            yield whole.part(0, place, self.stride)

    def end(self) -> Iterator[Chunk]:
        """Yield what is left."""
        if self._open:
            yield self._joined()
        self._open, self._frames = [], 0

    def _joined(self) -> Chunk:
        if len(self._open) == 1:
            return self._open[0]
        parts = self._open
        emissions = [part.emissions for part in parts if part.emissions is not None]
        return replace(
            parts[0],
            symbols=np.concatenate([part.symbols for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            emissions=np.concatenate(emissions) if emissions else None,
        )

    def _place(self, symbols: NDArray[np.int64]) -> int:
        """Where to end a chunk that is too long: 0 if it has to wait for a word separator."""
        name = self.vocabulary.word_separator
        quiet = self.vocabulary.blank if name is None else self.vocabulary.symbols.index(name)
        for symbol, first, last in (
            (quiet, self.longest // 2, self.longest),
            (quiet, 1, 2 * self.longest),
            (self.vocabulary.blank, 1, 2 * self.longest),
        ):
            places = np.flatnonzero(symbols[first:last] == symbol)
            if len(places) and (symbol == quiet or len(symbols) >= 2 * self.longest):
                return first + int(places[-1])
        return self.longest if len(symbols) >= 4 * self.longest else 0


def chunks(
    pools: Iterable[Iterable[Computed | Ended | Failure]], vocabulary: Vocabulary, stride: int
) -> Iterator[ChunkEvent]:
    """Yield the chunks of recordings, and their ends and failures, in order; a chunk knows whether it is the last."""
    chunker, held = Chunker(vocabulary, stride), list[Chunk]()
    for event in itertools.chain.from_iterable(pools):
        for chunk in chunker.add(event) if isinstance(event, tuple) else chunker.end():
            yield from (replace(before, goes_on=True) for before in held)
            held = [chunk]
        if not isinstance(event, tuple):
            yield from held
            held = []
            yield event


def searched(
    events: Iterable[ChunkEvent], searches: Sequence[Search], vocabulary: Vocabulary
) -> Iterator[tuple[ChunkEvent, list[list[Hypothesis]]]]:
    """Yield the events in order, each chunk with its n-best list of every search, others with none.

    The language models go on from one chunk of a recording to the next (`decode.pieces`).
    """
    beams = [number for number, search in enumerate(searches) if search.decoder is not None]
    waiting: deque[ChunkEvent] = deque()
    numbers = itertools.count()

    def pieces() -> Iterator[Piece]:
        number = next(numbers)
        for event in events:
            if not isinstance(event, Chunk):
                waiting.append(event)
                number = next(numbers)
                continue
            waiting.append(replace(event, emissions=None))
            assert event.emissions is not None
            yield Piece(number, event.emissions, event.goes_on)

    def greedy(chunk: Chunk) -> list[Hypothesis]:
        return [confident_words(vocabulary, chunk.symbols.tolist(), chunk.scores)]

    if not beams:
        for event in events:
            yield event, [greedy(event)] * len(searches) if isinstance(event, Chunk) else []
        return
    most = min(MOST_BYTES, 4 * len(vocabulary) * _WAITING_FRAMES)
    for found in search_pieces([searches[number] for number in beams], vocabulary, pieces(), most_bytes=most):
        while not isinstance(event := waiting.popleft(), Chunk):
            yield event, []
        lists = dict(zip(beams, found, strict=True))
        yield event, [lists[number] if number in lists else greedy(event) for number in range(len(searches))]
    yield from ((event, []) for event in waiting)


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

    def add(self, recording: AnyRecording, start: int, frames: int, nbest: Sequence[Hypothesis]) -> TranscribedPiece:
        """Take the n-best list of the chunk of `frames` frames from sample `start` on; return what it says."""
        best, a = nbest[0], self._architecture
        offset = start / SAMPLE_RATE
        words = self._timed(best, offset)
        if self._separator is not None and self._ids and best.ids and self._ids[-1] != self._separator:
            self._ids.append(self._separator)
        self._ids.extend(best.ids)
        self._written.extend(map(sys.intern, best.words))
        self._words.extend(words)
        self._score += best.score
        if self._search.nbest > 1:
            lists, offsets = ([self._nbest, nbest], [0, 0]) if self._nbest else ([nbest], [0])
            self._nbest = join(lists, offsets, self._separator)
        begin, end = a.frame_span(0, max(frames, 1) - 1)
        return TranscribedPiece(
            recording.name, offset + begin, offset + end, hypothesis_text(self._vocabulary, best), words
        )

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

    def _timed(self, best: Hypothesis, offset: float) -> tuple[Word, ...]:
        spans = word_frames(self._vocabulary, best)
        words = []
        for (text, first, last), confidence in zip(spans, best.confidences(len(spans)), strict=True):
            begin, end = self._architecture.frame_span(first, last)
            # the same few words again and again: hours of them are kept once
            words.append(Word(sys.intern(text), offset + begin, offset + end, confidence))
        return tuple(words)
