"""A Transformer language model on disk: ``config.json`` (a ``model_type`` of our own), ``model.safetensors`` and
``tokens.txt``.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from wav2vec2.errors import UserError
from wav2vec2.lm.transformer.network import LanguageModelSizes, TransformerNetwork
from wav2vec2.lm.transformer.token_vocabulary import TokenVocabulary
from wav2vec2.output_file import writing_together
from wav2vec2.text.normalize import TextNormalization

MODEL_TYPE = "wav2vec2-language-model"
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save_language_model(network: TransformerNetwork, vocabulary: TokenVocabulary, directory: str | Path) -> None:
    """Write the directory aside, then into place: a failed save leaves the old model.

    Raises:
        UserError: it cannot be written (disk full, no permission).
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


def load_language_model_directory(directory: str | Path) -> tuple[TransformerNetwork, TokenVocabulary]:
    """Read a directory: the network in evaluation mode, as float32 on the CPU, and its vocabulary.

    Raises:
        UserError: a file is missing, cut short, of another kind of model, or does not fit the others.
    """
    source = Path(directory)
    config = _read_config(source)
    try:
        sizes = LanguageModelSizes(**_known(LanguageModelSizes, config["sizes"]))
        normalization = TextNormalization(**_known(TextNormalization, config["normalization"]))
        unit, size = config["unit"], int(config["vocab_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{source / CONFIG}: incomplete ({error}); copy the complete model directory again") from None
    vocabulary = TokenVocabulary.load(source, unit, normalization)
    if len(vocabulary) != size:
        raise UserError(
            f"{source}/tokens.txt: has {len(vocabulary)} tokens, the model {size}; give the list it was trained with"
        )
    network = TransformerNetwork(sizes, size)
    try:
        network.load_state_dict(load_file(source / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{source / WEIGHTS}: damaged or cut short ({error}); copy the file again") from None
    except RuntimeError as error:
        why = " ".join(str(error).split())[-200:]
        raise UserError(f"{source / WEIGHTS}: does not fit {CONFIG} ({why}); copy the directory again") from None
    return network.eval(), vocabulary


def is_language_model_directory(directory: str | Path) -> bool:
    """Whether a directory says that it is one of these."""
    try:
        return bool(json.loads((Path(directory) / CONFIG).read_text(encoding="utf-8"))["model_type"] == MODEL_TYPE)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _read_config(source: Path) -> dict[str, Any]:
    if not source.is_dir():
        raise UserError(f"{source}: no such language model; give the directory that 'wav2vec2 lm transformer' wrote")
    try:
        config = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{source}: has no {CONFIG}; give the directory that 'wav2vec2 lm transformer' wrote") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{source / CONFIG}: damaged ({error}); copy the model directory again") from None
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != MODEL_TYPE:
        raise UserError(f"{source}: is a model of type {found!r}, not a language model ({MODEL_TYPE!r}); give another")
    return dict(config)


def _known(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name in names}
