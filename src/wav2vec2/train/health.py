"""Health checks that stop a run: collapse, numbers that are not finite, a loss that stays at chance.

A collapse of pre-training looks like success: all frames share one code, the loss falls to 0, the accuracy rises to 1.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from wav2vec2.errors import UserError
from wav2vec2.train.options import HealthConfig

LEAST_LOSS, MOST_ACCURACY = 0.01, 0.99
"""Of a contrastive task that still has something to tell apart: nats, and share of the frames."""


class Verdict(UserError):
    """What is wrong with a run, and the number that this rests on: it must not go on as it is."""


class HealthMonitor:
    """Checks the numbers of each log line; stops the run after ``patience`` suspicious lines in a row.

    Args:
        config: thresholds.
        updates: length of the run.
        chance: loss of guessing, in nats (of a contrastive loss: ln of 1 + distractors). None: only check that numbers
            are finite.
        codebooks: their number, and the entries of each; (0, 0) for a model without codebooks.
        judged: name of the number that is compared with chance.
    """

    def __init__(
        self,
        config: HealthConfig,
        updates: int,
        *,
        chance: float | None,
        codebooks: tuple[int, int] = (0, 0),
        judged: str = "contrastive",
    ) -> None:
        self._config, self._updates, self._chance = config, updates, chance
        self._codebooks, self._judged = codebooks, judged

    def check(self, streak: int, update: int, numbers: Mapping[str, float], where: str, judged_from: int = 0) -> int:
        """Check a log line that follows ``streak`` suspicious lines in a row; return the new streak.

        Args:
            streak: suspicious lines in a row before.
            update: of the line.
            numbers: of the line.
            where: folder of the run, for the message.
            judged_from: update from which the times without a check count.

        Raises:
            Verdict: the run must not go on. The message says what is wrong, by which number, and what to change.
        """
        if not self._config.enabled:
            return streak
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise Verdict(
                    f"{where}: '{name}' is {value} at update {update}: lower train.lr, or use train.precision fp32"
                )
        finding = self._suspicion(update - judged_from, numbers) if self._chance is not None else ""
        streak = streak + 1 if finding else 0
        if finding and streak >= self._config.patience:
            raise Verdict(f"{where}: update {update}: {finding}")
        return streak

    def _suspicion(self, heard: int, numbers: Mapping[str, float]) -> str:
        assert self._chance is not None
        if "accuracy" in numbers and heard >= self._config.grace_share * self._updates:
            if collapsed := self._collapsed_codebook(numbers):
                return f"{collapsed}: lower train.lr, or raise loss.diversity_weight or batch.seconds"
            loss, accuracy = numbers["contrastive"], numbers["accuracy"]
            if loss < LEAST_LOSS or accuracy > MOST_ACCURACY:
                return (
                    f"the contrastive task has collapsed (loss {loss:.4f} nats, accuracy {accuracy:.4f}; below "
                    f"{LEAST_LOSS:g} or above {MOST_ACCURACY:g} is no success): lower train.lr, or raise batch.seconds"
                )
        late = heard >= self._config.chance_share * self._updates
        loss = numbers[self._judged]
        if late and abs(loss - self._chance) <= self._config.chance_margin:
            larger = "batch.seconds or loss.diversity_weight" if self._codebooks[0] else "the batch"
            return (
                f"the loss, {loss:.3f} nats, is still at chance ({self._chance:.3f} nats): halve train.lr, or raise "
                f"{larger}"
            )
        return ""

    def _collapsed_codebook(self, numbers: Mapping[str, float]) -> str:
        groups, entries = self._codebooks
        limit = min(self._config.collapse_perplexity, max(1.5, entries / 4))
        for group in range(1, groups + 1):
            perplexity = numbers[f"code_perplexity_{group}"]
            if perplexity <= limit:
                return (
                    f"codebook {group} of {groups} uses {perplexity:.1f} of {entries} entries (code perplexity; "
                    f"{limit:g} or less is a collapse)"
                )
        return ""


def first_bad_parameter(model: nn.Module) -> str:
    """Name of the first parameter that is not finite, or else of the first gradient; "" if all are finite."""
    for name, parameter in model.named_parameters():
        if not bool(_local(parameter).isfinite().all()):
            return f"parameter {name}"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(_local(parameter.grad).isfinite().all()):
            return f"gradient of {name}"
    return ""


def _local(tensor: Tensor) -> Tensor:
    """This process's part of a sharded tensor; any other tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def first_bad_module(model: nn.Module, forward: Callable[[], Any]) -> str:
    """Call ``forward`` and name the first module of ``model`` whose output is not finite; "" if all are finite."""
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if not found and not _all_finite(output):
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in hooks:
            handle.remove()
    return f"output of {found[0]}" if found else ""


def _all_finite(output: Any) -> bool:
    if isinstance(output, Tensor):
        return not output.is_floating_point() or bool(output.isfinite().all())
    if isinstance(output, (tuple, list)):
        return all(_all_finite(item) for item in output)
    return True
