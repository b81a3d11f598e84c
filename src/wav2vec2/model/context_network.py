"""Context network (section 2, "Contextualized representations with Transformers"): latent frames to context vectors.

A grouped convolution (kernel 128, 16 groups, GELU) acts as relative positional embedding; Transformer blocks follow.

Legend: frames are (N, d) packed or (B, T, d) padded; T frames, C = d channels, c channels of a group, K kernel.
"""

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.model.architecture import Architecture, Regularization
from wav2vec2.model.cpu.dropout import DropoutKeys, dropout
from wav2vec2.model.cpu.gelu import Gelu
from wav2vec2.model.cpu.overlap_save import OverlapSave, convolve, weight_spectrum
from wav2vec2.model.layout import Layout, Packed
from wav2vec2.model.randomness import WORD, Draw, Purpose, hash_int, hash_tensor
from wav2vec2.model.transformer import TransformerLayer
from wav2vec2.model.variants.layers import StackedPositionalConvolution


class ContextNetwork(nn.Module):
    """Projected frames -> context vectors, of the same size and in the same layout."""

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
        self, x: Tensor, layout: Layout, keys: DropoutKeys | None = None, layerdrop: Draw | None = None
    ) -> Tensor:
        """Run the network; ``keys`` are the dropout keys of packed training, and ``layerdrop`` turns LayerDrop on."""
        x = self._with_positions(x, layout, keys)
        for index in range(len(self.layers)):
            x = self._run_layer(index, x, layout, keys, layerdrop)
        return self.closing_norm(x)

    def layer_outputs(self, x: Tensor, layout: Layout, layers: Collection[int]) -> dict[int, Tensor]:
        """The outputs of some blocks, without the closing norm; 0 is the input of the first block."""
        x = self._with_positions(x, layout, None)
        outputs = {0: x} if 0 in layers else {}
        for index in range(max(layers)):
            x = self._run_layer(index, x, layout, None, None)
            if index + 1 in layers:
                outputs[index + 1] = x
        return outputs

    def closing_norm(self, x: Tensor) -> Tensor:
        """The layer norm after the last block of a pre-LN network; a post-LN network has none."""
        return self.norm(x) if self.norm_first else x

    def _with_positions(self, x: Tensor, layout: Layout, keys: DropoutKeys | None) -> Tensor:
        x = x + self.pos_conv(x, layout)
        if not self.norm_first:
            x = self.norm(x)
        return dropout(x, self.dropout if self.training else 0.0, keys)

    def _run_layer(
        self, index: int, x: Tensor, layout: Layout, keys: DropoutKeys | None, layerdrop: Draw | None
    ) -> Tensor:
        block = self.layers[index]
        if layerdrop is None or self.layerdrop == 0.0:
            return block(x, layout, keys)  # type: ignore[no-any-return]
        seed, step = layerdrop.seed, layerdrop.step
        threshold = round(self.layerdrop * (WORD + 1))
        if isinstance(step, int):
            # every rank drops the same layers; a dropped layer costs nothing
            kept = hash_int(seed, int(Purpose.LAYERDROP), step, index) >= threshold
            return block(x, layout, keys) if kept else x
        # under torch.compile a branch in Python would mean one compilation for each pattern of dropped layers
        kept_tensor = hash_tensor(seed, Purpose.LAYERDROP, step, index) >= threshold
        return torch.where(kept_tensor, block(x, layout, keys), x)


class PositionalConvolution(nn.Module):
    """x (frames, C) -> GELU(conv(x)), of the same shape; frames beyond an utterance's end count as zeros.

    The weight has weight normalisation, with one gain for each kernel tap.
    """

    def __init__(self, channels: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        weight = torch.empty(channels, channels // groups, kernel).normal_(0.0, (4.0 / (kernel * channels)) ** 0.5)
        self.weight_g = nn.Parameter(weight.norm(dim=(0, 1), keepdim=True))
        self.weight_v = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(channels))
        self._spectrum: tuple[tuple[int, ...], Tensor] | None = None

    @property
    def weight(self) -> Tensor:
        """(C, c, K), normalised."""
        return self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))  # type: ignore[no-any-return]

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Frames in either layout."""
        if isinstance(layout, Packed):
            if not layout.frames:  # every utterance is below the receptive field: there is nothing to transform
                return x
            if torch.is_inference_mode_enabled() and not self.weight_v.is_inference():
                y = convolve(x, self._known_spectrum(), self.weight_v.shape[2], layout)
            else:
                y = OverlapSave.apply(x, self.weight, self.groups, layout)  # type: ignore[no-untyped-call]
            return Gelu.apply(y + self.bias)  # type: ignore[no-any-return,no-untyped-call]
        kernel = self.weight_v.shape[2]
        x = torch.where(layout.valid[:, :, None], x, 0).transpose(1, 2)
        y = F.conv1d(x, self.weight.to(x.dtype), self.bias, padding=kernel // 2, groups=self.groups)
        # an even kernel gives one frame too many: the last is dropped
        return F.gelu(y[:, :, : x.shape[2]].transpose(1, 2))

    def _known_spectrum(self) -> Tensor:
        """The weight's spectrum, computed once for all calls between which the weight stays as it is.

        For a second of speech it would take as long as everything else that is done here.
        """
        now = tuple(number for part in (self.weight_v, self.weight_g) for number in (part.data_ptr(), part._version))
        if self._spectrum is None or self._spectrum[0] != now:
            self._spectrum = now, weight_spectrum(self.weight, self.groups).conj().resolve_conj()
        return self._spectrum[1]
