"""Where and how fast the stages of a plan run, as keys of recipes and as arguments of commands."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Machine:
    """device: auto, cpu, cuda. workers: processes for preparing and decoding; threads: of each training on a CPU; 0 of
    either: the default.
    """

    device: str
    workers: int
    threads: int

    def training_keys(self) -> dict[str, Any]:
        """Keys of a recipe that choose where and how fast a training runs."""
        keys: dict[str, Any] = {"log.tensorboard": False}
        if self.threads:
            keys["train.threads"] = self.threads
        if self.device != "auto":
            keys["train.device"] = self.device
        return keys

    def decoding_arguments(self) -> tuple[str, ...]:
        """Arguments of commands that decode, which choose where and how fast they run."""
        return (*self.preparing_arguments(), *self.device_arguments())

    def preparing_arguments(self) -> tuple[str, ...]:
        """Arguments of prepare that choose how fast it runs."""
        return ("--workers", str(self.workers)) if self.workers else ()

    def device_arguments(self) -> tuple[str, ...]:
        """The argument that chooses a device, if one is chosen."""
        return () if self.device == "auto" else ("--device", self.device)
