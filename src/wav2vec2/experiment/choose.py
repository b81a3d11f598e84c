"""Choosing among models that differ in one number, by their error rate on the development set."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.experiment.training_log import best_score
from wav2vec2.output_file import writing
from wav2vec2.pipeline.stage import VALUES_FILE


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


def choose_by_word_errors(
    folder: Path, *, models: Sequence[str], reports: Sequence[str], names: Sequence[str], column: int
) -> None:
    """Keep the model with the fewest word errors in the reports of ``wav2vec2 evaluate`` (the Libri-light protocol).

    column: which of the report's columns counts. Raises UserError for a file that is no such report.
    """
    rates = []
    for report in reports:
        try:
            table = json.loads(Path(report).read_text(encoding="utf-8"))["table"]
            rates.append(float(list(list(table.values())[-1].values())[column]["wer"]["rate"]))
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise UserError(f"{report}: is not a report of wav2vec2 evaluate ({error})") from None
    best = min(range(len(rates)), key=rates.__getitem__)
    keep_model(Path(models[best]), folder / "model")
    tried = {name: round(rate, 6) for name, rate in zip(names, rates, strict=True)}
    write_values(folder, {"chosen": names[best], "tried": tried})
    print("   " + ", ".join(f"{name}: {100 * rate:.2f} %" for name, rate in tried.items()))


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
