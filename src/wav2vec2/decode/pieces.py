"""Searching the pieces of recordings as they come, in bounded memory, while the model computes the next ones.

Pieces wait until a round begins. A round decodes all that wait, on all cores (or, where a Transformer guides the
search, in one batch of calls), while the caller goes on. With `carry` the pieces of one recording follow one another:
each begins with the language model where the best hypothesis before it left off, so that a round has one piece of each
recording. Emissions are dropped as soon as they are searched.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from wav2vec2.decode.context import WHOLE, Context
from wav2vec2.decode.hypothesis import Emissions, Hypothesis
from wav2vec2.decode.search import Search, SearchOptions, decode_in_pieces
from wav2vec2.errors import UserError
from wav2vec2.text.vocabulary import Vocabulary

MOST_BYTES = 1 << 28
"""Emissions that wait or are being searched, by default: 256 MiB are 40 minutes at 32 symbols and 2 at 10,000."""

Lists = list[list[Hypothesis]]
"""For each search, the n-best list of a piece."""


@dataclass(frozen=True)
class Piece:
    """A part of a recording. recording: the same for all its parts, which come in order. emissions: (T, V). goes_on:
    whether another part of this recording follows.
    """

    recording: int
    emissions: Emissions
    goes_on: bool = False


def search_pieces(
    searches: Sequence[Search],
    vocabulary: Vocabulary,
    pieces: Iterable[Piece],
    *,
    carry: bool = True,
    most_bytes: int = MOST_BYTES,
) -> Iterator[Lists]:
    """Yield for each piece, in order, the n-best lists of all `searches`, which decode once where they share a decoder.

    carry: whether the language model goes on from piece to piece; without, each piece is a sentence of its own, and
    the pieces of one recording are searched at the same time. most_bytes: when so many bytes of emissions wait or are
    being searched, no piece is taken before some are done; a larger piece is searched alone. Results do not depend on
    it, nor on which pieces are searched together.

    Raises UserError for greedy decoding, which is not a search, and as the decoders do.
    """
    if any(search.decoder is None for search in searches):
        raise UserError("greedy decoding takes the best path of the frames, not a search")
    rounds = _Rounds(searches, vocabulary, carry)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="pieces") as thread:
        running: Future[None] | None = None
        for piece in pieces:
            while running is not None and rounds.bytes and rounds.bytes + piece.emissions.nbytes > most_bytes:
                running = _next(thread, rounds, running)
                yield from rounds.done()
            rounds.add(piece)
            if running is None or running.done():
                running = _next(thread, rounds, running)
                yield from rounds.done()
        while running is not None:
            running = _next(thread, rounds, running)
            yield from rounds.done()


def _next(thread: ThreadPoolExecutor, rounds: "_Rounds", running: Future[None] | None) -> Future[None] | None:
    """Wait for the round that runs, and begin the next; None if nothing waits."""
    if running is not None:
        running.result()
    chosen = rounds.choose()
    return thread.submit(rounds.run, chosen) if chosen else None


@dataclass
class _Place:
    """A piece on its way. lists: None until it has been searched."""

    piece: Piece | None
    bytes: int
    lists: Lists | None = None


@dataclass
class _Recording:
    """What the searches of a recording's next piece need: by decoder and options, and by the place of a search."""

    decoded: dict[tuple[int, SearchOptions], Context] = field(default_factory=dict)
    rescored: dict[int, Context] = field(default_factory=dict)


class _Rounds:
    def __init__(self, searches: Sequence[Search], vocabulary: Vocabulary, carry: bool) -> None:
        self._searches, self._vocabulary, self._carry = searches, vocabulary, carry
        self._queue: deque[_Place] = deque()
        self._waiting: deque[_Place] = deque()
        self._recordings: dict[int, _Recording] = {}

    @property
    def bytes(self) -> int:
        """Bytes of emissions that wait or are being searched."""
        return sum(place.bytes for place in self._queue if place.lists is None)

    def add(self, piece: Piece) -> None:
        place = _Place(piece, piece.emissions.nbytes)
        self._queue.append(place)
        self._waiting.append(place)

    def choose(self) -> list[_Place]:
        """Take what may be searched now: all that waits, or the first waiting piece of each recording."""
        chosen: list[_Place] = []
        left: deque[_Place] = deque()
        taken: set[int] = set()
        for place in self._waiting:
            assert place.piece is not None
            if self._carry and place.piece.recording in taken:
                left.append(place)
            else:
                taken.add(place.piece.recording)
                chosen.append(place)
        self._waiting = left
        return chosen

    def done(self) -> Iterator[Lists]:
        """Yield what is searched, in order, up to the first piece that is not."""
        while self._queue and (lists := self._queue[0].lists) is not None:
            self._queue.popleft()
            yield lists

    def run(self, places: Sequence[_Place]) -> None:
        """Search pieces of different recordings, or any without `carry`, together."""
        pieces = [place.piece for place in places if place.piece is not None]
        states = [self._state(piece.recording) for piece in pieces]
        goes_on = [piece.goes_on and self._carry for piece in pieces]
        decoded: dict[tuple[int, SearchOptions], Lists] = {}
        found: list[Lists] = []
        for number, search in enumerate(self._searches):
            assert search.decoder is not None
            key = id(search.decoder), search.options
            if key not in decoded:
                before = [state.decoded.get(key, WHOLE).going_on(on) for state, on in zip(states, goes_on, strict=True)]
                arrays = [piece.emissions for piece in pieces]
                decoded[key] = decode_in_pieces(search.decoder, self._vocabulary, arrays, search.options, before)
                for state, nbest, context in zip(states, decoded[key], before, strict=True):
                    state.decoded[key] = context.then(nbest[0], self._vocabulary)
            lists = decoded[key]
            if search.rescorer is not None:
                before = [
                    state.rescored.get(number, WHOLE).going_on(on) for state, on in zip(states, goes_on, strict=True)
                ]
                lists = search.rescorer(lists, self._vocabulary, before)
                for state, nbest, context in zip(states, lists, before, strict=True):
                    state.rescored[number] = context.then(nbest[0], self._vocabulary)
            found.append([nbest[: search.nbest] for nbest in lists])
        for place, piece, *lists in zip(places, pieces, *found, strict=True):
            if not piece.goes_on:
                self._recordings.pop(piece.recording, None)
            place.piece, place.lists = None, lists

    def _state(self, recording: int) -> _Recording:
        return self._recordings.setdefault(recording, _Recording()) if self._carry else _Recording()
