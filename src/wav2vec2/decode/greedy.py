"""Greedy CTC decoding: the best symbol of every frame, runs merged, blanks dropped (SPEC G1, `viterbi`)."""

import torch
from torch import Tensor

from wav2vec2.decode.hypothesis import Hypothesis, collapse


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
