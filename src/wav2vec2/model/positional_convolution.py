"""Relative positional embedding by a grouped convolution (section 2, "Contextualized representations with
Transformers").

Kernel 128, 16 groups, GELU. The weight is normalised, with one learned length for each kernel tap.

Legend: T frames, C channels, c channels of a group, K kernel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.model.cpu.gelu import Gelu
from wav2vec2.model.cpu.overlap_save import OverlapSave
from wav2vec2.model.layout import Layout, Packed


class PositionalConvolution(nn.Module):
    """x (frames, C) -> GELU(conv(x)), of the same shape; frames beyond an utterance's end count as zeros."""

    def __init__(self, channels: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        weight = torch.empty(channels, channels // groups, kernel).normal_(0.0, (4.0 / (kernel * channels)) ** 0.5)
        self.weight_g = nn.Parameter(weight.norm(dim=(0, 1), keepdim=True))
        self.weight_v = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(channels))

    @property
    def weight(self) -> Tensor:
        """(C, c, K), normalised."""
        return self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))  # type: ignore[no-any-return]

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Frames in either layout."""
        if isinstance(layout, Packed):
            if not layout.frames:  # every utterance is below the receptive field: there is nothing to transform
                return x
            y = OverlapSave.apply(x, self.weight, self.groups, layout)  # type: ignore[no-untyped-call]
            return Gelu.apply(y + self.bias)  # type: ignore[no-any-return,no-untyped-call]
        kernel = self.weight_v.shape[2]
        x = torch.where(layout.valid[:, :, None], x, 0).transpose(1, 2)
        y = F.conv1d(x, self.weight.to(x.dtype), self.bias, padding=kernel // 2, groups=self.groups)
        # an even kernel gives one frame too many: the last is dropped
        return F.gelu(y[:, :, : x.shape[2]].transpose(1, 2))
