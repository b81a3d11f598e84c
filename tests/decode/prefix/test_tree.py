import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.decode.prefix.tree import (
    FIRST,
    LAST,
    SLOT,
    SYMBOL,
    add_child,
    best_frames,
    drop_dead_branches,
    find_child,
    new_tree,
    spell,
)

Prefix = tuple[int, ...]


def rows_of(tree: np.ndarray, count: int) -> dict[Prefix, int]:
    return {tuple(tree[spell(tree, row), SYMBOL].tolist()): row for row in range(count)}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), max_size=5).map(tuple), max_size=12), st.data())
def test_only_what_held_prefixes_begin_with_is_kept(prefixes: list[Prefix], data: st.DataObject) -> None:
    tree, rows = new_tree(80), {(): 0}
    for prefix in prefixes:
        for length in range(1, len(prefix) + 1):
            part = prefix[:length]
            if part not in rows:
                rows[part] = len(rows)
                add_child(tree, rows[part], rows[part[:-1]], part[-1], 10 * length)
                tree[rows[part], LAST] = 10 * length + rows[part]
    frames = {prefix: (int(tree[row, FIRST]), int(tree[row, LAST])) for prefix, row in rows.items() if prefix}
    held = data.draw(st.lists(st.sampled_from(sorted(rows)), unique=True))
    slots = np.zeros((len(held), 6), np.int32)
    tree[0, SLOT] = -1
    for slot, prefix in enumerate(held):
        tree[rows[prefix], SLOT] = slot
        slots[slot, 0] = rows[prefix]

    count = drop_dead_branches(tree, len(rows), slots)

    kept = rows_of(tree, count)
    assert set(kept) == {(), *(prefix[:length] for prefix in held for length in range(len(prefix) + 1))}
    assert count == len(kept)
    assert [kept[prefix] for prefix in held] == slots[:, 0].tolist()
    for prefix, row in kept.items():
        assert tree[row, SLOT] == (held.index(prefix) if prefix in held else -1)
        assert {symbol for symbol in range(4) if find_child(tree, row, symbol) >= 0} == {
            longer[-1] for longer in kept if longer[:-1] == prefix and longer
        }
        if prefix:
            assert row > kept[prefix[:-1]] >= 0
            assert find_child(tree, kept[prefix[:-1]], prefix[-1]) == row
            assert (tree[row, FIRST], tree[row, LAST]) == frames[prefix]


def frames_of_two_symbols(emission: list[list[float]]) -> tuple[list[int], list[int]]:
    """First and last frames of symbol 1, then symbol 2; columns: blank, 1, 2."""
    tree = new_tree(4)
    add_child(tree, 1, 0, 1, 0)
    add_child(tree, 2, 1, 2, 1)
    tree[2, SLOT] = 0
    tree[:2, LAST] = len(emission) - 1
    first, last = best_frames(tree, spell(tree, 2), np.array(emission, np.float32), 0)
    return first.tolist(), last.tolist()


def test_of_equally_probable_paths_the_one_that_changes_symbol_earliest_is_returned() -> None:
    one, two, blank = [-9.0, 0.0, -9.0], [-9.0, -9.0, 0.0], [0.0, -9.0, -9.0]
    one_or_two, one_or_blank, two_or_blank = [-9.0, 0.0, 0.0], [0.0, 0.0, -9.0], [0.0, -9.0, 0.0]
    assert frames_of_two_symbols([one, one, blank, two, blank]) == ([0, 3], [1, 3])
    assert frames_of_two_symbols([one, one_or_two, two]) == ([0, 1], [0, 2])
    assert frames_of_two_symbols([one, one_or_blank, two]) == ([0, 2], [0, 2])
    assert frames_of_two_symbols([one, two_or_blank, two]) == ([0, 1], [0, 2])
    assert frames_of_two_symbols([one, two, two_or_blank, blank]) == ([0, 1], [0, 1])
    assert frames_of_two_symbols([[-1.0, -1.0, -1.0]] * 5) == ([0, 1], [0, 4])
