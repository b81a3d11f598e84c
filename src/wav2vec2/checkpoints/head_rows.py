"""The CTC head and its vocabulary in another tool's file: the order of its rows, its symbols, and the rest beside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.vocabulary import Vocabulary

_TEXT_KEY = "wav2vec2_text"
"""Key of ours for what another tool's list of symbols does not tell: unit, word separator, text normalisation."""

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


def stored_rules(vocabulary: Vocabulary | None) -> dict[str, Any]:
    """Return the entry that ``with_stored_rules`` reads back; empty without a vocabulary."""
    return {} if vocabulary is None else {_TEXT_KEY: vocabulary.text_rules}


def with_stored_rules(vocabulary: Vocabulary, stored: Mapping[str, Any], path: Path) -> Vocabulary:
    """Return a table read from another tool's list, with the rules that ``stored_rules`` put into a file.

    Raises:
        UserError: They are damaged; the message names ``path``.
    """
    if _TEXT_KEY not in stored:
        return vocabulary
    try:
        return vocabulary.with_text_rules(stored[_TEXT_KEY])
    except UserError as error:
        raise UserError(f"{path}: its {_TEXT_KEY} is damaged ({error}); convert the model again") from error


def own_vocabulary(model: object, target: object) -> Vocabulary | None:
    """Return the symbol table to write beside a model; None where it has none.

    Raises:
        UserError: It does not fit the head; the message names ``target``.
    """
    if not isinstance(model, Wav2Vec2ForCTC) or model.vocabulary is None:
        return None
    size = model.head.out_features
    if len(model.vocabulary) != size:
        raise UserError(
            f"{target}: the vocabulary has {len(model.vocabulary)} symbols, the model's head {size}; "
            "give the model its own vocabulary"
        )
    return model.vocabulary
