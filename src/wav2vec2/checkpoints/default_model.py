"""The model that is used where none is named, which words of a command name one, and what to say where it is missing.

In versions up to 0.1 a model was the first word of ``transcribe``, ``listen`` and ``align``.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from wav2vec2.audio.recordings import is_audio_name

DEFAULT_MODEL = "facebook/wav2vec2-base-960h"
"""English, 94 million parameters: the paper's BASE, fine-tuned on all of LibriSpeech."""
MULTILINGUAL_MODEL = "facebook/mms-1b-all"
"""What a language is taken of, if no model is named."""
MODEL_VARIABLE = "WAV2VEC2_MODEL"
"""Environment variable that names another default."""
_DEMO = "runs/demo/finetune"
_MODEL_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".onnx", ".pt2")
_IN_MODEL = ("config.json", "config.toml", "model.safetensors", "pytorch_model.bin", "model.yaml", "model/config.json")
_ID_PARTS = 2


def chosen_model(model: str | None, language: str | None = None) -> str:
    """Return the model that a command is to use: the one named, that of WAV2VEC2_MODEL, or the default.

    Where a language is asked for, the default is the multilingual model.
    """
    return model or os.environ.get(MODEL_VARIABLE) or (DEFAULT_MODEL if language is None else MULTILINGUAL_MODEL)


def model_and_words(
    command: str, words: Sequence[str], model: str | None, language: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """Return the model that a command is to use, and its words without one that names a model.

    Older versions had a model as the first word: of that form a line on stderr says what to write instead.
    """
    if model is None and words and _names_model(words[0], words[1:]):
        print(
            f"{command}: a model as the first word is the old form, which the next version drops; "
            f"write --model {words[0]}",
            file=sys.stderr,
        )
        return words[0], tuple(words[1:])
    return chosen_model(model, language), tuple(words)


def _names_model(word: str, following: Sequence[str]) -> bool:
    """Whether a word names a model and no recording.

    What is there is looked at. A word that is not there may be an id on the hub or a recording whose name is wrong: it
    is an id if what follows is a recording, stdin, or anything that is there.
    """
    path = Path(word)
    if path.suffix in _MODEL_SUFFIXES:
        return True
    if path.is_dir():
        return any((path / name).exists() for name in _IN_MODEL) or any(path.glob("*.pt"))
    if path.exists() or is_audio_name(path) or len([part for part in word.split("/") if part]) != _ID_PARTS:
        return False
    after = following[0] if following else ""
    return after == "-" or is_audio_name(Path(after)) or (after != "" and Path(after).exists())


def remedy_offline(model: str) -> str:
    """Return what else can be done where a model of the hub cannot be had; empty unless it is a default of ours."""
    if model not in (DEFAULT_MODEL, MULTILINGUAL_MODEL):
        return ""
    if Path(_DEMO).is_dir():
        return f"; the demo's model lies here: --model {_DEMO}"
    return "; or name a model that lies here: --model FOLDER"
