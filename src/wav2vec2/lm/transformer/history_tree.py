"""The histories of a search as a tree of tokens, so that histories with the same beginning share it.

A node is an integer handle for one token after its parent. A search makes a thousand nodes for each that it continues
from, so a node is only that at first; it gets a row of the caller's tensors when it is first scored from.
"""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

START = 0
_FIRST_CAPACITY = 1024


class HistoryTree:
    """Nodes with their parents, tokens, depths and rows; node 0, the sentence's beginning, is never forgotten."""

    def __init__(self, mark: int) -> None:
        self.parent = np.full(_FIRST_CAPACITY, -1, np.int64)
        self.token = np.full(_FIRST_CAPACITY, mark, np.int64)
        self.depth = np.zeros(_FIRST_CAPACITY, np.int64)
        self.row = np.full(_FIRST_CAPACITY, -1, np.int64)
        self._children: dict[tuple[int, int], int] = {}
        self._free = list(range(_FIRST_CAPACITY - 1, START, -1))
        self._free_rows: list[int] = []
        self.rows = 0
        """Largest number of rows in use at any time: how many the caller's tensors must have."""

    def __len__(self) -> int:
        return len(self.parent) - len(self._free)

    def follow(self, histories: Integers, tokens: Integers) -> Integers:
        """The node of each (history, token), which is made if it is new; (N,)."""
        out = np.empty(len(histories), np.int64)
        children, pairs = self._children, zip(histories.tolist(), tokens.tolist(), strict=True)
        for place, pair in enumerate(pairs):
            node = children.get(pair)
            out[place] = self._make(pair) if node is None else node
        return out

    def _make(self, pair: tuple[int, int]) -> int:
        if not self._free:
            self._grow()
        node = self._free.pop()
        self.parent[node], self.token[node] = pair
        self.depth[node] = self.depth[pair[0]] + 1
        self.row[node] = -1
        self._children[pair] = node
        return node

    def _grow(self) -> None:
        old = len(self.parent)
        for name in ("parent", "token", "depth", "row"):
            values = getattr(self, name)
            setattr(self, name, np.concatenate([values, np.full(old, -1, np.int64)]))
        self._free = list(range(2 * old - 1, old - 1, -1))

    def take_rows(self, nodes: Integers) -> Integers:
        """Give rows to nodes that have none; returns the rows (N,)."""
        reused = min(len(nodes), len(self._free_rows))
        rows = [self._free_rows.pop() for _ in range(reused)]
        rows.extend(range(self.rows, self.rows + len(nodes) - reused))
        self.rows += len(nodes) - reused
        self.row[nodes] = rows
        return self.row[nodes]

    def ancestor_rows(self, nodes: Integers) -> tuple[Integers, NDArray[np.bool_]]:
        """Rows of the tokens before each node, nearest first, and which of them exist: (N, T), T the largest depth."""
        depths = self.depth[nodes]
        longest = int(depths.max(initial=0))
        rows = np.zeros((len(nodes), longest), np.int64)
        above = nodes
        for step in range(longest):
            above = np.where(depths > step, self.parent[above], START)
            rows[:, step] = self.row[above]
        return rows, np.arange(longest) < depths[:, None]

    def retain(self, histories: Integers) -> None:
        """Forget all nodes but the start, these and their ancestors."""
        kept = np.zeros(len(self.parent), bool)
        kept[START] = True
        nodes = np.unique(histories)
        while len(nodes):
            kept[nodes] = True
            nodes = np.unique(self.parent[nodes])
            nodes = nodes[(nodes >= 0) & ~kept[nodes]]
        dropped = [(pair, node) for pair, node in self._children.items() if not kept[node]]
        for pair, node in dropped:
            del self._children[pair]
            self._free.append(node)
            if self.row[node] >= 0:
                self._free_rows.append(int(self.row[node]))
                self.row[node] = -1
