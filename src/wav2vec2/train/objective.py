"""What the training loop asks of pre-training and of fine-tuning, and what it has to know of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from wav2vec2.data.dataset import MicroBatch
from wav2vec2.train.options import HealthConfig, LogConfig, TrainConfig


class Objective(Protocol):
    """What pre-training and fine-tuning do differently."""

    model: nn.Module
    chance: float | None
    """Loss of guessing in nats, None if there is no such level."""
    groups: int
    """Codebooks, 0 if there are none."""

    def trained(self, update: int) -> list[nn.Parameter]:
        """Parameters that this update changes."""

    def counts(self, batches: list[MicroBatch], update: int) -> Tensor:
        """(n,) float64: this process's share of the numbers that losses are divided by."""

    def loss(
        self, batch: MicroBatch, number: int, counts: Tensor, update: int
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Loss of micro-batch ``number`` given the global counts (None for an empty one), and sums to report."""

    def sums(self) -> dict[str, Tensor]:
        """Zeros, one for each sum that ``loss`` reports."""

    def numbers(self, sums: dict[str, Tensor], update: int) -> dict[str, float]:
        """What to log, from sums over all processes and some updates."""

    def describe(self, numbers: dict[str, float]) -> str:
        """The middle of a console line."""

    def validate(self) -> dict[str, float] | None:
        """Numbers on held-out speech; "score" is the one that decides, lower is better. None without such speech."""

    def remarks(self) -> list[str]:
        """Lines to show after a validation."""

    def export(self, directory: Path) -> None:
        """Write a model directory."""


@dataclass(frozen=True)
class Run:
    """What the loop needs to know beyond the objective. ``config`` is the whole resolved recipe."""

    config: Any
    output: Path
    seed: int
    batch_seconds: float
    train: TrainConfig
    log: LogConfig
    health: HealthConfig
    fingerprint: str
    """Of the utterances that the plan draws from."""

    @classmethod
    def of(cls, config: Any, fingerprint: str) -> "Run":
        """The run that a recipe of pre-training or fine-tuning describes."""
        return cls(
            config=config,
            output=Path(config.output),
            seed=config.seed,
            batch_seconds=config.batch.seconds,
            train=config.train,
            log=config.log,
            health=config.health,
            fingerprint=fingerprint,
        )
