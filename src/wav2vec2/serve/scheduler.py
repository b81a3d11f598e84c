"""Which pieces the model hears next: batches of pieces of several requests, not of whole requests.

Requests take turns by seconds of audio (deficit round robin). The first seconds of a request come before the turns of
those that have been heard for longer, so that a short clip does not wait for long recordings; but every second batch
begins with one of these, so that many clips cannot keep a recording waiting.
A batch holds pieces of about the same length, up to a budget of samples with their padding. A batch that is not full is
held back for some milliseconds while other requests are about to have pieces, and not at all otherwise.

Nothing here knows about processes or time: `now` is given, and the caller says what became of a batch.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from wav2vec2.audio.read import SAMPLE_RATE

QUANTUM = 4 * SAMPLE_RATE
"""Samples that a request may have computed before it is another one's turn."""
NEW = 8 * SAMPLE_RATE
"""Samples for which a request is new."""
HOLD = 0.015
"""Seconds that a batch which is not full waits for others, at most."""
ATTEMPTS = 2
"""How often a piece is computed, if the process that computes it dies."""
_SHORT = 2 * SAMPLE_RATE
_ALIKE = 1.5  # the longest piece of a batch over its shortest, above _SHORT


@dataclass(eq=False)
class Piece:
    """Audio of a request that is to be computed. samples: its length. data: anything of the caller's.

    failed: called with the reason if it cannot be computed; not for a request that was cancelled.
    """

    request: Hashable
    samples: int
    data: Any
    failed: Callable[[str], None]
    queued: float = 0.0
    attempts: int = 0


@dataclass
class _Turn:
    """What waits of one request, and how many samples it may still have computed in this round."""

    waiting: deque[Piece] = field(default_factory=deque)
    credit: int = 0


class Scheduler:
    """The queue of pieces. budget: samples of a batch, padding included; a longer piece is a batch of its own."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._turns: OrderedDict[Hashable, _Turn] = OrderedDict()
        self._heard: dict[Hashable, int] = {}  # samples that were computed, of requests that have begun and not ended
        self._was_new = False  # the last batch began with a new request's piece

    @property
    def waiting(self) -> int:
        """Pieces that wait."""
        return sum(len(turn.waiting) for turn in self._turns.values())

    def begin(self, request: Hashable) -> None:
        """Say that a request will have pieces; until `end`, a batch may wait for them."""
        self._heard.setdefault(request, 0)

    def end(self, request: Hashable) -> None:
        """Say that a request has ended, or was cancelled: what waits of it is forgotten."""
        self._heard.pop(request, None)
        self._turns.pop(request, None)

    def add(self, piece: Piece, now: float) -> None:
        """Let a piece wait for its turn."""
        piece.queued = now
        self._turns.setdefault(piece.request, _Turn()).waiting.append(piece)

    def lost(self, batch: list[Piece]) -> None:
        """Say that a batch was not computed, because its process died: its pieces come first, once more."""
        for piece in reversed(batch):
            if piece.request not in self._heard:
                continue
            if piece.attempts >= ATTEMPTS:
                piece.failed("the process that computed it has died twice")
                continue
            self._turns.setdefault(piece.request, _Turn()).waiting.appendleft(piece)
            self._turns.move_to_end(piece.request, last=False)

    def take(self, now: float) -> tuple[list[Piece], float]:
        """Return the next batch, empty if there is none yet, and the seconds after which to ask again (0: on news)."""
        if not self._turns:
            return [], 0.0
        oldest = min(turn.waiting[0].queued for turn in self._turns.values())
        left = oldest + HOLD - now
        if left > 0 and not self._full() and any(request not in self._turns for request in self._heard):
            return [], left
        batch = self._next_batch()
        for piece in batch:
            piece.attempts += 1
        return batch, 0.0

    def _full(self) -> bool:
        longest = max(piece.samples for turn in self._turns.values() for piece in turn.waiting)
        return longest * self.waiting >= self.budget

    def _next_batch(self) -> list[Piece]:
        """Go round until a piece has its turn; then take others that are as long, in the order of their turns."""
        first = self._first()
        batch, longest = [first], first.samples
        shortest = first.samples
        for request in list(self._turns):
            turn = self._turns[request]
            for piece in list(turn.waiting):
                if piece.samples > turn.credit and len(self._turns) > 1 and not self._is_new(piece):
                    break
                high, low = max(longest, piece.samples), min(shortest, piece.samples)
                if (len(batch) + 1) * high > self.budget or (high > _SHORT and high > _ALIKE * low):
                    continue
                turn.waiting.remove(piece)
                self._count(piece, turn)
                batch.append(piece)
                longest, shortest = high, low
            if not turn.waiting:
                del self._turns[request]
        return batch

    def _first(self) -> Piece:
        new = [request for request, turn in self._turns.items() if self._is_new(turn.waiting[0])]
        self._was_new = bool(new) and not (self._was_new and len(new) < len(self._turns))
        if self._was_new:
            return self._taken(new[0])
        while True:
            request, turn = next(iter(self._turns.items()))
            if not self._is_new(turn.waiting[0]):
                if turn.waiting[0].samples <= turn.credit or len(self._turns) == 1:
                    return self._taken(request)
                turn.credit += QUANTUM
            self._turns.move_to_end(request)

    def _taken(self, request: Hashable) -> Piece:
        turn = self._turns[request]
        piece = turn.waiting.popleft()
        self._count(piece, turn)
        if not turn.waiting:
            del self._turns[request]
        return piece

    def _count(self, piece: Piece, turn: _Turn) -> None:
        turn.credit = max(0, turn.credit - piece.samples)
        if piece.request in self._heard:
            self._heard[piece.request] += piece.samples

    def _is_new(self, piece: Piece) -> bool:
        return self._heard.get(piece.request, NEW) + piece.samples <= NEW
