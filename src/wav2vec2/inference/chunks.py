"""Chunks of a recording's frames that are decoded at once: what lies between two pauses, a minute at most.

Pieces that are joined without a pause are one chunk, so that a word across their seam is decoded once. A chunk that
grows too long ends where the best path has a word separator.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wav2vec2.audio.recordings import AnyRecording, Failure
from wav2vec2.decode.greedy import confident_words
from wav2vec2.decode.hypothesis import Emissions, Hypothesis
from wav2vec2.decode.pieces import Piece, search_pieces
from wav2vec2.decode.search import LONGEST_FRAMES, Search
from wav2vec2.inference.cuts import Ended
from wav2vec2.inference.pools import Computed
from wav2vec2.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Chunk:
    """Frames of a recording, from frame `first` on.

    symbols, scores: (T,) the best symbol of each frame, and its log-probability in nats. emissions: (T, V) in nats, if
    they were asked for. goes_on: whether another chunk of the recording follows.
    """

    recording: AnyRecording
    first: int
    symbols: NDArray[np.int64]
    scores: NDArray[np.float32]
    emissions: Emissions | None = None
    goes_on: bool = False

    def part(self, begin: int, end: int) -> "Chunk":
        """Return frames [begin, end) of the chunk."""
        emissions = None if self.emissions is None else self.emissions[begin:end]
        first = self.first + begin
        return Chunk(self.recording, first, self.symbols[begin:end], self.scores[begin:end], emissions)


ChunkEvent: TypeAlias = Chunk | Ended | Failure


@dataclass
class Chunker:
    """Joins the cuts of one recording to chunks. longest: frames of a chunk, where there is a place to end it."""

    vocabulary: Vocabulary
    longest: int = LONGEST_FRAMES
    _open: list[Chunk] = field(default_factory=list)
    _frames: int = 0

    def add(self, computed: Computed) -> Iterator[Chunk]:
        """Take the next cut with its outputs; yield the chunks that end before it, or in it."""
        cut, (symbols, scores, *emissions) = computed
        if not cut.joined:
            yield from self.end()
        of_all = emissions[0].numpy() if emissions else None
        self._open.append(Chunk(cut.recording, cut.first, symbols.numpy(), scores.numpy(), of_all))
        self._frames += cut.keep
        while self._frames > self.longest:
            whole = self._joined()
            place = self._place(whole.symbols)
            self._open, self._frames = [whole], len(whole.symbols)
            if not place:
                return
            self._open, self._frames = [whole.part(place, len(whole.symbols))], len(whole.symbols) - place
            yield whole.part(0, place)

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


def chunks(pools: Iterable[Iterable[Computed | Ended | Failure]], vocabulary: Vocabulary) -> Iterator[ChunkEvent]:
    """Yield the chunks of recordings, and their ends and failures, in order; a chunk knows whether it is the last."""
    chunker, held = Chunker(vocabulary), list[Chunk]()
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
    for found in search_pieces([searches[number] for number in beams], vocabulary, pieces()):
        while not isinstance(event := waiting.popleft(), Chunk):
            yield event, []
        lists = dict(zip(beams, found, strict=True))
        yield event, [lists[number] if number in lists else greedy(event) for number in range(len(searches))]
    yield from ((event, []) for event in waiting)
