"""The precision that training computes in: what the recipe asks for, or what the device has in its place."""

from dataclasses import dataclass

import torch

from wav2vec2.device import has_bf16
from wav2vec2.model.cpu import half
from wav2vec2.train.options import TrainConfig

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
_IMITATED = (
    "train.precision = bf16 is slow on this processor, which has neither AVX512_BF16 nor AMX: products are rounded to "
    "bfloat16 and computed in float32, which takes longer than train.precision = fp32"
)
_REPLACED = (
    "this GPU does not compute in bf16: train.precision = bf16 is carried out as fp16, with a scaled loss (a few "
    "updates may be skipped while the scale is found)"
)


@dataclass(frozen=True)
class Precision:
    """Types of a run's numbers on its device."""

    weights: torch.dtype
    """Of weights, gradients and moments."""
    products: torch.dtype | None
    """Of matrix products, under autocast; None: as the weights."""
    residual: torch.dtype
    """Of what goes from block to block, where products are in half precision."""
    line: str | None = None
    """What the user should know."""

    @property
    def scaled(self) -> bool:
        """Whether the loss is scaled, so that small gradients are not lost."""
        return self.products == torch.float16


def precision_on(device: torch.device, config: TrainConfig) -> Precision:
    """What ``train.precision`` means on a device: a card without bf16 computes in fp16 instead."""
    weights = torch.float64 if config.precision == "fp64" else torch.float32
    products = _HALF.get(config.precision)
    residual = torch.bfloat16 if config.residual == "bf16" else torch.float32
    if config.precision == "bf16" and device.type == "cuda" and not has_bf16(device):
        return Precision(weights, torch.float16, torch.float32, _REPLACED)
    imitated = config.precision == "bf16" and device.type == "cpu" and not half.native()
    return Precision(weights, products, residual, _IMITATED if imitated else None)
