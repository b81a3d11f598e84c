"""Choosing the device to compute on by the name that a user gives, and copying small tensors to it."""

import torch
from torch import Tensor

from wav2vec2.errors import UserError, quoted


def usable_device(name: str, *, option: str = "device", local_rank: int = 0) -> torch.device:
    """Return the device that `name` means: `auto` is a GPU if there is one, and the CPU otherwise.

    `cuda` without a number is GPU `local_rank`, so that each process of a machine takes its own. `option` is what error
    messages call the setting. Raises UserError for a device that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", local_rank)
        usable = torch.empty(0, device=device).device.type != "meta"
    except (RuntimeError, AssertionError):
        usable = False
    if not usable:
        raise UserError(f"{option}: {quoted(name)} is not usable here; choose auto or cpu")
    return device


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a small tensor on a device, to a GPU through page-locked memory, so that the host need not wait."""
    if device.type == "cuda" and torch.cuda.is_available():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
