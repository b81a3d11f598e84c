"""What the training loop asks of pre-training, fine-tuning and language models, and what it has to know of a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from wav2vec2.data.dataset import Update
from wav2vec2.data.sampler import Plan, Position
from wav2vec2.train.options import HealthConfig, LogConfig, TrainConfig


class Batch(Protocol):
    """One process's share of one forward pass, of speech or of text."""

    @property
    def amount(self) -> Tensor:
        """What it holds, in the loader's unit."""

    @property
    def padded_amount(self) -> float:
        """What is computed for it, padding included."""

    @property
    def bad(self) -> tuple[str, ...]:
        """One line for each row that could not be read."""

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return it on a device."""


BatchT = TypeVar("BatchT", bound=Batch)
ReadBatchT = TypeVar("ReadBatchT", bound=Batch, covariant=True)
GivenBatchT = TypeVar("GivenBatchT", bound=Batch, contravariant=True)


class Loader(Protocol[ReadBatchT]):
    """Gives updates in the order of a plan."""

    unit: str
    """What batches are measured in: "seconds" of audio or "tokens" of text."""

    @property
    def plan(self) -> Plan:
        """What comes in which order."""

    def updates(self, position: Position) -> Iterator[Update[ReadBatchT]]:
        """Yield updates for ever, from a position on."""


class Objective(Protocol[GivenBatchT]):
    """What pre-training, fine-tuning and language models do differently."""

    model: nn.Module
    """The model in training: its parameters are trained, it is saved and exported."""
    chance: float | None
    """Loss of guessing in nats, None if there is no such level."""
    judged: str
    """Which of ``numbers`` is compared with chance."""
    codebooks: tuple[int, int]
    """How many there are, and entries of each; (0, 0) if there are none."""

    def trained(self, update: int) -> list[nn.Parameter]:
        """Parameters that this update changes."""

    def counts(self, batches: Sequence[GivenBatchT], update: int) -> Tensor:
        """(n,) float64: this process's share of the numbers that losses are divided by."""

    def loss(
        self, module: nn.Module, batch: GivenBatchT, number: int, counts: Tensor, update: int
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Loss of micro-batch ``number`` given the global counts (None for an empty one), and sums to report.

        ``module`` is what is called: the model, or what wraps it.
        """

    def sums(self) -> dict[str, Tensor]:
        """Zeros, one for each sum that ``loss`` reports."""

    def numbers(self, sums: dict[str, Tensor], update: int) -> dict[str, float]:
        """What to log, from sums over all processes and some updates."""

    def describe(self, numbers: dict[str, float]) -> str:
        """The middle of a console line."""

    def validate(self, module: nn.Module) -> dict[str, float] | None:
        """Numbers of ``module`` on held-out data; "score" decides, lower is better. None without such data."""

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
    batch_seconds: float | None
    """Audio of one update; None for text."""
    train: TrainConfig
    log: LogConfig
    health: HealthConfig
    fingerprint: str
    """Of the utterances that the plan draws from."""

    @classmethod
    def of(cls, config: Any, fingerprint: str) -> "Run":
        """The run that a recipe of pre-training, fine-tuning or a language model describes."""
        return cls(
            config=config,
            output=Path(config.output),
            seed=config.seed,
            batch_seconds=getattr(config.batch, "seconds", None),
            train=config.train,
            log=config.log,
            health=config.health,
            fingerprint=fingerprint,
        )
