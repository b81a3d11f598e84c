"""Scale of the loss in float16, whose smallest numbers are too large for many gradients."""

import torch
from torch import Tensor

_START, _GROWTH, _BACKOFF, _INTERVAL = 65_536.0, 2.0, 0.5, 2_000


class LossScale:
    """A factor on the loss, halved when a gradient overflows and doubled after 2,000 updates without.

    It lives on the device, so that the host waits for nothing. Where it is not needed (``used`` False) it is 1.
    """

    def __init__(self, device: torch.device, *, used: bool) -> None:
        self.used = used
        self.factor = torch.full((), _START if used else 1.0, device=device)
        self._updates = torch.zeros((), dtype=torch.int32, device=device)

    def adjust(self, norm: Tensor) -> None:
        """Learn from the norm of a gradient."""
        if self.used:
            overflow = (~norm.isfinite()).float()
            torch._amp_update_scale_(self.factor, self._updates, overflow, _GROWTH, _BACKOFF, _INTERVAL)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint holds: the live tensors, which are filled when it is read; {} where it is not used."""
        return {"loss_scale": {"factor": self.factor, "updates": self._updates}} if self.used else {}
