"""Context network (section 2, "Contextualized representations with Transformers"): masked features to context
vectors.
"""

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture, Regularization
from wav2vec2.model.cpu.dropout import DropoutKeys, dropout
from wav2vec2.model.layout import Layout
from wav2vec2.model.positional_convolution import PositionalConvolution, StackedPositionalConvolution
from wav2vec2.model.randomness import WORD, Draw, Purpose, hash_int, hash_tensor
from wav2vec2.model.transformer import TransformerLayer


class ContextNetwork(nn.Module):
    """Frames (d channels) -> context vectors (d channels), in the layout they come in."""

    def __init__(self, architecture: Architecture, regularization: Regularization) -> None:
        super().__init__()
        size = architecture.hidden_size
        self.norm_first = architecture.layer_norm_first
        self.dropout, self.layerdrop = regularization.dropout, regularization.layerdrop
        kernel, groups = architecture.pos_conv_kernel, architecture.pos_conv_groups
        self.pos_conv: nn.Module
        if architecture.pos_conv_depth == 1:
            self.pos_conv = PositionalConvolution(size, kernel, groups)
        else:
            self.pos_conv = StackedPositionalConvolution(size, kernel, groups, architecture.pos_conv_depth)
        self.norm = nn.LayerNorm(size, architecture.layer_norm_eps)
        self.layers = nn.ModuleList(
            TransformerLayer(architecture, regularization, adapter_size=architecture.adapter_size)
            for _ in range(architecture.layers)
        )

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        keys: DropoutKeys | None = None,
        layerdrop: Draw | None = None,
        layer: int | None = None,
    ) -> Tensor:
        """Run the stack.

        ``layerdrop`` turns LayerDrop on. ``layer`` stops after that many blocks (0: the blocks'
        input) and then leaves out the closing norm of the pre-LN family.
        """
        x = x + self.pos_conv(x, layout)
        if not self.norm_first:
            x = self.norm(x)
        x = dropout(x, self.dropout if self.training else 0.0, keys)
        for index in range(len(self.layers) if layer is None else layer):
            x = self._run_layer(index, x, layout, keys, layerdrop)
        return self.norm(x) if self.norm_first and layer is None else x

    def _run_layer(
        self, index: int, x: Tensor, layout: Layout, keys: DropoutKeys | None, layerdrop: Draw | None
    ) -> Tensor:
        block = self.layers[index]
        if layerdrop is None or self.layerdrop == 0.0:
            return block(x, layout, keys)  # type: ignore[no-any-return]
        seed, step = layerdrop.seed, layerdrop.step
        threshold = round(self.layerdrop * (WORD + 1))
        if isinstance(step, int):
            # the same layers on every rank: nothing is computed for a dropped one
            kept = hash_int(seed, int(Purpose.LAYERDROP), step, index) >= threshold
            return block(x, layout, keys) if kept else x
        # a tensor step: under torch.compile a choice in Python would compile every pattern anew
        kept_tensor = hash_tensor(seed, Purpose.LAYERDROP, step, index) >= threshold
        return torch.where(kept_tensor, block(x, layout, keys), x)
