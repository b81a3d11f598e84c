"""Layers of other published models, and optional layers of the quantizer and its targets.

Legend: frames are (N, d) packed or (B, T, d) padded; T frames, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.model.layout import Layout


class StackedPositionalConvolution(nn.Module):
    """Positional embedding of data2vec: ``depth`` short convolutions, each followed by a layer norm without parameters
    and a GELU.

    Their kernel is the given one divided by ``depth``, at least 3; none is weight-normalised. Frames beyond an
    utterance's end count as zeros before every convolution.
    """

    def __init__(self, channels: int, kernel: int, groups: int, depth: int) -> None:
        super().__init__()
        short = max(3, kernel // depth)
        self.layers = nn.ModuleList(
            nn.Conv1d(channels, channels, short, padding=short // 2, groups=groups) for _ in range(depth)
        )

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Frames in either layout."""
        y = layout.pad(x)
        frames = y.shape[1]
        if not frames:  # every utterance is below the receptive field
            return x
        lengths = torch.as_tensor(layout.lengths, device=x.device)
        valid = (torch.arange(frames, device=x.device) < lengths[:, None])[:, :, None]
        for conv in self.layers:
            # an even kernel gives one frame too many: the last is dropped
            y = conv(torch.where(valid, y, 0).transpose(1, 2))[:, :, :frames].transpose(1, 2)
            y = F.gelu(F.layer_norm(y, y.shape[-1:]))
        return layout.pack(y)


class LanguageAdapter(nn.Module):
    """Residual block that holds one language of a multilingual model (MMS): layer norm, down to a few channels, ReLU,
    up again.
    """

    def __init__(self, size: int, bottleneck: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.down = nn.Linear(size, bottleneck)
        self.up = nn.Linear(bottleneck, size)

    def forward(self, x: Tensor) -> Tensor:
        """Frames -> the residual to add to them."""
        return self.up(F.relu(self.down(self.norm(x))))  # type: ignore[no-any-return]


def logit_layers(size: int, outputs: int, depth: int, widening: int = 3) -> nn.Linear | nn.Sequential:
    """``depth`` linear layers with GELU between them, all but the last ``widening`` * ``size`` wide.

    The paper's quantizer has one.
    """
    if depth == 1:
        return nn.Linear(size, outputs)
    layers: list[nn.Module] = []
    for number in range(depth - 1):
        layers += [nn.Linear(size if number == 0 else size * widening, size * widening), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(size * widening, outputs))


def gated_unit(size: int, wanted: bool) -> nn.Module:
    """A linear layer and a gated linear unit over ``size`` channels; the identity unless ``wanted``."""
    return nn.Sequential(nn.Linear(size, 2 * size), nn.GLU()) if wanted else nn.Identity()


def reset_linear(*modules: nn.Module) -> None:
    """Give every linear layer of ``modules`` new initial values."""
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
