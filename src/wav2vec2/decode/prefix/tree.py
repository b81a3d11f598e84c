"""The tree of the symbol sequences that a prefix search has kept: equal sequences are one node, so they always merge.

It is one int32 table, a row a node: row 0 is the empty sequence and a parent always stands above its children.
"""

# mypy: disable-error-code="no-any-return"
# (an element of an array is Any)

import numpy as np
from numpy.typing import NDArray

from wav2vec2.lm.compiled import compiled

# The columns. SLOT: where the search holds the sequence, -1 while it does not. FIRST, LAST: the frames after which it
# was held for the first and for the last time, between which its best path ends.
PARENT, SYMBOL, CHILD, SIBLING, SLOT, FIRST, LAST = range(7)

Tree = NDArray[np.int32]
"""(rows, 7), the columns above."""


def new_tree(rows: int) -> Tree:
    """Make a table with room for `rows` nodes that holds the empty sequence, in slot 0."""
    tree = np.full((rows, 7), -1, dtype=np.int32)
    tree[0, SLOT] = 0
    return tree


@compiled
def find_child(tree: Tree, node: int, symbol: int) -> int:
    """Row of the sequence `node` + `symbol`, -1 if there is none."""
    child = tree[node, CHILD]
    while child >= 0 and tree[child, SYMBOL] != symbol:
        child = tree[child, SIBLING]
    return child


@compiled
def add_child(tree: Tree, row: int, node: int, symbol: int, frame: int) -> None:
    """Fill the free `row` with the sequence `node` + `symbol`, held since `frame`."""
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
    """Remove every sequence that no held one begins with; return how many rows are left.

    slots: (S, columns), the first one the row of the sequence in each slot, rewritten because rows move up.
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
