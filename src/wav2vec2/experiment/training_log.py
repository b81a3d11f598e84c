"""What a run's log says: its best and its last validation."""

import json
from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError
from wav2vec2.train.metrics import LOG_FILE


def validations(run: Path) -> list[dict[str, Any]]:
    """The validations of a run, in their order. Raises UserError when its log cannot be read."""
    path = run / LOG_FILE
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as the log of a run ({error})") from None
    return [line for line in lines if line.get("kind") == "validation"]


def last_validation(run: Path) -> dict[str, Any]:
    """The last one; empty where there is none."""
    found = validations(run)
    return found[-1] if found else {}


def best_score(log: Path) -> float:
    """The lowest score of a run's validations, by the path of its log. Raises UserError when there is none."""
    found = [float(line["score"]) for line in validations(log.parent) if "score" in line]
    if not found:
        raise UserError(f"{log}: has no validation to choose by; set log.validate_every")
    return min(found)
