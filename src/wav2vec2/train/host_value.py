"""A number on its way from the device to the host."""

import torch
from torch import Tensor


class HostValue:
    """Copies a scalar to the host behind what is queued. Reading it waits for that work alone, not for later work."""

    def __init__(self, value: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._value = value.detach()
        if value.is_cuda:
            self._value = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
            self._value.copy_(value.detach(), non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(value.device))

    def read(self) -> float:
        """Wait for the copy and return the number."""
        if self._event is not None:
            self._event.synchronize()
        return float(self._value)
