"""Greedy CTC decoding: the best symbol of every frame, runs merged, blanks dropped (SPEC G1, `viterbi`)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wav2vec2.decode.hypothesis import Hypothesis, collapse, word_frames
from wav2vec2.text.vocabulary import Vocabulary


def best_path(logits: Tensor, frame_lengths: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return for each utterance the best symbol of every valid frame and its log-probability.

    Both are (T_i,) on the CPU, int64 and float32. logits: (B, T, V), logits or log-probabilities (normalising the
    latter again changes nothing); frame_lengths: (B,). For a long recording only these are kept: 12 bytes a frame
    instead of V logits.
    """
    values = logits.float()
    best, symbols = values.max(dim=-1)
    scores = (best - values.logsumexp(dim=-1)).cpu()
    symbols = symbols.cpu()
    return [(symbols[row, :n], scores[row, :n]) for row, n in enumerate(frame_lengths.tolist())]


def greedy_decode(logits: Tensor, frame_lengths: Tensor, blank: int) -> list[Hypothesis]:
    """Decode a batch: the argmax of every valid frame, so that padding never adds a symbol.

    logits: (B, T, V), logits or log-probabilities; frame_lengths: (B,), values 0..T; blank: the blank's id.
    """
    with torch.no_grad():
        paths = best_path(logits, frame_lengths)
    return [collapse(symbols.tolist(), blank, float(scores.double().sum())) for symbols, scores in paths]


def confident_words(vocabulary: Vocabulary, symbols: Sequence[int], scores: NDArray[np.float32]) -> Hypothesis:
    """Collapse the best symbols of the frames, with the confidences of their words.

    A symbol is as probable as the geometric mean of its posterior over its frames, and a word as all its symbols
    together: the product, since a word is right only if every symbol is. scores: (T,) log-probabilities of `symbols`.
    """
    path = np.asarray(scores, dtype=np.float64)
    hypothesis = collapse(symbols, vocabulary.blank, float(path.sum()))
    sums = np.concatenate([[0.0], np.cumsum(path)])
    first, last = np.array(hypothesis.frames, dtype=int), np.array(hypothesis.last_frames, dtype=int)
    means = np.minimum((sums[last + 1] - sums[first]) / (last + 1 - first), 0.0)
    confidences = tuple(
        float(np.exp(means[np.searchsorted(first, begin) : np.searchsorted(first, end, "right")].sum()))
        for _, begin, end in word_frames(vocabulary, hypothesis)
    )
    return replace(hypothesis, word_confidences=confidences)
