import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.lm.transformer.history_tree import START, HistoryTree


def spelled(tree: HistoryTree, node: int) -> tuple[int, ...]:
    """The tokens from the start to a node."""
    tokens: list[int] = []
    while node != START:
        tokens.append(int(tree.token[node]))
        node = int(tree.parent[node])
    return tuple(tokens[::-1])


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_the_tree_holds_what_a_dictionary_of_histories_would(seed: int) -> None:
    random = np.random.default_rng(seed)
    tree = HistoryTree(mark=0)
    beam: list[int] = [START]
    told = {START: ()}
    rows: dict[int, int] = {}
    for turn in range(25):
        scored = np.unique(beam)
        new = scored[tree.row[scored] < 0]
        rows = {node: row for node, row in rows.items() if tree.row[node] == row}
        for node, row in zip(new.tolist(), tree.take_rows(new).tolist(), strict=True):
            assert row not in rows.values()
            assert 0 <= row < tree.rows
            rows[node] = row
        histories = random.choice(beam, 90)
        tokens = random.integers(1, 30, 90)
        nodes = tree.follow(histories, tokens)
        for history, token, node in zip(histories.tolist(), tokens.tolist(), nodes.tolist(), strict=True):
            told[node] = (*told[history], token)
            assert spelled(tree, node) == told[node]
            assert tree.depth[node] == len(told[node])
        assert len({told[node] for node in nodes.tolist()}) == len(set(nodes.tolist()))
        assert tree.follow(histories, tokens).tolist() == nodes.tolist()
        beam = random.choice(nodes, 6).tolist()
        if turn % 4 == 3:
            before = {node: spelled(tree, node) for node in beam}
            tree.retain(np.array(beam))
            kept = {START}
            for node in beam:
                assert spelled(tree, node) == before[node]
                while node != START:
                    kept.add(node)
                    node = int(tree.parent[node])
            assert len(tree) == len(kept)
            told = {node: spelled(tree, node) for node in kept}


def test_rows_are_used_again_and_counted_at_their_most() -> None:
    tree = HistoryTree(mark=0)
    first = tree.follow(np.zeros(3, np.int64), np.array([5, 6, 7]))
    assert sorted(tree.take_rows(first).tolist()) == [0, 1, 2]
    assert tree.rows == 3
    tree.retain(first[:1])
    second = tree.follow(np.zeros(3, np.int64), np.array([8, 9, 10]))
    assert (tree.row[second] == -1).all()
    assert sorted(tree.take_rows(second).tolist()) == [1, 2, 3]
    assert tree.rows == 4
    assert tree.row[first[0]] not in tree.row[second]


def test_ancestors_come_nearest_first() -> None:
    tree = HistoryTree(mark=0)
    path = [START]
    for token in (4, 5, 6):
        path.append(int(tree.follow(np.array(path[-1:]), np.array([token]))[0]))
    tree.take_rows(np.array(path))
    rows, visible = tree.ancestor_rows(np.array([path[3], path[1], START]))
    assert visible.tolist() == [[True, True, True], [True, False, False], [False] * 3]
    assert rows[0].tolist() == [tree.row[path[2]], tree.row[path[1]], tree.row[START]]
    assert rows[1, 0] == tree.row[START]
    assert tree.ancestor_rows(np.zeros(0, np.int64))[0].shape == (0, 0)


def test_more_nodes_than_room_at_first() -> None:
    tree = HistoryTree(mark=7)
    nodes = tree.follow(np.zeros(3_000, np.int64), np.arange(3_000))
    assert len(set(nodes.tolist())) == 3_000
    assert START not in nodes
    assert tree.token[nodes].tolist() == list(range(3_000))
    assert (tree.depth[nodes] == 1).all()
    assert (tree.row[nodes] == -1).all()
    assert (int(tree.token[START]), int(tree.depth[START]), len(tree)) == (7, 0, 3_001)
