"""Choosing the device to compute on, and the type of its products, by the names that a user gives; small copies."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

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


InferencePrecision = Literal["auto", "float32", "bf16", "fp16"]
"""How a trained model computes its matrix products: auto is bf16 on a GPU that has it, and float32 elsewhere."""
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def product_type(precision: InferencePrecision, device: torch.device) -> torch.dtype | None:
    """Return the half-precision type that `precision` means on a device, None for float32.

    Raises UserError for bf16 on a GPU that would only imitate it.
    """
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "auto":
        return torch.bfloat16 if has_bf16 else None
    if precision == "bf16" and device.type == "cuda" and not has_bf16:
        raise UserError("precision: this GPU does not compute in bf16; choose fp16 or float32")
    return _HALF.get(precision)


def computing_in(half: torch.dtype | None, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which matrix products are computed in `half`; None: as everywhere.

    The weights stay as they are, and are converted once for each context.
    """
    return nullcontext() if half is None else torch.autocast(device.type, half)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a small tensor on a device, to a GPU through page-locked memory, so that the host need not wait."""
    if device.type == "cuda" and torch.cuda.is_available():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
