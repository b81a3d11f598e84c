"""``wav2vec2 report budget``: what a pre-training can buy, on published curves, before it is paid for."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from wav2vec2.errors import UserError
from wav2vec2.report.run_log import RunLog, read_run
from wav2vec2.train.pretrain.forecast import (
    CPU_RATE,
    NVIDIA_ACCURACY,
    NVIDIA_BATCH_SECONDS,
    PUBLISHED,
    beside_published,
)


@dataclass(frozen=True)
class BudgetOptions:
    """Say what a pre-training can buy: the hours of speech that it hears, beside the results of published runs.

    Hours heard are batch times updates: the same recording counts each time that it is heard. They decide more than
    anything else how good a model is that was trained from random weights.
    """

    runs: Annotated[tuple[Path, ...], Positional, arg(metavar="[RUN ...]")] = ()
    """Folders of pre-training runs, begun or finished: their speed, and their hours."""
    hours: float | None = None
    """Hours of this machine that you can spend; by default a day."""
    rate: float | None = None
    """Seconds of speech that the machine hears in a second, as a run's log shows it ("4 s of audio a second")."""


def run(options: BudgetOptions) -> None:
    """Print the published results and what the budget buys. Raises UserError for impossible numbers or no runs."""
    for name, value in (("hours", options.hours), ("rate", options.rate)):
        if value is not None and not 0 < value < 1e9:
            raise UserError(f"--{name} {value:g}: must be a number above 0")
    lines = [*_published(), ""]
    spent = 24.0 if options.hours is None else options.hours
    for path in options.runs:
        lines += [*_of_run(read_run(path), spent, options.rate), ""]
    if not options.runs:
        rate = options.rate or CPU_RATE
        machine = "a machine" if options.rate else "two CPU cores, BASE"
        lines += [f"{machine}: {rate:g} s of speech a second", *_bought(spent, rate), ""]
    lines.append("A published encoder has heard all this already: 'adapt' and 'finetune --init' start from one.")
    print("\n".join(lines))


def _published() -> Iterator[str]:
    yield "BASE, LibriSpeech, 10 min of labels, no language model, test-clean (arXiv 2402.13723):"
    for hours, rate in PUBLISHED:
        yield f"{hours:>12,.0f} h heard  {rate:5.0f} % WER"
    yield "BASE with an Hourglass Transformer, LibriSpeech (NVIDIA DeepLearningExamples, mean of eight runs):"
    for updates, accuracy, wer in NVIDIA_ACCURACY:
        hours = updates * NVIDIA_BATCH_SECONDS / 3600
        after = "" if wer is None else f", {wer:.1f} % WER on dev-other with 960 h of labels"
        yield f"{hours:>12,.0f} h heard at most  accuracy {accuracy:.3f}{after}"


def _of_run(log: RunLog, spent: float, rate: float | None) -> Iterator[str]:
    if log.kind != "pre-training":
        raise UserError(f"{log.path.parent}: is a run of {log.kind}; give one that pre-trains")
    batch, updates = _number(log, "batch", "seconds"), _number(log, "train", "updates")
    done = max(log.train, default=0)
    if batch is None or updates is None:
        raise UserError(f"{log.path.parent}: lacks its config.toml, which says how large a batch is; copy it there")
    heard, planned = done * batch / 3600, updates * batch / 3600
    measured = log.last("train", "seconds_per_second")
    yield f"{log.name}: {heard:,.1f} h heard of {planned:,.1f} planned: {beside_published(planned)}"
    accuracy = log.last("validation", "accuracy")
    if math.isfinite(accuracy):
        yield f"  accuracy on held-out speech {accuracy:.3f}; chance and task differ from those of other recipes"
    rate = rate or (measured if math.isfinite(measured) else None)
    if rate is None:
        yield "  its log has no speed yet; give --rate"
        return
    yield f"  {rate:.3g} s of speech a second"
    yield from _bought(spent, rate)


def _bought(spent: float, rate: float) -> Iterator[str]:
    hours = spent * rate
    yield f"  {spent:g} h of the machine: {hours:,.0f} h heard: {beside_published(hours)}"
    for wanted, wer in PUBLISHED:
        yield f"  {wanted:>10,.0f} h heard (BASE: {wer:.0f} % WER): {_duration(wanted / rate)} of the machine"


def _duration(hours: float) -> str:
    if hours < 48:
        return f"{hours:.1f} h"
    days = hours / 24
    return f"{days:,.0f} days" if days < 730 else f"{days / 365.25:,.1f} years"


def _number(log: RunLog, section: str, name: str) -> float | None:
    table = log.config.get(section)
    value = table.get(name) if isinstance(table, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
