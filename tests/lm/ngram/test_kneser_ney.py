import math
from collections import Counter, defaultdict
from itertools import islice, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2 import cli
from wav2vec2.errors import UserError
from wav2vec2.lm.ngram import passes
from wav2vec2.lm.ngram.arpa import read_arpa
from wav2vec2.lm.ngram.kneser_ney import FALLBACK_DISCOUNTS, KneserNey, discounts_of, thresholds_of
from wav2vec2.lm.ngram.model import NgramModel

WORDS = ("a", "b", "c", "d")
corpora = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), min_size=1, max_size=12)
prunings = st.lists(st.integers(0, 2), max_size=3).map(sorted)


def estimate(tmp_path, sentences, order, **options):
    """The estimated model, its ARPA file and what was found out on the way."""
    path, folder = tmp_path / "model.arpa", tmp_path / "runs"
    folder.mkdir(exist_ok=True)
    found = KneserNey(order, folder, **options).estimate(sentences, lambda counts: path.open("wb"))
    return path, found


def entries(path):
    """{n-gram: (log10 probability, log10 backoff)}."""
    words, orders = read_arpa(path)
    return {
        tuple(words[i] for i in ngram): (p, b)
        for order in orders
        for ngram, p, b in zip(order.words, order.log10_probability, order.log10_backoff, strict=True)
    }


def kneser_ney_by_definition(sentences, order, thresholds):
    """Modified Kneser-Ney straight from its formulas, with dictionaries: {n-gram: (probability, backoff weight)}."""
    occurs = [Counter() for _ in range(order + 1)]
    for words in sentences:
        marked = ["<s>", *words, "</s>"]
        for k in range(1, order + 1):
            occurs[k].update(tuple(marked[i : i + k]) for i in range(len(marked) - k + 1))
    before = [Counter(ngram[1:] for ngram in occurs[k + 1]) for k in range(order)] if order > 1 else []
    counts = [Counter()]
    for k in range(1, order + 1):
        true = {ngram: n for ngram, n in occurs[k].items() if ngram != ("<s>",)}
        counts.append({g: n if k == order or g[0] == "<s>" else before[k][g] for g, n in true.items()})
    marks = {("</s>",)}
    kept = [
        {g for g in counts[k] if (k == 1 and g in marks) or occurs[k][g] > thresholds[k - 1]} if k else set()
        for k in range(order + 1)
    ]
    discounts = [()]
    for k in range(1, order + 1):
        n = Counter(counts[k].values())
        discounts.append((0.0, *discounts_of(np.array([0, n[1], n[2], n[3], n[4]]))[0]))

    def share(k, context):
        """Total of the context's counts, and the weight of the lower order."""
        following = [g for g in counts[k] if g[:-1] == context]
        total = sum(counts[k][g] for g in following)
        left = sum(discounts[k][min(3, counts[k][g])] if g in kept[k] else counts[k][g] for g in following)
        return total, left / total if total else 1.0

    model = {("<unk>",): None, ("<s>",): None, **{g: None for k in range(1, order + 1) for g in kept[k]}}
    uniform = 1 / (1 + len(kept[1]))

    def probability(g):
        k = len(g)
        if k == 0:
            return uniform
        total, weight = share(k, g[:-1])
        own = (counts[k][g] - discounts[k][min(3, counts[k][g])]) / total if g in kept[k] else 0.0
        return own + weight * probability(g[1:])

    for g in model:
        backoff = share(len(g) + 1, g)[1] if len(g) < order else 1.0
        model[g] = (1.0 if g == ("<s>",) else probability(g), backoff)
    return model


def test_equals_the_reference_entry_by_entry(reference_root, tmp_path, capsys):
    reference = reference_root
    out = tmp_path / "o3.arpa"
    assert cli.main(["lm", "ngram", str(reference / "ngram.txt"), "--order", "3", "--out", str(out)]) == 0
    assert "5420 of order 1, 22860 of order 2, 31257 of order 3" in capsys.readouterr().out
    ours, theirs = entries(out), entries(reference / "ngram.o3.arpa")
    assert ours.keys() == theirs.keys()
    difference = np.abs(np.array([ours[g] for g in theirs]) - np.array(list(theirs.values())))
    assert difference.max() < 1e-5


@settings(max_examples=30, deadline=None)
@given(corpora, st.integers(1, 4), prunings)
def test_equals_the_definition(tmp_path_factory, sentences, order, prune):
    thresholds = thresholds_of(prune[:order], order)
    path, _ = estimate(tmp_path_factory.mktemp("kn"), sentences, order, prune=prune[:order])
    expected = kneser_ney_by_definition(sentences, order, thresholds)
    ours = entries(path)
    assert ours.keys() == expected.keys()
    for ngram, (p, backoff) in expected.items():
        assert ours[ngram][0] == pytest.approx(math.log10(p), abs=1e-5)
        if len(ngram) < order:
            assert ours[ngram][1] == pytest.approx(math.log10(backoff) if backoff else -9999, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(corpora, st.integers(1, 5), prunings, st.none() | st.lists(st.sampled_from("abxy"), min_size=1, unique=True))
def test_probabilities_sum_to_one_after_every_history(tmp_path_factory, sentences, order, prune, vocabulary):
    folder = tmp_path_factory.mktemp("kn")
    path, _ = estimate(folder, sentences, order, prune=prune[:order], vocabulary=vocabulary)
    model = NgramModel.load(path)
    words = np.array([i for i, token in enumerate(model.tokens) if token != "<s>"])
    for history in islice(product(range(len(model.tokens)), repeat=min(order, 3)), 150):  # seen and unseen ones
        node = np.array([model.start() if history[0] % 2 else 0])
        for word in history:
            _, node = model.score(node, np.array([word]))
        scores, _ = model.score(np.repeat(node, len(words)), words)
        assert np.exp(scores.astype(np.float64)).sum() == pytest.approx(1, abs=2e-4)


def test_a_tiny_memory_gives_the_same_file(reference_root, tmp_path):
    lines = (reference_root / "ngram.txt").read_text().splitlines()
    sentences = [line.split() for line in lines]
    whole, found = estimate(tmp_path, sentences, 4, prune=(0, 0, 1))
    assert found.spilled == 0
    expected = whole.read_bytes()
    spilled, found = estimate(tmp_path, sentences, 4, prune=(0, 0, 1), memory=1 << 20)
    assert found.spilled > 20
    assert spilled.read_bytes() == expected
    assert not list((tmp_path / "runs").glob("contexts-*"))


def test_words_outside_a_vocabulary_are_unknown(tmp_path):
    path, found = estimate(tmp_path, [["a", "b", "zebra"], ["a", "lion"]] * 3, 2, vocabulary=["a", "b", "never"])
    assert found.unknown == 9 - 3
    model = entries(path)
    assert {g for (g,) in (g for g in model if len(g) == 1)} == {"<unk>", "<s>", "</s>", "a", "b", "never"}
    assert ("a", "<unk>") in model
    assert model["<unk>",][0] > model["never",][0]


def test_discounts_fall_back_where_text_is_too_small():
    assert discounts_of(np.array([0, 5, 0, 1, 1])) == (FALLBACK_DISCOUNTS, False)
    found, estimated = discounts_of(np.array([0, 400, 100, 50, 30]))
    y = 400 / 600
    assert estimated
    assert found == pytest.approx((1 - 2 * y / 4, 2 - 3 * y / 2, 3 - 4 * y * 0.6))


@pytest.mark.parametrize(("prune", "order"), [((0, 2, 1), 3), ((0, 0, 0), 2), ((-1,), 2)])
def test_impossible_thresholds_are_refused(prune, order):
    with pytest.raises(UserError, match="--prune"):
        thresholds_of(prune, order)


def test_the_last_threshold_holds_for_all_further_orders():
    assert thresholds_of((0, 1), 4) == (0, 1, 1, 1)
    assert thresholds_of((), 2) == (0, 0)


def test_a_unigram_pruned_away_leaves_no_ngram_behind(tmp_path):
    sentences = [["a", "b"]] * 4 + [["a", "once"]]
    path, found = estimate(tmp_path, sentences, 3, prune=(1,))
    used = defaultdict(set)
    for ngram in entries(path):
        used[len(ngram)].update(ngram)
    assert "once" not in used[1] | used[2] | used[3]
    assert "once" not in found.words


def test_limits_of_order_and_memory(tmp_path):
    assert thresholds_of((), 1) == (0,)
    assert len(thresholds_of((1,), 32)) == 32
    assert thresholds_of((2, 2), 2) == (2, 2)
    for order in (0, 33):
        with pytest.raises(UserError, match=f"--order {order}: must be 1 to 32"):
            thresholds_of((), order)
    with pytest.raises(UserError, match=r"--prune: 3 thresholds .* order 2"):
        thresholds_of((0, 0, 0), 2)
    with pytest.raises(UserError, match="--memory: must be at least 1 MiB"):
        KneserNey(2, tmp_path, memory=(1 << 20) - 1)
    KneserNey(2, tmp_path, memory=1 << 20)


@pytest.mark.parametrize("lacking", [1, 2, 3])
def test_discounts_need_ngrams_of_every_count_but_the_highest(lacking):
    counts = np.array([0, 50, 20, 10, 6])
    counts[lacking] = 0
    assert discounts_of(counts) == (FALLBACK_DISCOUNTS, False)
    assert FALLBACK_DISCOUNTS == (0.5, 1.0, 1.5)
    y = 50 / 90
    expected = (1 - 2 * y * 20 / 50, 2 - 3 * y * 10 / 20, 3.0)
    assert discounts_of(np.array([0, 50, 20, 10, 0])) == (pytest.approx(expected), True)


def test_a_discount_may_be_zero_but_not_less():
    assert discounts_of(np.array([0, 10, 10, 20, 5])) == (
        pytest.approx((1 / 3, 0.0, 3 - 4 / 3 / 4), abs=1e-12),
        True,
    )
    assert discounts_of(np.array([0, 10, 10, 21, 5])) == (FALLBACK_DISCOUNTS, False)


def test_what_an_estimation_reports(tmp_path):
    told = []
    sentences = [["a", "b"]] * 3 + [["b"]]
    path, found = estimate(tmp_path, sentences, 3, progress=lambda name, part: told.append((name, part)))
    words, orders = read_arpa(path)
    assert found.words == tuple(words) == ("<unk>", "<s>", "</s>", "a", "b")
    assert found.counts == tuple(len(order.words) for order in orders) == (5, 4, 3)
    assert found.fallbacks == (1, 3)
    assert [each == FALLBACK_DISCOUNTS for each in found.discounts] == [True, False, True]
    assert (found.unknown, found.spilled) == (0, 0)
    passes = dict(told)
    assert set(passes) == {"adjusting counts", *(f"probabilities of {k}-grams" for k in (2, 3)),
                           *(f"writing {k}-grams" for k in (2, 3))}  # fmt: skip
    assert all(0 <= part <= 1 for _, part in told)
    assert passes.pop("adjusting counts") > 0
    assert all(part == 1 for part in passes.values())


def test_many_chunks_of_text_and_small_blocks_give_the_same_model(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    sentences = [random.choice(list("abcdefg"), random.integers(1, 12)).tolist() for _ in range(300)]
    expected = entries(estimate(tmp_path, sentences, 4, prune=(0, 0, 1))[0])
    monkeypatch.setattr(passes, "_CHUNK", 5)
    model = KneserNey(4, tmp_path / "runs", prune=(0, 0, 1))
    model._block_rows = 3
    path = tmp_path / "small.arpa"
    model.estimate(sentences, lambda counts: path.open("wb"))
    assert entries(path) == expected


def test_ngrams_stop_at_the_beginning_of_a_sentence():
    numbers = passes.WordNumbers()
    rows = np.concatenate(list(passes.ngrams([["a", "b"], [], ["b"]], 3, numbers)))
    a, b, begin, end = 4, 5, passes.BEGIN, passes.END
    assert numbers.words == ["<unk>", "<s>", "</s>", "a", "b"]
    assert len(numbers) == 5
    assert rows.tolist() == [
        [a, begin, 0], [b, a, begin], [end, b, a], [end, begin, 0], [b, begin, 0], [end, b, begin],
    ]  # fmt: skip
    closed = passes.WordNumbers(["b", "x"])
    assert closed.of(["a", "b", "c", "x"]) == [passes.UNKNOWN, 4, passes.UNKNOWN, 5]
    assert closed.unknown == 2
