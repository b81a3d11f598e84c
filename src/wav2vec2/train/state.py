"""The progress of a run, which its checkpoints save, and the sums that its next log line averages."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from wav2vec2.data.sampler import Position
from wav2vec2.errors import quoted
from wav2vec2.train import distributed


@dataclass
class RunState:
    """How far a run has got. A checkpoint holds exactly these fields, besides weights, moments and the log window."""

    update: int = 0
    """Updates done, including skipped ones."""
    position: Position = field(default_factory=Position)
    """Place of the next batch in the plan."""
    best: float | None = None
    """Lowest validation score so far; None before the first validation."""
    best_update: int = 0
    validated_at: int = 0
    """Update after which the last validation was made. One that is due may be missing: the run was asked to stop."""
    skips: int = 0
    """Updates skipped in a row because the gradient was not finite or no recording could be read."""
    bad_files: int = 0
    """Utterances that could not be read so far."""
    health_streak: int = 0
    """Suspicious log lines in a row."""
    judged_from: int = 0
    """Update from which the health checks count: where the run went back to, if it did."""
    lr_scale: float = 1.0
    """Factor of the learning rate: below 1 after the run went back to a good checkpoint."""

    def as_plain(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return asdict(self) | {"position": [self.position.epoch, self.position.position]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "RunState":
        """Inverse of :meth:`as_plain`; other keys are ignored.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or impossible.
        """
        later = {"validated_at": plain["update"], "judged_from": 0, "lr_scale": 1.0}  # unknown to older versions
        values = {one.name: plain[one.name] for one in fields(cls) if one.name in plain or one.name not in later}
        values = later | values
        best, position, scale = values.pop("best"), values.pop("position"), values.pop("lr_scale")
        for value in (*values.values(), *position):
            if type(value) is not int or not 0 <= value < 1 << 62:
                raise ValueError(f"{quoted(value)} is not a count")
        if best is not None and type(best) not in (float, int):
            raise ValueError(f"best is {quoted(best)}")
        if type(scale) is not float or not 0 < scale <= 1:
            raise ValueError(f"lr_scale is {quoted(scale)}")
        return cls(**values, best=best, lr_scale=scale, position=Position(*position))


_ALIKE = ("gradient_norm", "updates", "skipped")
"""Sums that are the same on all processes."""


class LogWindow:
    """Sums over the updates since the last log line, and over all processes; and the time that these updates took.

    Args:
        unit: unit of the batch size, "seconds" or "tokens".
        terms: a zero for each sum that the objective reports.
        device: where the sums are kept.

    Attributes:
        sums: float64, by name, over all processes as of the last ``gather``: those of the objective, ``updates``,
            ``skipped``, ``gradient_norm``, and the amount of data with and without padding.
        busy: seconds spent on the updates.
        waited: how many of these seconds were spent waiting for data.
        saving: seconds besides, in which training waited for checkpoints.
    """

    def __init__(self, unit: str, terms: Mapping[str, Tensor], device: torch.device) -> None:
        self.unit = unit
        names = (unit, f"padded_{unit}", *_ALIKE)
        own = {name: torch.zeros((), dtype=torch.float64) for name in names}
        self._local = {name: value.to(device) for name, value in (own | dict(terms)).items()}
        self.sums = self.zeros()
        self.busy = self.waited = self.saving = 0.0

    def zeros(self) -> dict[str, Tensor]:
        """A zero for each sum, in which one process adds up one update."""
        return {name: torch.zeros_like(value) for name, value in self._local.items()}

    def add(self, sums: Mapping[str, Tensor], norm: Tensor) -> None:
        """Add an update: this process's ``sums`` and the norm of the gradient, without waiting for either.

        A skipped update (its norm is not finite) is only counted: its sums might not be finite either.
        """
        finite = norm.isfinite()
        for name, value in sums.items():
            self._local[name] += torch.where(finite, value, 0)
        self._local["gradient_norm"] += torch.where(finite, norm.double(), 0)
        self._local["updates"] += finite
        self._local["skipped"] += ~finite

    def skip(self) -> None:
        """Count an update that was not taken at all."""
        self._local["skipped"] += 1

    def gather(self) -> dict[str, Tensor]:
        """Set ``sums``, by adding up over processes what is not the same on all of them, and return it."""
        differing = [name for name in self._local if name not in _ALIKE]
        flat = distributed.sum_over_ranks(torch.cat([self._local[name].reshape(-1) for name in differing]))
        pieces = flat.split([self._local[name].numel() for name in differing])
        self.sums = {name: value.clone() for name, value in self._local.items()}
        for name, piece in zip(differing, pieces, strict=True):
            self.sums[name] = piece.view_as(self._local[name]).clone()
        return self.sums

    def resume(self) -> None:
        """Go on from ``sums``, which have been read from a checkpoint."""
        first = distributed.place()[0] == 0
        for name, value in self.sums.items():
            self._local[name] = value.clone() if first or name in _ALIKE else torch.zeros_like(value)

    def clear(self) -> None:
        """Start the next window."""
        self._local = self.zeros()
        self.sums = self.zeros()
        self.busy = self.waited = self.saving = 0.0

    @property
    def taken(self) -> float:
        """Updates that were not skipped."""
        return float(self.sums["updates"])

    @property
    def rate(self) -> float:
        """Seconds of audio, or tokens, per second."""
        return float(self.sums[self.unit]) / max(1e-9, self.busy)

    @property
    def seconds_per_update(self) -> float:
        """Mean time of an update, including skipped ones."""
        return self.busy / max(1.0, self.taken + float(self.sums["skipped"]))

    def numbers(self) -> dict[str, float]:
        """Numbers that every run logs, besides those of its objective and its speed."""
        return {
            "gradient_norm": float(self.sums["gradient_norm"]) / max(1.0, self.taken),
            "skipped": float(self.sums["skipped"]),
            "padding": 1.0 - float(self.sums[self.unit]) / max(1e-9, float(self.sums[f"padded_{self.unit}"])),
        }

    def speed(self) -> dict[str, float]:
        """Throughput, the share of time spent waiting for data, and the seconds spent waiting for checkpoints."""
        share = self.waited / max(1e-9, self.busy)
        return {f"{self.unit}_per_second": self.rate, "wait_share": share, "save_seconds": self.saving}
