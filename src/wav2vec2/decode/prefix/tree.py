"""The tree of the prefixes that a search has held, and the best path through the frames for one of them.

The tree is one int32 table with a row for each node. Equal prefixes are one node, so they always merge. Row 0 is the
empty prefix; a parent has a lower row than its children.
"""

# mypy: disable-error-code="no-any-return"
# (an element of an array is Any)

import numpy as np
from numpy.typing import NDArray

from wav2vec2.lm.compiled import compiled

# The columns. SLOT: where the beam holds the prefix, -1 while it does not. FIRST, LAST: the frames after which it was
# held for the first and for the last time; its best path ends between them.
PARENT, SYMBOL, CHILD, SIBLING, SLOT, FIRST, LAST = range(7)

Tree = NDArray[np.int32]
"""(rows, 7), the columns above."""

_WAITS, _FOLLOWS_BLANK, _FOLLOWS_SYMBOL = range(3)


def new_tree(rows: int) -> Tree:
    """Make a table with room for `rows` nodes that has only the empty prefix, in slot 0."""
    tree = np.full((rows, 7), -1, dtype=np.int32)
    tree[0, SLOT] = 0
    return tree


@compiled
def find_child(tree: Tree, node: int, symbol: int) -> int:
    """Return the row of the prefix `node` + `symbol`, or -1 if there is none."""
    child = tree[node, CHILD]
    while child >= 0 and tree[child, SYMBOL] != symbol:
        child = tree[child, SIBLING]
    return child


@compiled
def add_child(tree: Tree, row: int, node: int, symbol: int, frame: int) -> None:
    """Fill the free `row` with the prefix `node` + `symbol`, held since `frame`."""
    tree[row, PARENT] = node
    tree[row, SYMBOL] = symbol
    tree[row, CHILD] = -1
    tree[row, SIBLING] = tree[node, CHILD]
    tree[row, SLOT] = -1
    tree[row, FIRST] = frame
    tree[row, LAST] = frame
    tree[node, CHILD] = row


@compiled
def drop_dead_branches(tree: Tree, rows: int, slots: NDArray[np.int32]) -> int:
    """Remove every prefix with which no held prefix begins; return how many rows are left.

    slots: (S, columns). The first column has the row of the prefix in each slot, which changes as rows move up.
    """
    alive = np.zeros(rows, np.bool_)
    alive[0] = True
    for row in range(rows - 1, 0, -1):
        if tree[row, SLOT] >= 0:
            alive[row] = True
        if alive[row]:
            alive[tree[row, PARENT]] = True
    moved = np.full(rows, -1, np.int32)
    kept = 0
    for row in range(rows):
        if not alive[row]:
            continue
        moved[row] = kept
        symbol, slot, first, last = tree[row, SYMBOL], tree[row, SLOT], tree[row, FIRST], tree[row, LAST]
        if row == 0:
            tree[0, CHILD] = -1
        else:
            add_child(tree, kept, moved[tree[row, PARENT]], symbol, first)
            tree[kept, SLOT], tree[kept, LAST] = slot, last
        if slot >= 0:
            slots[slot, 0] = kept
        kept += 1
    return kept


@compiled
def spell(tree: Tree, row: int) -> NDArray[np.int32]:
    """Return the rows of all prefixes of a prefix, from its first symbol to the whole."""
    length = 0
    node = row
    while node > 0:
        length += 1
        node = tree[node, PARENT]
    rows = np.empty(length, np.int32)
    node = row
    for i in range(length - 1, -1, -1):
        rows[i] = node
        node = tree[node, PARENT]
    return rows


@compiled
def best_frames(
    tree: Tree, rows: NDArray[np.int32], emission: NDArray[np.float32], blank: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last frame of each symbol on the most probable path that spells the prefix.

    rows: as returned by `spell`. Each row is considered only at the frames at which the search held it, so the cost
    grows with the frames, not with frames times symbols. Of equally probable paths, the one that changes symbol
    earliest is returned.
    """
    frames, length = len(emission), len(rows)
    start = np.zeros(length + 1, np.int64)
    offset = np.zeros(length + 2, np.int64)
    for i in range(length + 1):
        row = rows[i - 1] if i > 0 else 0
        start[i] = tree[row, FIRST] if i > 0 else -1
        last = frames - 1 if i == length else tree[row, LAST] if tree[row, SLOT] < 0 else frames - 1
        offset[i + 1] = offset[i] + last - start[i] + 1
    ends_blank, ends_symbol = np.full(offset[-1], -np.inf), np.full(offset[-1], -np.inf)
    came = np.zeros(offset[-1], np.int8)  # the last step of the best path into the symbol's state
    ends_blank[0] = 0.0
    for i in range(length + 1):
        symbol = tree[rows[i - 1], SYMBOL] if i > 0 else -1
        repeats = i > 1 and tree[rows[i - 2], SYMBOL] == symbol
        for cell in range(offset[i] + (1 if i == 0 else 0), offset[i + 1]):
            frame = start[i] + cell - offset[i]
            here = cell > offset[i]
            if i > 0:
                before = offset[i - 1] + frame - 1 - start[i - 1]
                reached = before < offset[i] and before >= offset[i - 1]
                best, way = ends_symbol[cell - 1] if here else -np.inf, _WAITS
                if reached and ends_blank[before] > best:
                    best, way = ends_blank[before], _FOLLOWS_BLANK
                if reached and not repeats and i > 1 and ends_symbol[before] > best:
                    best, way = ends_symbol[before], _FOLLOWS_SYMBOL
                ends_symbol[cell] = best + emission[frame, symbol]
                came[cell] = way
            if here:
                ends_blank[cell] = max(ends_blank[cell - 1], ends_symbol[cell - 1]) + emission[frame, blank]
    return _trace_back(start, offset, ends_blank, ends_symbol, came, frames)


@compiled
def _trace_back(
    start: NDArray[np.int64],
    offset: NDArray[np.int64],
    ends_blank: NDArray[np.float64],
    ends_symbol: NDArray[np.float64],
    came: NDArray[np.int8],
    frames: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    length = len(start) - 1
    first, last = np.zeros(length, np.int64), np.zeros(length, np.int64)
    frame = frames - 1
    cell = offset[length] + frame - start[length]
    in_blank = length == 0 or ends_blank[cell] > ends_symbol[cell]
    for i in range(length, 0, -1):
        cell = offset[i] + frame - start[i]
        while in_blank:
            in_blank = ends_blank[cell - 1] >= ends_symbol[cell - 1]
            cell -= 1
            frame -= 1
        last[i - 1] = frame
        while came[cell] == _WAITS and cell > offset[i]:
            cell -= 1
            frame -= 1
        first[i - 1] = frame
        in_blank = came[cell] == _FOLLOWS_BLANK
        frame -= 1
    return first, last
