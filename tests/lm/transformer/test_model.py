import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.transformer.tiny_lm import WORDS, language_model, uncached

from wav2vec2.lm.transformer.model import START, HistoryTree

SENTENCES = st.lists(st.lists(st.integers(0, len(WORDS) + 1), max_size=9), min_size=1, max_size=8)


@given(sentences=SENTENCES, seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_cached_equals_uncached(sentences: list[list[int]], seed: int) -> None:
    """Sentences advance in random turns, so that batches mix depths; histories are forgotten on the way."""
    lm, random = language_model(), np.random.default_rng(seed)
    places, totals = [0] * len(sentences), np.zeros(len(sentences))
    histories = np.full(len(sentences), lm.start())
    while any(place < len(sentence) for place, sentence in zip(places, sentences, strict=True)):
        going = [i for i, s in enumerate(sentences) if places[i] < len(s) and random.random() < 0.6]
        scores, following = lm.score(histories[going], np.array([sentences[i][places[i]] for i in going], np.int64))
        totals[going] += scores
        histories[going] = following
        for i in going:
            places[i] += 1
        lm._collected = -4096  # collect at every call
        lm.retain(histories)
    totals += lm.finish(histories)
    expected = [uncached(lm, sentence) for sentence in sentences]
    assert totals == pytest.approx(expected, abs=1e-5 * max(1.0, *(abs(e) for e in expected)))


def test_probabilities_of_all_words_sum_to_one_after_any_history() -> None:
    lm = language_model()
    every = np.arange(len(lm.tokens))
    history = np.full(len(every), lm.start())
    for word in ("CAT", "nowhere", "SAT"):
        scores, following = lm.score(history, every)
        assert np.exp(scores.astype(float)).sum() == pytest.approx(1.0, abs=1e-5)
        history = np.full(len(every), following[lm.index(word)])
    assert lm.index("nowhere") == lm.unknown


def test_equal_histories_are_one_and_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = language_model()
    _, one = lm.score(np.array([0, 0, 0]), np.array([3, 4, 3]))
    assert one[0] == one[2] != one[1]
    sizes = []
    extend = lm.network.extend
    monkeypatch.setattr(lm.network, "extend", lambda *a: (sizes.append(len(a[0])), extend(*a))[1])
    lm.score(one[[0, 0, 0, 1]], np.array([2, 3, 4, 5]))
    lm.score(one[[0, 1]], np.array([6, 7]))
    assert sizes == [2]


def test_memory_stays_bounded_over_a_long_search() -> None:
    lm, random = language_model(), np.random.default_rng(0)
    beam = np.full(1, lm.start())
    computed = states = nodes = 0
    for frame in range(250):
        histories, tokens = np.repeat(beam, 30), random.integers(0, 10, 30 * len(beam))
        scores, following = lm.score(histories, tokens)
        beam = np.unique(following[np.argsort(-scores)[:120:10]])
        computed += len(beam)
        if frame % 10 == 9:
            beam = np.full(1, lm.start())  # the next utterance
        lm.retain(beam)
        states, nodes = max(states, lm.states), max(nodes, len(lm._tree))
    assert computed > 2000
    assert states <= 1024
    assert nodes < 5000
    lm.forget()
    assert lm.states == 0


def test_no_pairs_give_no_scores() -> None:
    lm = language_model()
    scores, following = lm.score(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert len(scores) == len(following) == len(lm.finish(np.zeros(0, np.int64))) == 0


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
