"""Plans of epochs: each is made once on a machine and mapped by its processes, the next one ahead of its time.

A plan is a pure function of the data and the epoch. The first process of a machine that asks for one makes it and
leaves it in a file whose name says what it is a plan of; the others wait for the file and map it. Small plans are made
by every process for itself, without files.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wav2vec2.data.made_once import made_once
from wav2vec2.output_file import writing

Integers32 = npt.NDArray[np.int32]

ROWS_SHARED = 500_000
"""Plans of more rows than this are shared by the processes of a machine, and made ahead."""
_HEADER = 3


@dataclass(frozen=True)
class EpochPlan:
    """The rows of an epoch, and where the updates begin."""

    order: Integers32
    """(N,) rows of the manifest; those of an update follow each other."""
    bounds: Integers32
    """(K + 1,) where each update begins in ``order``."""
    updates: Integers32
    """(K,) the updates in the order in which they are made."""
    buckets: Integers32
    """(K,) the bucket of each update, or empty where rows keep their lengths."""

    def __len__(self) -> int:
        return len(self.updates)

    def members(self, number: int) -> tuple[npt.NDArray[np.int64], int]:
        """Rows of the manifest in the update that comes ``number``-th, and its bucket (-1 without buckets)."""
        which = self.updates[number]
        bucket = int(self.buckets[which]) if len(self.buckets) else -1
        return self.order[self.bounds[which] : self.bounds[which + 1]].astype(np.int64), bucket

    def write(self, path: Path) -> None:
        """Write it to a file, which appears whole or not at all. Raises UserError if it cannot be written."""
        header = np.asarray([len(self.order), len(self.updates), len(self.buckets)], np.int32)
        with writing(path) as temporary, open(temporary, "wb") as file:
            for part in (header, self.bounds, self.updates, self.buckets, self.order):
                part.tofile(file)

    @classmethod
    def map(cls, path: Path) -> "EpochPlan":
        """Map a file of :meth:`write`. Raises OSError or ValueError if it is missing or not whole."""
        whole = np.memmap(path, np.int32, mode="r")
        rows, updates, buckets = whole[:_HEADER].tolist()
        sizes = (updates + 1, updates, buckets, rows)
        if len(whole) != _HEADER + sum(sizes):
            raise ValueError(f"{path} is not whole")
        ends = _HEADER + np.cumsum(sizes)
        bounds, order_of_updates, of_updates, order = (
            np.asarray(whole[end - size : end]) for end, size in zip(ends.tolist(), sizes, strict=True)
        )
        return cls(order, bounds, order_of_updates, of_updates)


class Epochs:
    """The plans of epochs. A plan stays in memory until the next but one is asked for.

    Args:
        make: makes the plan of an epoch; a pure function, called by one thread at a time for an epoch.
        rows: rows of an epoch, or about as many.
        key: says what is planned: equal keys mean equal plans.
    """

    def __init__(self, make: Callable[[int], EpochPlan], rows: int, key: str) -> None:
        self._make, self._key = make, key
        self._large = rows > ROWS_SHARED
        self._lock = threading.Lock()
        self._plans: dict[int, Future[EpochPlan]] = {}
        self._sizes: dict[int, int] = {}

    def plan(self, epoch: int) -> EpochPlan:
        """The plan of an epoch; made now if it was not begun before."""
        found = self._begun(epoch, background=False).result()
        with self._lock:
            self._sizes[epoch] = len(found)
            for other in [other for other in self._plans if other not in (epoch, epoch + 1)]:
                del self._plans[other]
        return found

    def updates(self, epoch: int) -> int:
        """Number of updates in an epoch; an epoch that was planned before is not planned again."""
        known = self._sizes.get(epoch)
        return len(self.plan(epoch)) if known is None else known

    def prepare(self, epoch: int) -> None:
        """Begin to make a large plan in a thread, unless that has been done."""
        if self._large:
            self._begun(epoch, background=True)

    def _begun(self, epoch: int, *, background: bool) -> "Future[EpochPlan]":
        with self._lock:
            if epoch in self._plans:
                return self._plans[epoch]
            future = self._plans[epoch] = Future[EpochPlan]()
        if background:
            threading.Thread(target=self._finish, args=(epoch, future), name=f"plan-{epoch}", daemon=True).start()
        else:
            self._finish(epoch, future)
        return future

    def _finish(self, epoch: int, future: "Future[EpochPlan]") -> None:
        try:
            future.set_result(self._shared(epoch) if self._large else self._make(epoch))
        except BaseException as error:  # raised where the plan is asked for
            future.set_exception(error)

    def _shared(self, epoch: int) -> EpochPlan:
        """The plan that this machine keeps in a file, made if it is not there."""
        mapped: list[EpochPlan] = []
        made: list[EpochPlan] = []

        def valid(path: Path) -> bool:
            with suppress(ValueError):
                mapped.append(EpochPlan.map(path))
            return bool(mapped)

        def write(path: Path) -> None:
            made.append(self._make(epoch))
            made[0].write(path)

        made_once(f"{self._key}-{epoch}.plan", valid, write, f"{self._key}-{epoch - 2}.plan")
        found = mapped or made  # without room for the file, every process keeps its own
        return found[0] if found else self._make(epoch)
