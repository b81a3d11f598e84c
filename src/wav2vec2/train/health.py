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

    def check(self, streak: int, update: int, numbers: Mapping[str, float], where: str) -> int:
        """Check a log line that follows ``streak`` suspicious lines in a row; return the new streak.

        ``where`` is the folder of the run, for the message.

        Raises:
            UserError: the run has to stop. The message says what is wrong and what to change.
        """
        if not self._config.enabled:
            return streak
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise UserError(
                    f"{where}: '{name}' is {value} at update {update}: lower train.lr, or use train.precision fp32"
                )
        finding = self._suspicion(update, numbers) if self._chance is not None else ""
        streak = streak + 1 if finding else 0
        if finding and streak >= self._config.patience:
            raise UserError(f"{where}: update {update}: {finding}")
        return streak

    def _suspicion(self, update: int, numbers: Mapping[str, float]) -> str:
        assert self._chance is not None
        if "accuracy" in numbers and update >= self._config.grace_share * self._updates:
            if collapsed := self._collapsed_codebook(numbers):
                return f"{collapsed}: lower train.lr, or raise loss.diversity_weight or batch.seconds"
            if numbers["contrastive"] < 0.01 or numbers["accuracy"] > 0.99:
                return (
                    "the contrastive task has collapsed (loss near 0, accuracy near 1): "
                    "lower train.lr, or raise batch.seconds"
                )
        late = update >= self._config.chance_share * self._updates
        if late and abs(numbers[self._judged] - self._chance) <= self._config.chance_margin:
            larger = "batch.seconds or loss.diversity_weight" if self._codebooks[0] else "the batch"
            return f"the loss is still at chance ({self._chance:.3f} nats): halve train.lr, or raise {larger}"
        return ""

    def _collapsed_codebook(self, numbers: Mapping[str, float]) -> str:
        groups, entries = self._codebooks
        limit = min(self._config.collapse_perplexity, max(1.5, entries / 4))
        for group in range(1, groups + 1):
            perplexity = numbers[f"code_perplexity_{group}"]
            if perplexity <= limit:
                return f"codebook {group} of {groups} uses {perplexity:.1f} of {entries} entries (code perplexity)"
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
