"""Choosing among models that differ in one number, by their error rate on the development set."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.experiment.stage import VALUES_FILE
from wav2vec2.output_file import writing


def choose_learning_rate(folder: Path, *, models: Sequence[str], logs: Sequence[str], rates: Sequence[float]) -> None:
    """Keep the model whose run had the lowest validation score (the dev CER): ``folder/model`` and ``values.json``.

    Raises UserError for a run without validations.
    """
    scores = [best_score(Path(log)) for log in logs]
    best = min(range(len(scores)), key=scores.__getitem__)
    keep_model(Path(models[best]), folder / "model")
    tried = {str(rate): round(score, 6) for rate, score in zip(rates, scores, strict=True)}
    write_values(folder, {"lr": rates[best], "score": scores[best], "tried": tried})
    print(
        f"   lr {rates[best]:g}: " + ", ".join(f"{rate}: dev score {100 * score:.2f}" for rate, score in tried.items())
    )


def best_score(log: Path) -> float:
    """The lowest validation score in a run's log. Raises UserError when it has none."""
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        return min(float(line["score"]) for line in lines if "score" in line)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{log}: has no validation to choose by ({error}); set log.validate_every") from None


def keep_model(source: Path, target: Path) -> None:
    """A model directory under another name, its files shared where the disk can do that."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=_link)


def write_values(folder: Path, values: dict[str, object]) -> None:
    """Write down what a stage found, for those that read it."""
    with writing(folder / VALUES_FILE) as temporary:
        Path(temporary).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def read_values(folder: Path) -> dict[str, object]:
    """What a stage found; empty where it found no numbers."""
    try:
        found: dict[str, object] = json.loads((folder / VALUES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
