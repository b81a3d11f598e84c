"""Interfaces of the training loop: batches, loaders, objectives, and the settings of a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from wav2vec2.data.dataset import Update
from wav2vec2.data.sampler import Plan, Position
from wav2vec2.train.options import HealthConfig, LogConfig, ParallelConfig, TrainConfig


class Batch(Protocol):
    """One process's share of a forward pass, of speech or of text."""

    @property
    def amount(self) -> Tensor:
        """Data in it, in the loader's unit."""

    @property
    def padded_amount(self) -> float:
        """The same with padding."""

    @property
    def bad(self) -> tuple[str, ...]:
        """A line for each utterance that could not be read."""

    @property
    def static(self) -> bool:
        """Whether its shape is one of few that come again and again, so that it pays to compile for it."""

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return the batch on a device."""


BatchT = TypeVar("BatchT", bound=Batch)
ReadBatchT = TypeVar("ReadBatchT", bound=Batch, covariant=True)


class Loader(Protocol[ReadBatchT]):
    """Yields the batches of each update, in the order of a plan."""

    unit: str
    """Unit of the batch size: "seconds" of audio or "tokens" of text."""

    @property
    def plan(self) -> Plan:
        """Which data come in which order."""

    def updates(self, position: Position) -> Iterator[Update[ReadBatchT]]:
        """Yield updates from a position on, without end."""


class Objective(Protocol[BatchT]):
    """Loss, validation and logging: what differs between pre-training, fine-tuning and language models."""

    model: nn.Module
    """The model whose parameters are trained, saved and exported."""
    chance: float | None
    """Loss of guessing, in nats; None if there is no such level."""
    judged: str
    """Name of the number that is compared with chance."""
    codebooks: tuple[int, int]
    """Number of codebooks and entries of each; (0, 0) without any."""

    def trained(self, update: int) -> list[nn.Parameter]:
        """Parameters that an update changes."""

    def ready(self, batch: BatchT, update: int) -> BatchT:
        """A micro-batch with what its forward pass needs besides, made on the host: masks, labels, counts.

        A process whose batch is empty gets a stand-in, where there are others: a forward pass is common work.
        """

    def counts(self, batches: Sequence[BatchT], update: int) -> Tensor:
        """(n,) float64, on the host: this process's part of the counts that the losses are divided by."""

    def loss(
        self, module: nn.Module, batch: BatchT, number: int, counts: Tensor, update: int
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Loss of micro-batch ``number`` (None for an empty one), and sums to log.

        Args:
            module: what is called: the model, or a wrapper of it.
            batch: this process's rows.
            number: of the micro-batch within the update.
            counts: (n,) counts over all processes.
            update: number of the update, from 0.
        """

    def sums(self) -> dict[str, Tensor]:
        """A zero for each sum that ``loss`` returns."""

    def numbers(self, sums: dict[str, Tensor], update: int) -> dict[str, float]:
        """Numbers to log, from sums over all processes and the updates of a window that ends with ``update``."""

    def describe(self, numbers: dict[str, float]) -> str:
        """The middle of a console line."""

    def validate(self, module: nn.Module) -> dict[str, float] | None:
        """Numbers on held-out data, None without such data. The weights with the lowest "score" are kept."""

    def remarks(self) -> list[str]:
        """Lines to print after a validation."""

    def export(self, model: nn.Module, directory: Path) -> None:
        """Write a model directory: of ``self.model``, or of a copy of it."""


@dataclass(frozen=True)
class Run:
    """Settings of a run."""

    config: Any
    """The whole resolved recipe."""
    output: Path
    seed: int
    batch_seconds: float | None
    """Audio of one update; None for text."""
    train: TrainConfig
    parallel: ParallelConfig
    log: LogConfig
    health: HealthConfig
    fingerprint: str
    """Hash of the training data: a resumed run must have the same."""
    fixed: frozenset[str] = frozenset()
    """Parameters that checkpoints leave out: every start finds the same values where it found them first."""

    @classmethod
    def of(cls, config: Any, fingerprint: str, fixed: frozenset[str] = frozenset()) -> "Run":
        """The run that a recipe of pre-training, fine-tuning or a language model describes."""
        return cls(
            config=config,
            output=Path(config.output),
            seed=config.seed,
            batch_seconds=getattr(config.batch, "seconds", None),
            train=config.train,
            parallel=config.parallel,
            log=config.log,
            health=config.health,
            fingerprint=fingerprint,
            fixed=fixed,
        )
