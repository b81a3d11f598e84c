from itertools import groupby

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.decode.greedy import best_path, confident_words, greedy_decode
from wav2vec2.decode.hypothesis import collapse, word_frames
from wav2vec2.text.vocabulary import Vocabulary


def logits_of(paths: list[list[int]], symbols: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    frames = max(map(len, paths))
    logits = torch.full((len(paths), frames, symbols), -2.0)
    logits[:, :, 1] = 5.0  # what lies beyond an utterance's end would be read as symbol 1
    for row, path in enumerate(paths):
        logits[row, : len(path)] = -2.0
        logits[row, torch.arange(len(path)), torch.tensor(path, dtype=torch.long)] = 3.0
    return logits, torch.tensor([len(path) for path in paths])


def test_runs_merge_and_blanks_separate() -> None:
    logits, lengths = logits_of([[0, 1, 1, 0, 1, 2, 2, 0], [3, 3], []])
    first, second, third = greedy_decode(logits, lengths, blank=0)
    assert (first.ids, first.frames, first.last_frames) == ([1, 1, 2], [1, 4, 5], [2, 4, 6])
    assert (second.ids, second.frames, second.last_frames) == ([3], [0], [1])
    assert (third.ids, third.frames, third.score) == ([], [], 0.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 3))
def test_equals_the_definition_for_any_blank(path: list[int], blank: int) -> None:
    assert collapse(path, blank).ids == [symbol for symbol, _ in groupby(path) if symbol != blank]


def test_score_is_the_paths_log_probability_over_valid_frames() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 6, 5)
    lengths = torch.tensor([6, 4])
    expected = logits.log_softmax(-1).max(-1).values
    for hypothesis, row, n in zip(greedy_decode(logits, lengths, blank=0), expected, [6, 4], strict=True):
        assert hypothesis.score == pytest.approx(float(row[:n].sum()), abs=1e-5)
    normalised = greedy_decode(logits.log_softmax(-1), lengths, blank=0)
    assert [h.ids for h in normalised] == [h.ids for h in greedy_decode(logits, lengths, blank=0)]
    assert normalised[1].score == pytest.approx(float(expected[1, :4].sum()), abs=1e-5)


def test_alone_equals_in_a_batch() -> None:
    torch.manual_seed(1)
    logits = torch.randn(3, 9, 4)
    lengths = [9, 5, 0]
    together = greedy_decode(logits, torch.tensor(lengths), blank=0)
    for row, n in enumerate(lengths):
        assert greedy_decode(logits[row : row + 1, :n], torch.tensor([n]), blank=0)[0].ids == together[row].ids
    assert [len(symbols) for symbols, _ in best_path(logits, torch.tensor(lengths))] == lengths


def test_a_word_is_as_probable_as_all_its_symbols_together() -> None:
    vocabulary = Vocabulary(("-", "|", "A", "B", "?"), unknown=4)
    path = [0, 2, 2, 0, 3, 1, 4, 1, 2, 0]
    probabilities = np.array([0.1, 0.9, 0.4, 0.2, 0.5, 0.3, 0.3, 0.3, 0.7, 0.1])
    hypothesis = confident_words(vocabulary, path, np.log(probabilities).astype(np.float32))
    spans = word_frames(vocabulary, hypothesis)
    assert spans[0][1:] == (1, 4)
    # A over two frames: the geometric mean 0.6; then B: 0.5. What has no symbol does not count.
    assert hypothesis.word_confidences[0] == pytest.approx(0.3)
    assert hypothesis.word_confidences[-1] == pytest.approx(0.7)
    assert len(hypothesis.word_confidences) == len(spans)
    assert hypothesis.score == pytest.approx(np.log(probabilities).sum(), abs=1e-5)
    assert confident_words(vocabulary, [], np.zeros(0, np.float32)).word_confidences == ()
