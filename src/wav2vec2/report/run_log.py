"""A training run as its log tells it: the numbers in log.jsonl and the recipe in config.toml."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wav2vec2.config import dotted
from wav2vec2.errors import UserError
from wav2vec2.input_file import MOST_LINES, parse_json, parse_toml, read_input, read_text, refuse_special
from wav2vec2.train.metrics import LOG_FILE

CONFIG_FILE = "config.toml"

RunKind = Literal["pre-training", "fine-tuning", "language model"]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class RunLog:
    """One run.

    train, validation: records by update. config: its recipe as written; empty if that is missing. stopped: why it ended
    ("done", a signal, ...); empty while it runs or after it was killed. cut: whether the last line was incomplete and
    skipped.
    """

    name: str
    path: Path
    train: dict[int, dict[str, Any]] = field(default_factory=dict)
    validation: dict[int, dict[str, Any]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    stopped: str = ""
    cut: bool = False

    @property
    def kind(self) -> RunKind:
        """What was trained, known by the numbers that only that kind of run has."""
        last = next(reversed(self.train.values()))
        return "pre-training" if "contrastive" in last else "fine-tuning" if "per_label" in last else "language model"

    def series(self, records: Literal["train", "validation"], key: str) -> tuple[Numbers, Numbers]:
        """Updates and values of one number, in order; empty if the log does not have it."""
        chosen: dict[int, dict[str, Any]] = getattr(self, records)
        found = [(update, float(chosen[update][key])) for update in sorted(chosen) if _number(chosen[update].get(key))]
        updates, values = zip(*found, strict=True) if found else ((), ())
        return np.array(updates, dtype=np.float64), np.array(values, dtype=np.float64)

    def last(self, records: Literal["train", "validation"], key: str) -> float:
        """The last value of a number; NaN if the log does not have it."""
        values = self.series(records, key)[1]
        return float(values[-1]) if len(values) else math.nan


def read_run(path: str | Path, name: str | None = None) -> RunLog:
    """Read a run from its folder or its log. Of an update that was repeated after an interruption, the last record
    counts.

    Raises UserError for a path that is not a run, a log without training records, and a damaged line before the last.
    """
    path = Path(path)
    log = path / LOG_FILE if path.is_dir() else path
    refuse_special(path)
    if not path.exists():
        raise UserError(f"{path}: does not exist; give the folder of a run, which contains {LOG_FILE}")
    if not log.is_file() or (log.suffix != ".jsonl" and not path.is_dir()):
        raise UserError(
            f"{path}: is not a run; give the --output folder of pretrain or finetune, which contains {LOG_FILE}"
        )
    try:
        lines = read_text(log, errors="replace", most=MOST_LINES).splitlines()
    except OSError as error:
        raise UserError(f"{log}: cannot be read ({error.strerror}); check its permissions") from None
    run = RunLog(name or log.parent.resolve().name, log, config=_config(log.parent / CONFIG_FILE))
    stopped, cut = "", False
    for number, line in enumerate(lines, 1):
        record = _record(line)
        if record is None:
            if number < len(lines):
                raise UserError(f"{log}: line {number} is not a record of a run; remove it or give another run")
            cut = True
            continue
        if record["kind"] in ("train", "validation"):
            getattr(run, record["kind"])[record["update"]] = record
        stopped = str(record.get("reason", "")) if record["kind"] == "stop" else ""
    if not run.train:
        raise UserError(f"{log}: has no training record yet; wait for the first log line or give another run")
    return RunLog(run.name, log, run.train, run.validation, run.config, stopped, cut)


def read_runs(paths: Sequence[str | Path]) -> list[RunLog]:
    """Read several runs; those whose folders have the same name are named by the folders above, too."""
    places = list(dict.fromkeys(Path(path).resolve() for path in paths))
    folders = [(place if place.is_dir() else place.parent).parts for place in places]
    depth = 1
    names = [folder[-1] for folder in folders]
    while len(set(names)) < len(set(folders)) and depth < max(map(len, folders)):
        depth += 1
        twice = Counter(names)
        names = ["/".join(f[-depth:]) if twice[n] > 1 else n for f, n in zip(folders, names, strict=True)]
    given = {Path(path).resolve(): path for path in reversed(paths)}
    return [read_run(given[place], name) for place, name in zip(places, names, strict=True)]


def lowest_score(log: Path) -> float:
    """The lowest validation score of a run, from its log. Raises UserError if it has none."""
    scores = read_run(log).series("validation", "score")[1]
    if not len(scores):
        raise UserError(f"{log}: has no validation to choose by; set log.validate_every")
    return float(scores.min())


def differing_settings(runs: Sequence[RunLog]) -> list[tuple[str, list[str]]]:
    """Settings that are not the same in all runs, except output folders, with each run's value."""
    flat = [dict(dotted(run.config)) for run in runs]
    keys = list(dict.fromkeys(key for table in flat for key in table if key != "output"))
    rows = [(key, [_shown(table.get(key)) for table in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = parse_json(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return None
    return record if isinstance(record.get("update"), int) else None


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _config(path: Path) -> dict[str, Any]:
    """The recipe; empty if it cannot be read, since curves do not need it."""
    try:
        return parse_toml(read_input(path))
    except (OSError, ValueError, UserError):
        return {}


def _shown(value: Any) -> str:
    return "(default)" if value is None else str(value)
