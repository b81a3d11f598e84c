"""The tasks of a manifest: contiguous rows of about equal length. The same rows give the same tasks on every machine.

All parts of a work (--part) share one plan, so that they write into one folder, and another number of parts, or another
engine, continues what was begun.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

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


def task_rows(manifest: Manifest, task: Task) -> Manifest:
    """The rows of a task."""
    return manifest.select(np.arange(task.first, task.last))


def task_key(manifest: Manifest, task: Task, work: str) -> str:
    """A hash of the work and of all that says which audio the rows of a task are."""
    rows = task_rows(manifest, task)
    digest = hashlib.sha256(work.encode())
    for name in ("id", "path"):
        digest.update("\0".join(rows.column(name).to_pylist()).encode(errors="surrogatepass"))
    for name in ("offset", "size", "start", "samples"):
        digest.update(rows.column(name).to_numpy().tobytes())
    return digest.hexdigest()[:32]
