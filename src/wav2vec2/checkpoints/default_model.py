"""The model that is used where none is named: which, and what to say where it cannot be had."""

import os
from pathlib import Path

DEFAULT_MODEL = "facebook/wav2vec2-base-960h"
"""English, 94 million parameters: the paper's BASE, fine-tuned on all of LibriSpeech."""
MULTILINGUAL_MODEL = "facebook/mms-1b-all"
"""What a language is taken of, if no model is named."""
MODEL_VARIABLE = "WAV2VEC2_MODEL"
"""Environment variable that names another default."""
_DEMO = "runs/demo/finetune"


def chosen_model(model: str | None, language: str | None = None) -> str:
    """Return the model that a command is to use: the one named, that of WAV2VEC2_MODEL, or the default.

    Where a language is asked for, the default is the multilingual model.
    """
    return model or os.environ.get(MODEL_VARIABLE) or (DEFAULT_MODEL if language is None else MULTILINGUAL_MODEL)


def remedy_offline(model: str) -> str:
    """Return what else can be done where a model of the hub cannot be had; empty unless it is a default of ours."""
    if model not in (DEFAULT_MODEL, MULTILINGUAL_MODEL):
        return ""
    if Path(_DEMO).is_dir():
        return f"; the demo's model lies here: --model {_DEMO}"
    return "; or name a model that lies here: --model FOLDER"
