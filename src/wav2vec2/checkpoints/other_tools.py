"""The common parts of writing for fairseq, fairseq2 and torchaudio.

A model that a format cannot express is refused with the reason, before anything is written. The rows of a CTC head and
its symbols are brought into the tool's order. Unit, word separator and text normalisation, which a plain list of
symbols lacks, are stored under a key of ours that the tool ignores.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.audio.normalize import FAIRSEQ_EPSILON
from wav2vec2.checkpoints.checkpoint import Model
from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import BEGIN_NAMES, END_NAMES, Vocabulary

NEVER = -1e4
"""Bias of a class that a format requires and the model lacks: it never wins, not even in half precision."""

_RULES_KEY = "wav2vec2_text"
_EPSILON_KEY = "wav2vec2_input_epsilon"
_PROJECTION = "encoder.feature_projection"


def input_entry(architecture: Architecture) -> dict[str, float]:
    """Return our entry, the model's epsilon of input normalisation, for a tool that has only fairseq's; empty for that.

    The tool ignores it. Read back by ``input_epsilon``, the model computes here what it computed before.
    """
    epsilon = architecture.input_epsilon
    return {} if epsilon == FAIRSEQ_EPSILON else {_EPSILON_KEY: epsilon}


def input_epsilon(stored: Mapping[str, Any]) -> float:
    """Return the epsilon that ``input_entry`` stored, or fairseq's. Raises TypeError or ValueError for no number."""
    return float(stored.get(_EPSILON_KEY, FAIRSEQ_EPSILON))  # a string in YAML, which wants a point in 1e-07


def check_expressible(
    model: Model, target: object, tool: str, *, headless: bool, stacked_positions: bool, variants: Collection[str] = ()
) -> None:
    """Refuse a model whose output would change in ``tool``'s format.

    ``headless`` and ``stacked_positions`` say whether the tool has encoders without a head, and stacked positional
    convolutions; ``variants`` are the options of the pre-training head that it has. Messages name ``target``, the file
    to be written.

    Raises:
        UserError: The message names the property and the remedy.
    """
    a = model.architecture
    lacking = {name: value for name, value in a.variant.differences().items() if name not in variants}
    if a.variant.targets == "fixed":
        lacking["targets"] = "fixed"
    if a.variant.inputs != "continuous" or (lacking and isinstance(model, Wav2Vec2ForPretraining)):
        changed = ", ".join(f"{name} = {value}" for name, value in lacking.items())
        raise UserError(f"{target}: {tool} does not have this variant of the model ({changed}); use --to huggingface")
    if a.adapter_size:
        raise UserError(f"{target}: {tool} has no language adapters; use --to huggingface")
    if a.layer_norm_eps != 1e-5:
        raise UserError(f"{target}: layer_norm_eps is {a.layer_norm_eps}, {tool}'s is 1e-05; use --to huggingface")
    if a.pos_conv_depth > 1 and not stacked_positions:
        raise UserError(
            f"{target}: {tool} has one positional convolution, the model has {a.pos_conv_depth}; use --to huggingface"
        )
    if not headless and isinstance(model, Wav2Vec2Encoder):
        raise UserError(
            f"{target}: {tool} has no encoder without a head, and the model has neither quantizer nor CTC head; "
            "use --to huggingface"
        )


def _leaves_out_projection(model: Model, target: object, tool: str) -> bool:
    """Whether ``tool`` leaves out the feature projection, as it does where input and output are equally wide.

    Raises:
        UserError: They are equally wide, but the projection is not the identity.
    """
    a, projection = model.architecture, model.encoder.feature_projection
    if a.feature_size != a.hidden_size:
        return False
    eye = torch.eye(a.hidden_size, dtype=projection.weight.dtype)
    if not torch.equal(projection.weight.detach(), eye) or bool(projection.bias.detach().any()):
        raise UserError(
            f"{target}: {tool} has no projection where extractor and Transformer are both {a.hidden_size} wide, "
            "but the model has one; use --to huggingface"
        )
    return True


def identity_projection(architecture: Architecture) -> dict[str, Tensor]:
    """Return the projection that a file leaves out, under our names; empty where its input and output sizes differ."""
    if architecture.feature_size != architecture.hidden_size:
        return {}
    size = architecture.hidden_size
    return {f"{_PROJECTION}.weight": torch.eye(size), f"{_PROJECTION}.bias": torch.zeros(size)}


def own_vocabulary(model: Model, target: object) -> Vocabulary | None:
    """Return the vocabulary to write with a model, None if it has none.

    Raises:
        UserError: It does not fit the head; the message names ``target``.
    """
    if not isinstance(model, Wav2Vec2ForCTC) or model.vocabulary is None:
        return None
    size = model.head.out_features
    if len(model.vocabulary) != size:
        raise UserError(
            f"{target}: the vocabulary has {len(model.vocabulary)} symbols, the model's head has {size} rows; "
            "give the vocabulary that the model was trained with"
        )
    return model.vocabulary


def fairseq_order(vocabulary: Vocabulary) -> tuple[int | None, ...]:
    """Return ids in fairseq's order: blank, begin, end and unknown (None for a missing one), then the plain symbols.

    A vocabulary that came from fairseq is in this order already.
    """

    def first_of(names: Sequence[str]) -> int | None:
        ids = (index for index, symbol in enumerate(vocabulary.symbols) if symbol in names)
        return next((index for index in ids if index not in (vocabulary.blank, vocabulary.unknown)), None)

    special = [vocabulary.blank, first_of(BEGIN_NAMES), first_of(END_NAMES), vocabulary.unknown]
    return (*special, *(index for index in range(len(vocabulary)) if index not in special))


def plain_ids(vocabulary: Vocabulary) -> list[int]:
    """Return the ids of the plain symbols, which follow the four special ones in fairseq's order."""
    return [index for index in fairseq_order(vocabulary)[4:] if index is not None]


def plain_symbols(vocabulary: Vocabulary, target: object) -> list[str]:
    """Return the plain symbols as another tool's list has them: the word separator is called ``|`` there.

    Raises:
        UserError: A symbol contains white space, or ``|`` is a symbol beside the word separator.
    """
    symbols = [vocabulary.symbols[index] for index in plain_ids(vocabulary)]
    separator = vocabulary.word_separator
    if separator is not None and separator != "|":
        if "|" in symbols:
            raise UserError(
                f"{target}: both {quoted(separator)} and '|' are symbols, and '|' separates words in that format; "
                "use --to huggingface"
            )
        symbols = ["|" if symbol == separator else symbol for symbol in symbols]
    spaced = [symbol for symbol in symbols if not symbol or symbol.split() != [symbol]]
    if spaced:
        raise UserError(
            f"{target}: the symbol {quoted(spaced[0])} contains white space, which that format cannot keep; "
            "use --to huggingface"
        )
    return symbols


def arranged_head(model: Wav2Vec2ForCTC, ids: Sequence[int | None]) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the head with its rows in the given order; None makes a class that never wins."""
    weight, bias = model.head.weight.detach(), model.head.bias.detach()
    if list(ids) == list(range(len(bias))):
        return weight, bias
    rows = torch.tensor([index if index is not None else 0 for index in ids])
    missing = torch.tensor([index is None for index in ids])
    return weight[rows].masked_fill(missing[:, None], 0.0), bias[rows].masked_fill(missing, NEVER)


def fairseq_tensors(
    model: Model, path: Path, tool: str, names: Callable[[str], str], dtype: torch.dtype
) -> "OrderedDict[str, Tensor]":
    """Return a model's tensors under the names of fairseq or fairseq2, the rows of its head in their order.

    Raises:
        UserError: The projection cannot be left out, or the head has no vocabulary and its blank is not row 0.
    """
    state = {name: value.detach() for name, value in model.state_dict().items()}
    if isinstance(model, Wav2Vec2ForCTC):
        check_blank(model, path, tool)
        if model.vocabulary is not None:
            state["head.weight"], state["head.bias"] = arranged_head(model, fairseq_order(model.vocabulary))
    without_projection = _leaves_out_projection(model, path, tool)
    return OrderedDict(
        (names(name), value.to("cpu", dtype).contiguous())
        for name, value in state.items()
        if not (without_projection and name.startswith(_PROJECTION))
    )


def check_blank(model: Wav2Vec2ForCTC, path: Path, tool: str) -> None:
    """Raise UserError if the blank is not row 0 and there is no vocabulary to reorder the head by."""
    if model.vocabulary is None and model.blank != 0:
        raise UserError(
            f"{path}: {tool}'s blank is row 0, the model's is row {model.blank}; give its symbols with --vocabulary"
        )


def text_rules_entry(vocabulary: Vocabulary | None) -> dict[str, Any]:
    """Return our entry, the vocabulary's text rules, for another tool's file; empty without a vocabulary."""
    return {} if vocabulary is None else {_RULES_KEY: vocabulary.text_rules}


def with_text_rules(vocabulary: Vocabulary, stored: Mapping[str, Any], path: Path) -> Vocabulary:
    """Return a vocabulary read from another tool's list, with the text rules that ``text_rules_entry`` stored.

    Raises:
        UserError: The rules are damaged; the message names ``path``.
    """
    if _RULES_KEY not in stored:
        return vocabulary
    try:
        return vocabulary.with_text_rules(stored[_RULES_KEY])
    except UserError as error:
        raise UserError(f"{path}: its {_RULES_KEY} is damaged ({cause(error)}); convert the model again") from error
