"""Sorting more rows than memory holds: sorted runs on disk, merged block by block.

A row is a few small non-negative integers, compared column by column, with one number beside it. Rows that are equal
become one whose number is the sum.
"""

import bisect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Rows = NDArray[np.int32]
"""(n, columns)."""
Values = NDArray[Any]
"""(n,), int64 or float64."""
Block = tuple[Rows, Values]

_RUNS_MERGED = 64
_BLOCK_MIN = 256
_COPIES = 4  # of a buffered row while it is sorted: the pieces, the whole, its order, the sorted whole


class ExternalSort:
    """Takes rows in any order and gives them back sorted, in blocks; what does not fit lies in ``folder``.

    memory: bytes that sorting may use. name: distinguishes the runs of several sorts in one folder. spilled: called
    after each run that was written.
    """

    def __init__(
        self,
        columns: int,
        dtype: DTypeLike,
        folder: Path,
        name: str,
        *,
        memory: int,
        spilled: Callable[[], None] = lambda: None,
    ) -> None:
        self._record = np.dtype([("words", "<i4", (columns,)), ("value", dtype)])
        self._folder, self._name, self._spilled = folder, name, spilled
        self._rows_max = max(_BLOCK_MIN, memory // (_COPIES * self._record.itemsize + 16))
        self._pieces: list[Block] = []
        self._buffered = 0
        self._runs: list[Path] = []
        self._written = 0
        self.rows = 0
        """Rows in the runs and the buffer; equal ones in different runs count twice."""

    def add(self, words: Rows, values: Values) -> None:
        """Take rows (n, columns) and their numbers (n,)."""
        for first in range(0, len(words), self._rows_max):
            piece = words[first : first + self._rows_max], values[first : first + self._rows_max]
            if self._buffered + len(piece[0]) > self._rows_max:
                self._collect()
                if 2 * self._buffered > self._rows_max:
                    self._spill()
            self._pieces.append(piece)
            self._buffered += len(piece[0])
            self.rows += len(piece[0])

    def blocks(self) -> Iterator[Block]:
        """All rows in order, each once, in blocks of at most what memory allows; ends the sort."""
        self._collect()
        if not self._runs:
            yield from self._pieces
            self._pieces = []
            return
        if self._buffered:
            self._spill()
        while len(self._runs) > _RUNS_MERGED:
            first, self._runs = self._runs[:_RUNS_MERGED], self._runs[_RUNS_MERGED:]
            self._write(self._merge(first))
        yield from self._merge(self._runs)

    def _collect(self) -> None:
        """Sort what is buffered into one piece; equal rows become one."""
        if self._pieces:
            words = np.concatenate([piece[0] for piece in self._pieces])
            values = np.concatenate([piece[1] for piece in self._pieces])
            self._pieces = [sum_equal(words, values)]
            self.rows += len(self._pieces[0][0]) - self._buffered
            self._buffered = len(self._pieces[0][0])

    def _spill(self) -> None:
        self._write(iter(self._pieces))
        self._pieces, self._buffered = [], 0
        self._spilled()

    def _write(self, blocks: Iterator[Block]) -> None:
        path = self._folder / f"{self._name}-{self._written}"
        self._written += 1
        with path.open("wb") as file:
            for words, values in blocks:
                records = np.empty(len(words), self._record)
                records["words"], records["value"] = words, values
                records.tofile(file)
        self._runs.append(path)

    def _merge(self, runs: list[Path]) -> Iterator[Block]:
        """All rows up to the smallest last row of the blocks at hand, sorted, again and again."""
        size = max(_BLOCK_MIN, self._rows_max // len(runs))
        readers = [read_blocks(run, self._record, size) for run in runs]
        heads = [(reader, block) for reader in readers if (block := next(reader, None)) is not None]
        while heads:
            bound = min(tuple(words[-1].tolist()) for _, (words, _) in heads)
            taken: list[Block] = []
            left: list[tuple[Iterator[Block], Block]] = []
            for reader, (words, values) in heads:
                cut = bisect.bisect_right(range(len(words)), bound, key=lambda i, words=words: tuple(words[i].tolist()))  # type: ignore[misc]
                taken.append((words[:cut], values[:cut]))
                block = (words[cut:], values[cut:]) if cut < len(words) else next(reader, None)
                if block is not None:
                    left.append((reader, block))
            heads = left
            yield sum_equal(np.concatenate([w for w, _ in taken]), np.concatenate([v for _, v in taken]))
        for run in runs:
            run.unlink()


def read_blocks(path: Path, record: np.dtype[np.void], size: int) -> Iterator[Block]:
    """The records of a file, ``size`` at a time."""
    with path.open("rb") as file:
        while len(records := np.fromfile(file, record, size)):
            yield np.ascontiguousarray(records["words"]), np.ascontiguousarray(records["value"])


def sum_equal(words: Rows, values: Values) -> Block:
    """Sort rows; of equal ones keep one, with the sum of their numbers."""
    if not len(words):
        return words, values
    keys = _packed(words)
    order = np.argsort(keys[0]) if len(keys) == 1 else np.lexsort(keys[::-1])
    keys = [key[order] for key in keys]
    differs = np.zeros(len(order), bool)
    differs[0] = True
    for key in keys:
        differs[1:] |= key[1:] != key[:-1]
    firsts = np.flatnonzero(differs)
    return words[order[firsts]], np.add.reduceat(values[order], firsts)


def _packed(words: Rows) -> list[NDArray[np.uint64]]:
    """As few numbers a row as hold its columns, in the columns' order of weight."""
    bits = max(1, int(words.max()).bit_length())
    at_once = 64 // bits
    keys: list[NDArray[np.uint64]] = []
    for first in range(0, words.shape[1], at_once):
        key = words[:, first].astype(np.uint64)
        for column in words.T[first + 1 : first + at_once]:
            key = (key << np.uint64(bits)) | column.astype(np.uint64)
        keys.append(key)
    return keys


def whole_groups(blocks: Iterator[Block], columns: int) -> Iterator[Block]:
    """The same rows in blocks that never part rows whose first ``columns`` columns are equal."""
    held: list[Block] = []
    for words, values in blocks:
        if not len(words):
            continue
        last = words[-1, :columns]
        same = np.all(words[:, :columns] == last, axis=1)
        cut = len(words) - int(np.argmin(same[::-1])) if not same.all() else 0
        if cut == 0 and held and np.array_equal(held[-1][0][-1, :columns], last):
            held.append((words, values))
            continue
        whole = [*held, (words[:cut], values[:cut])]
        if sum(len(rows) for rows, _ in whole):
            yield np.concatenate([rows for rows, _ in whole]), np.concatenate([numbers for _, numbers in whole])
        held = [(words[cut:], values[cut:])]
    if held:
        yield np.concatenate([rows for rows, _ in held]), np.concatenate([numbers for _, numbers in held])
