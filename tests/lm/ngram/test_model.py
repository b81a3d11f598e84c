import gzip
import math

import numpy as np
import pytest
from numba import njit

from wav2vec2.errors import UserError
from wav2vec2.lm.ngram import model as module
from wav2vec2.lm.ngram.model import NgramModel, advance

ARPA = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=1

\\1-grams:
-1\t<unk>\t0
0\t<s>\t-0.5
-0.9\t</s>
-0.7\ta\t-0.3
-0.6\tb\t-0.2

\\2-grams:
-0.4\t<s> a\t-0.1
-0.3\ta b\t-0.25
-0.35\tb </s>
-0.8\tb a

\\3-grams:
-0.15\t<s> a b

\\end\\
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "small.arpa"
    path.write_text(ARPA)
    return path


def log10_of(model, sentence):
    """log10 probabilities of the words and the sentence's end."""
    history, scores = np.array([model.start()]), []
    for word in sentence.split():
        score, history = model.score(history, np.array([model.index(word)]))
        scores.append(score[0])
    scores.append(model.finish(history)[0])
    return np.array(scores) / math.log(10)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("", [-0.5 - 0.9]),
        ("a b", [-0.4, -0.15, -0.25 - 0.35]),
        ("b a b", [-0.5 - 0.6, -0.8, -0.3, -0.25 - 0.35]),
        # after "a b": back off from "a b a" to "b a", whose weight is 0
        ("a b a", [-0.4, -0.15, -0.25 - 0.8, -0.3 - 0.9]),
        ("a zebra", [-0.4, -0.1 - 0.3 - 1.0, -0.9]),
        ("zebra b", [-0.5 - 1.0, -0.6, -0.35]),
    ],
)
def test_scores_back_off_exactly(path, sentence, expected):
    np.testing.assert_allclose(log10_of(NgramModel.load(path), sentence), expected, atol=1e-6)


def test_a_batch_scores_as_its_members(path):
    model = NgramModel.load(path)
    histories = np.arange(len(model.arrays.word))
    for word in range(len(model.tokens)):
        scores, following = model.score(histories, np.full(len(histories), word))
        for history in histories:
            score, after = model.score(histories[history : history + 1], np.array([word]))
            assert (score[0], after[0]) == (scores[history], following[history])


def test_states_that_score_alike_are_one(path):
    model = NgramModel.load(path)
    after_b = model.score(np.array([0]), np.array([model.index("b")]))[1]
    ends = model.score(np.array([model.start()]), np.array([model.index("zebra")]))[1]
    assert ends == [0]
    assert model.score(ends, np.array([model.index("b")]))[1] == after_b


def test_advance_runs_inside_compiled_code(path):
    model = NgramModel.load(path)

    @njit
    def total(arrays, history, words):
        score = np.float32(0)
        for word in words:
            more, history = advance(arrays, history, word)
            score += more
        return score

    words = np.array([model.index(word) for word in ["a", "b", "a"]])
    expected = log10_of(model, "a b a")[:-1].sum() * math.log(10)
    assert total(model.arrays, model.start(), words) == pytest.approx(expected, abs=1e-5)


def test_gzip_and_crlf_read_alike(path, tmp_path):
    packed = tmp_path / "small.arpa.gz"
    packed.write_bytes(gzip.compress(ARPA.replace("\n", "\r\n").encode()))
    for ours, theirs in zip(NgramModel.load(path).arrays, NgramModel.load(packed).arrays, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_missing_unknown_word_scores_as_kenlm_has_it(tmp_path):
    path = tmp_path / "closed.arpa"
    path.write_text(ARPA.replace("ngram 1=5", "ngram 1=4").replace("-1\t<unk>\t0\n", ""))
    model = NgramModel.load(path)
    assert model.tokens[model.unknown] == "<unk>"
    assert log10_of(model, "zebra")[0] == pytest.approx(-100.5, abs=1e-4)


def test_strange_handles_are_refused(path):
    model = NgramModel.load(path)
    with pytest.raises(ValueError, match="not of this model"):
        model.score(np.array([10_000]), np.array([0]))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda text: "", "is empty"),
        (lambda text: "hello\n", "no \\data\\ line"),
        (lambda text: text[: text.index("\\end")], "cut short before \\end"),
        (lambda text: text[: text.index("-0.35")], "cut short at 2-gram 3 of 4"),
        (lambda text: text[: text.index("\\3-grams")], "cut short before \\3-grams"),
        (lambda text: text.replace("-0.35\tb </s>\n", ""), "small.arpa:17: '', 2-gram 4 of 4"),
        (lambda text: text.replace("-0.35\tb", "-0.x\tb"), "has a malformed number"),
        (lambda text: text.replace("-0.35\tb", "-0.35\tc"), "not among the 1-grams"),
        (lambda text: text.replace("a b\t-0.25", "a\t-0.25"), "not among the 1-grams"),
        (lambda text: text.replace("-0.35\tb", "0.35\tb"), "above 1"),
        (lambda text: text.replace("<s> a b", "b b a"), "3-gram without the 2-gram that begins it"),
        (lambda text: text.replace("ngram 2=4", "ngram 3=4"), "instead of 'ngram 2=number'"),
        (lambda text: text.replace("ngram 2=4", "ngram 2=400000000"), "cut short"),
        (lambda text: text.replace("-0.8\tb a", "-0.8\tb </s>"), "has a 2-gram twice"),
        (lambda text: text.replace("-0.6\tb", "-0.6\ta"), "has the word 'a' twice"),
        (lambda text: text.replace("</s>", "</S>"), "has no </s> among its words"),
    ],
)
def test_a_bad_file_is_one_line(path, change, part):
    path.write_text(change(ARPA))
    with pytest.raises(UserError) as raised:
        NgramModel.load(path)
    assert part in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_as_many_ngrams_as_numbers_of_nodes_allow(path, monkeypatch):
    nodes = 1 + 5 + 4 + 1  # with the empty history
    monkeypatch.setattr(module, "_NODES_MAX", nodes)
    assert len(NgramModel.load(path).arrays.word) == nodes
    monkeypatch.setattr(module, "_NODES_MAX", nodes - 1)
    with pytest.raises(UserError, match=r"small\.arpa: has 11 n-grams, more than 10"):
        NgramModel.load(path)


def test_a_missing_file_and_a_cut_gzip_are_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        NgramModel.load(tmp_path / "none.arpa")
    cut = tmp_path / "cut.arpa.gz"
    cut.write_bytes(gzip.compress(ARPA.encode())[:-20])
    with pytest.raises(UserError, match="cut short"):
        NgramModel.load(cut)
