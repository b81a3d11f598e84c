"""``wav2vec2 adapt keep``: of several fine-tunings, keep the one that recognises the held-out speakers best."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from wav2vec2.errors import UserError
from wav2vec2.pipeline.kept_model import keep_model
from wav2vec2.pipeline.stage import read_values, write_values
from wav2vec2.report.run_log import lowest_score, read_run
from wav2vec2.train.metrics import LOG_FILE


@dataclass(frozen=True)
class KeepOptions:
    """Keep the best of several fine-tunings by their lowest validation score. A stage of 'wav2vec2 adapt'.

    The score is the character error rate, and the loss where that is above 70 %. Of equal ones the first is kept.
    """

    runs: Annotated[tuple[Path, ...], Positional, arg(metavar="RUN")]
    """Folders of runs, or folders that this command has written."""
    out: Path = Path("kept")
    """Folder for model and values.json."""


def run(options: KeepOptions) -> None:
    """Copy the best model to `out`, and print the scores. Raises UserError for a run without a validation."""
    if not options.runs:
        raise UserError("adapt keep: name at least one run")
    tried = {}
    for folder in options.runs:
        before = read_values(folder)
        kept = before.get("score")
        name = str(before.get("kept") or folder.name.rpartition("-")[0] or folder.name)
        tried[folder] = (name, kept if isinstance(kept, float) else lowest_score(folder / LOG_FILE))
    best = min(tried, key=lambda folder: tried[folder][1])
    keep_model(best / "model", options.out / "model")
    name, score = tried[best]
    scores = {name: round(score, 6) for name, score in tried.values()}
    shown = {other: _shown(folder) for folder, (other, _) in tried.items()}
    write_values(options.out, {"kept": name, "score": score, "tried": scores, "shown": shown})
    for folder, (other, _) in tried.items():
        print(f"{other}: {_shown(folder)} on the held-out speakers{'  <- kept' if folder == best else ''}")


def _shown(folder: Path) -> str:
    """The best validation of a run, in words."""
    before = read_values(folder)
    if isinstance(shown := before.get("shown"), dict):
        return str(shown.get(before.get("kept"), ""))
    validations = read_run(folder / LOG_FILE).validation.values()
    best = min((one for one in validations if "score" in one), key=lambda one: float(one["score"]))
    rate = best.get("cer", best.get("per", 0.0))
    return f"CER {100 * rate:.1f} %, {best['per_label']:.3f} nats a label"
