"""Sorting more rows than fit into memory: sorted runs on disk, merged block by block.

A row is a few small non-negative integers, compared column by column, and a value. Equal rows are merged into one, with
the sum of their values.
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
    """Takes rows in any order and returns them sorted, in blocks; what does not fit into memory goes to ``folder``.

    Args:
        columns: number of integers in a row.
        dtype: type of the values.
        folder: folder for the sorted runs.
        name: distinguishes the runs of several sorts in one folder.
        memory: bytes that sorting may use.
        spilled: called after each run that is written to disk.
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
        """Rows in the runs and the buffer; equal rows in different runs are counted separately."""

    def add(self, words: Rows, values: Values) -> None:
        """Add rows (n, columns) and their values (n,)."""
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
        """Yield all rows in order, each once, in blocks that fit into memory; no rows can be added after that."""
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
        """Sort the buffered rows into one piece and merge equal ones."""
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
        """Merge runs: yield all rows up to the smallest of the blocks' last rows, read more, and repeat."""
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
    """Yield the records of a file, ``size`` at a time."""
    with path.open("rb") as file:
        while len(records := np.fromfile(file, record, size)):
            yield np.ascontiguousarray(records["words"]), np.ascontiguousarray(records["value"])


def sum_equal(words: Rows, values: Values) -> Block:
    """Sort rows; of equal rows keep one, with the sum of their values."""
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
    """Pack the columns of each row into as few 64-bit keys as possible; the keys sort as the columns do."""
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
    """Yield the same rows in blocks that do not separate rows whose first ``columns`` columns are equal."""
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
