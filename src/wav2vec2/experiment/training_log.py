"""What a run's log says: its best and its last validation."""

from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError
from wav2vec2.report.run_log import read_run


def validations(run: Path) -> list[dict[str, Any]]:
    """The validations of a run, in their order. Raises UserError when its log cannot be read."""
    return list(read_run(run).validation.values())


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
