"""Bayesian optimisation of two numbers, with a log of the trials, so that an interrupted search can continue."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import MOST_LINES, parse_json, read_text
from wav2vec2.text.error_rate import ErrorCounts

_STARTUP = 16
"""Random trials before the model of the good trials guides the search."""


@dataclass(frozen=True)
class Trial:
    """A pair of weights and the errors it gave. rate: errors per reference token."""

    lm_weight: float
    word_score: float
    errors: int
    rate: float


def optimise(
    objective: Callable[[float, float], ErrorCounts],
    ranges: tuple[tuple[float, float], tuple[float, float]],
    *,
    trials: int,
    seed: int,
    first: tuple[float, float],
    log: Path,
    identity: Mapping[str, Any],
) -> Iterator[Trial]:
    """Yield `trials` trials, starting with those that `log` already holds.

    ranges: of LM weight and word score. first: a pair that is tried before all others, if it lies in the ranges.
    identity: everything that the errors depend on.

    Raises UserError for a log that has another identity or cannot be read.
    """
    import optuna
    from optuna.distributions import FloatDistribution
    from optuna.trial import create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: FloatDistribution(*r) for name, r in zip(("lm_weight", "word_score"), ranges, strict=True)}
    done = _read(log, identity)[:trials]
    # The state of the sampler is not in the log: another seed keeps it from drawing the same pairs again.
    sampler = optuna.samplers.TPESampler(seed=seed + 1000 * len(done), n_startup_trials=_STARTUP)
    study = optuna.create_study(sampler=sampler)
    for old in done:
        params = {"lm_weight": old.lm_weight, "word_score": old.word_score}
        study.add_trial(create_trial(params=params, distributions=dict(space), value=old.rate))
        yield old
    if not done and all(low <= value <= high for value, (low, high) in zip(first, ranges, strict=True)):
        study.enqueue_trial({"lm_weight": first[0], "word_score": first[1]})
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:  # rewritten, because the last line may be incomplete
        file.writelines(json.dumps(entry) + "\n" for entry in (dict(identity), *map(asdict, done)))
        file.flush()
        for _ in range(trials - len(done)):
            asked = study.ask(dict(space))
            counts = objective(asked.params["lm_weight"], asked.params["word_score"])
            study.tell(asked, counts.rate)
            trial = Trial(asked.params["lm_weight"], asked.params["word_score"], counts.errors, counts.rate)
            file.write(json.dumps(asdict(trial)) + "\n")
            file.flush()
            yield trial


def _read(log: Path, identity: Mapping[str, Any]) -> list[Trial]:
    try:
        lines = read_text(log, most=MOST_LINES).splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{log}: the trials cannot be read ({cause(error)}); delete the file") from error
    if not lines:
        return []
    try:
        if parse_json(lines[0]) != dict(identity):
            raise UserError(f"{log}: holds the trials of another search; name another --out or delete the file")
        found = []
        for number, line in enumerate(lines[1:], 2):
            try:
                found.append(Trial(**parse_json(line)))
            except ValueError:
                if number < len(lines):  # the last line may be incomplete after a kill
                    raise
        return found
    except (ValueError, TypeError) as error:
        raise UserError(f"{log}: is not a log of trials ({cause(error)}); delete the file") from error
