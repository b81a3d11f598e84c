"""Settings that make every training of an experiment a matter of a second, and its commands run in this process."""

from pathlib import Path
from typing import Any

from tests.small_models import SMALLEST as SIZES

_MODEL = (
    *(f"model.{name}={list(size) if isinstance(size, tuple) else size}" for name, size in SIZES.items()),
    "batch.workers=0",
)
_LM = ("model.hidden_size=16", "model.layers=1", "model.ffn_size=16", "model.heads=2", "model.cutoffs=[]")
SMALLEST = (
    *(f"{pattern}:{text}" for pattern in ("pretrain*", "*scratch*") for text in _MODEL),
    *("pretrain*:batch.seconds=8", "pretrain*:batch.micro_seconds=8"),
    *(f"{pattern}:batch.workers=0" for pattern in ("trial-*", "finetune-*")),
    *(f"lm-transformer:{text}" for text in (*_LM, "text.min_count=1")),
)


def smallest(out: Path, tree: Path, **changes: Any) -> dict[str, Any]:
    """Options of any experiment on the made-up tree."""
    return {
        "speech": tree,
        "scale": "tiny",
        "out": out,
        "lm_text": (tree / "text.txt",),
        "set": SMALLEST,
        "updates_scale": 0.004,
        "trials": 2,
        "workers": 1,
        "threads": 1,
        "device": "cpu",
    } | changes
