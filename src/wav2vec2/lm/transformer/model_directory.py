"""The directory of a Transformer language model, and its vocabulary of words or characters.

The directory holds ``config.json`` (with our own ``model_type``), ``model.safetensors`` and ``tokens.txt``.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.input_file import MOST_LINES, check_numbers, parse_json, read_input, read_text, refuse_special
from wav2vec2.lm.language_model import Unit
from wav2vec2.lm.transformer.network import LanguageModelSizes, TransformerNetwork
from wav2vec2.lm.words import END, UNKNOWN
from wav2vec2.output_file import writing_together
from wav2vec2.text.normalize import WORD_SEPARATOR, TextNormalization

MODEL_TYPE = "wav2vec2-language-model"
_LARGEST = 1 << 28  # of a size; a cut-off counts words
CONFIG, WEIGHTS, TOKENS = "config.json", "model.safetensors", "tokens.txt"


@dataclass(frozen=True)
class TokenVocabulary:
    """The tokens: ``</s>`` and ``<unk>``, then the rest by falling frequency. ``|`` separates words of characters.

    Raises:
        UserError: the first two tokens are not ``</s>`` and ``<unk>``, or a token occurs twice.
    """

    tokens: tuple[str, ...]
    unit: Unit = "words"
    normalization: TextNormalization = TextNormalization()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        if self.tokens[:2] != (END, UNKNOWN):
            raise UserError(f"vocabulary of the language model: does not begin with {END} and {UNKNOWN}")
        if len(self.numbers) != len(self.tokens):
            twice = next(token for token, count in Counter(self.tokens).items() if count > 1)
            raise UserError(f"vocabulary of the language model: has {quoted(twice)} twice")

    @classmethod
    def build(
        cls,
        counts: Counter[str],
        unit: Unit,
        normalization: TextNormalization,
        *,
        min_count: int = 1,
        allowed: Iterable[str] | None = None,
    ) -> "TokenVocabulary":
        """Make a vocabulary of the tokens that occur at least ``min_count`` times, or of exactly the ``allowed`` ones.

        Tokens are sorted by falling count, then by code point. Raises UserError if there are none.
        """
        seen = (token for token, count in counts.items() if count >= min_count)
        ordered = sorted(
            {*(seen if allowed is None else allowed)} - {END, UNKNOWN}, key=lambda token: (-counts[token], token)
        )
        if not ordered:
            raise UserError(f"text.min_count: no token occurs {min_count} times; lower it, or give more text")
        return cls((END, UNKNOWN, *ordered), unit, normalization)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each token."""
        return {token: number for number, token in enumerate(self.tokens)}

    def encode(self, words: Sequence[str]) -> list[int]:
        """Return the numbers of a sentence's tokens, without marks, given its normalised words."""
        return [self.numbers.get(token, 1) for token in tokens_of(words, self.unit)]

    def save(self, directory: Path) -> None:
        """Write ``tokens.txt``, one token per line."""
        (directory / TOKENS).write_text("\n".join(self.tokens) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, unit: Unit, normalization: TextNormalization) -> "TokenVocabulary":
        """Read ``tokens.txt``. Raises UserError if it is missing or malformed."""
        path = directory / TOKENS
        try:
            tokens = read_text(path, most=MOST_LINES).split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path}: cannot be read ({cause(error)}); copy the complete model directory again"
            ) from None
        try:
            return cls(tuple(tokens[:-1] if tokens[-1:] == [""] else tokens), unit, normalization)
        except UserError as error:
            raise UserError(f"{path}: {error}; copy the complete model directory again") from None


def tokens_of(words: Sequence[str], unit: Unit) -> Sequence[str]:
    """The words themselves, or their characters with ``|`` between words."""
    return words if unit == "words" else list(WORD_SEPARATOR.join(words))


def save_language_model(network: TransformerNetwork, vocabulary: TokenVocabulary, directory: str | Path) -> None:
    """Write a model directory; a failed save leaves the old model as it was.

    Raises:
        UserError: the directory cannot be written (disk full, no permission).
    """
    config = {
        "model_type": MODEL_TYPE,
        "unit": vocabulary.unit,
        "vocab_size": len(vocabulary),
        "normalization": asdict(vocabulary.normalization),
        "sizes": asdict(network.sizes),
    }
    tensors = {
        name: value.detach().to("cpu", torch.float32).contiguous() for name, value in network.state_dict().items()
    }
    with writing_together(directory) as folder:
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        vocabulary.save(folder)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def describe_language_model(directory: Path) -> dict[str, str] | None:
    """Return lines about a model directory, by name; None if it is no language model. No weights are read."""
    try:
        config = _read_config(directory)
        sizes = LanguageModelSizes(**_known(LanguageModelSizes, config["sizes"]))
        rules = TextNormalization(**_known(TextNormalization, config["normalization"]))
    except (UserError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return {
        "kind": f"Transformer over {config.get('unit')}",
        "vocabulary": f"{config.get('vocab_size')} tokens",
        "transformer": f"{sizes.layers} layers, width {sizes.hidden_size}, feed-forward {sizes.ffn_size}",
        "text": str(rules),
    }


def load_language_model_directory(directory: str | Path) -> tuple[TransformerNetwork, TokenVocabulary]:
    """Read a model directory: the network, in evaluation mode and float32 on the CPU, and its vocabulary.

    Raises:
        UserError: a file is missing, cut short, of another kind of model, or does not fit the others.
    """
    source = Path(directory)
    config = _read_config(source)
    try:
        sizes = LanguageModelSizes(**_known(LanguageModelSizes, config["sizes"]))
        normalization = TextNormalization(**_known(TextNormalization, config["normalization"]))
        unit, size = config["unit"], int(config["vocab_size"])
        check_numbers(sizes, {}, _LARGEST)
        if unit not in get_args(Unit):
            raise ValueError(f"unit is {quoted(unit)}")
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise UserError(
            f"{source / CONFIG}: is incomplete ({cause(error)}); copy the complete model directory again"
        ) from None
    vocabulary = TokenVocabulary.load(source, unit, normalization)
    if len(vocabulary) != size:
        raise UserError(
            f"{source / TOKENS}: has {len(vocabulary)} tokens, the model has {size}; use the list it was trained with"
        )
    try:
        refuse_special(source / WEIGHTS)
        # Before memory is taken: the matrices of the blocks alone, at a byte a number, must be in the file.
        if sizes.layers * sizes.hidden_size * (sizes.hidden_size + sizes.ffn_size) > (source / WEIGHTS).stat().st_size:
            raise UserError(f"{source / WEIGHTS}: is smaller than {CONFIG} says; copy the directory again")
        network = TransformerNetwork(sizes, size)
        network.load_state_dict(load_file(source / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{source / WEIGHTS}: is damaged or cut short ({cause(error)}); copy the file again") from None
    except RuntimeError as error:
        why = " ".join(str(error).split())[-200:]
        raise UserError(f"{source / WEIGHTS}: does not fit {CONFIG} ({why}); copy the directory again") from None
    return network.eval(), vocabulary


def _read_config(source: Path) -> dict[str, Any]:
    if not source.is_dir():
        raise UserError(f"{source}: no such language model; give the directory that 'wav2vec2 lm transformer' wrote")
    try:
        config = parse_json(read_input(source / CONFIG))
    except FileNotFoundError:
        raise UserError(f"{source}: has no {CONFIG}; give the directory that 'wav2vec2 lm transformer' wrote") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{source / CONFIG}: is damaged ({cause(error)}); copy the model directory again") from None
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != MODEL_TYPE:
        raise UserError(
            f"{source}: has model_type {quoted(found)}, not a language model's ({quoted(MODEL_TYPE)}); give another"
        )
    return dict(config)


def _known(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name in names}
