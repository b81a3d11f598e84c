"""The tasks of a manifest: contiguous rows of about equal length. The same rows give the same tasks on every machine.

All parts of a work (--part) share one plan, so that they write into one folder, and another number of parts, or another
engine, continues what was begun.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.manifest import Manifest

LONGEST_MINUTES, SHORTEST_MINUTES = 60.0, 5.0
_WANTED_TASKS = 64


@dataclass(frozen=True)
class Task:
    """Rows `first` to `last` (excluded) of a manifest: the `number`-th of `count` tasks, from 1."""

    number: int
    count: int
    first: int
    last: int
    samples: int

    @property
    def seconds(self) -> float:
        """How much audio it has."""
        return self.samples / SAMPLE_RATE

    @property
    def shard(self) -> str:
        """Name of the file of its results."""
        return f"results-{self.number:05d}-of-{self.count:05d}.parquet"


def plan_tasks(lengths: "np.ndarray", minutes: float | None) -> list[Task]:
    """Cut rows of `lengths` (samples, (rows,)) into tasks of about `minutes` of audio, whole rows each.

    A task ends with the row that fills it, so that it is longer by less than one row. None: an hour, or less where the
    manifest is short, but not below five minutes.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    if not len(ends):
        return []
    if minutes is None:
        total = int(ends[-1]) / SAMPLE_RATE / 60
        minutes = min(LONGEST_MINUTES, max(SHORTEST_MINUTES, total / _WANTED_TASKS))
    wanted = max(1, int(minutes * 60 * SAMPLE_RATE))
    task = (ends - lengths) // wanted  # by where a row begins
    edges = [0, *(np.flatnonzero(np.diff(task)) + 1).tolist(), len(ends)]
    sums = np.concatenate([[0], ends])[edges]
    return [
        Task(number, len(edges) - 1, first, last, int(sums[number] - sums[number - 1]))
        for number, (first, last) in enumerate(pairwise(edges), 1)
    ]


def share(tasks: Sequence[Task], part: int, parts: int) -> list[Task]:
    """The tasks of one part: every `parts`-th, so that all parts take about as long."""
    return list(tasks[part - 1 :: parts])


class Keys:
    """The keys of the tasks of a manifest, and the ids of their rows, without copying its columns."""

    def __init__(self, manifest: Manifest, work: str) -> None:
        names = ("id", "path", "offset", "size", "start", "samples")
        self._columns = {name: manifest.column(name) for name in names}
        self._work = work

    def ids(self, task: Task) -> list[str]:
        """The ids of the rows of a task."""
        return self._texts("id", task)

    def key(self, task: Task) -> str:
        """A hash of the work and of all that says which audio the rows of a task are."""
        digest = hashlib.sha256(self._work.encode())
        for name in self._columns:
            if name in ("id", "path"):
                digest.update("\0".join(self._texts(name, task)).encode(errors="surrogatepass"))
            else:
                digest.update(self._rows(name, task).to_numpy().tobytes())
        return digest.hexdigest()[:32]

    def _texts(self, name: str, task: Task) -> list[str]:
        texts: list[str] = self._rows(name, task).to_pylist()
        return texts

    def _rows(self, name: str, task: Task) -> pa.ChunkedArray:
        return self._columns[name].slice(task.first, task.last - task.first)
