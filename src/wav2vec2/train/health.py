"""Signs of a sick run: collapse, numbers that are not finite, a loss that never leaves chance; each stops the run.

Collapse of pre-training looks like success: the loss goes to 0 and the accuracy to 1 because all frames share one code.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wav2vec2.errors import UserError
from wav2vec2.train.options import HealthConfig


class HealthMonitor:
    """Judges the numbers of each log line; a verdict needs ``patience`` suspicious lines in a row.

    Args:
        config: thresholds.
        updates: length of the run.
        chance: loss of guessing, in nats (ln of 1 + negatives); None switches the judgements of pre-training off.
        groups: codebooks; the code perplexity of a collapsed quantizer. 0: there are none, collapse is not judged.
        judged: name of the number that is compared with chance.
    """

    def __init__(
        self, config: HealthConfig, updates: int, *, chance: float | None, groups: int = 0, judged: str = "contrastive"
    ) -> None:
        self._config, self._updates, self._chance = config, updates, chance
        self._groups, self._judged = groups, judged
        self.streak = 0

    def check(self, update: int, numbers: Mapping[str, float], where: str) -> None:
        """Look at the numbers of one log line; ``where`` names the run's folder in the message.

        Raises:
            UserError: the run is sick; the message says how, and what to change.
        """
        if not self._config.enabled:
            return
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise UserError(
                    f"{where}: '{name}' is {value} at update {update}: lower train.lr or use train.precision fp32"
                )
        finding = self._suspicion(update, numbers) if self._chance is not None else ""
        self.streak = self.streak + 1 if finding else 0
        if finding and self.streak >= self._config.patience:
            raise UserError(f"{where}: update {update}: {finding}")

    def _suspicion(self, update: int, numbers: Mapping[str, float]) -> str:
        assert self._chance is not None
        if "accuracy" in numbers and update >= self._config.grace_share * self._updates:
            if self._groups and numbers["code_perplexity"] <= self._groups + 0.5:
                return (
                    "the codebook has collapsed (one entry in use per group): "
                    "lower train.lr, raise loss.diversity_weight or batch.seconds"
                )
            if numbers["contrastive"] < 0.01 or numbers["accuracy"] > 0.99:
                return (
                    "the contrastive task has collapsed (loss near 0, accuracy near 1): "
                    "lower train.lr or raise batch.seconds"
                )
        late = update >= self._config.chance_share * self._updates
        if late and abs(numbers[self._judged] - self._chance) <= self._config.chance_margin:
            larger = "batch.seconds or loss.diversity_weight" if self._groups else "the batch"
            return f"the loss has never left chance ({self._chance:.3f} nats): halve train.lr, or raise {larger}"
        return ""


def first_bad_parameter(model: nn.Module) -> str:
    """Name of the first parameter whose value, else whose gradient, is not finite; "" if there is none."""
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            return f"parameter {name}"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            return f"gradient of {name}"
    return ""


def first_bad_module(model: nn.Module, forward: Callable[[], Any]) -> str:
    """Run ``forward`` once more and name the first module whose output is not finite; "" if there is none."""
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
