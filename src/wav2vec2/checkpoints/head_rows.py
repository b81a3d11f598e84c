"""Which class of a CTC head stands in which row, when another tool keeps its symbols in another order."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.vocabulary import Vocabulary

NEVER = -1e4
"""Bias of a class that a format demands and the model does not have: it never wins, also in half precision."""


def arranged(model: Wav2Vec2ForCTC, rows: Sequence[int | None]) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the head with its rows in the given order; None makes a class that never wins."""
    weight, bias = model.head.weight.detach(), model.head.bias.detach()
    if list(rows) == list(range(len(bias))):
        return weight, bias
    index = torch.tensor([row if row is not None else 0 for row in rows])
    missing = torch.tensor([row is None for row in rows])
    return weight[index].masked_fill(missing[:, None], 0.0), bias[index].masked_fill(missing, NEVER)


def symbols_for(vocabulary: Vocabulary, rows: Sequence[int], target: object) -> list[str]:
    """Return the symbols of plain rows as another tool's list keeps them: the word separator is ``|`` there.

    Raises:
        UserError: A symbol holds white space, or ``|`` means something else.
    """
    symbols = [vocabulary.symbols[row] for row in rows]
    separator = vocabulary.word_separator
    if separator is not None and separator != "|":
        if "|" in symbols:
            raise UserError(f"{target}: both {separator!r} and '|' are symbols, and '|' separates words in that format")
        symbols = ["|" if symbol == separator else symbol for symbol in symbols]
    spaced = [symbol for symbol in symbols if not symbol or symbol.split() != [symbol]]
    if spaced:
        raise UserError(f"{target}: the symbol {spaced[0]!r} holds white space, which that format cannot keep")
    return symbols
