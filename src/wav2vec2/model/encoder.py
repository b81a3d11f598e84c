"""Encoder shared by pre-training and recognition (figure 1): feature encoder, projection, masking, context network.

Legend: B utterances, S samples, T frames, C feature channels, d context channels, N frames of all utterances.
"""

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.context_network import ContextNetwork
from wav2vec2.model.cpu import half
from wav2vec2.model.cpu.dropout import DropoutKeys, dropout
from wav2vec2.model.feature_encoder import FeatureEncoder
from wav2vec2.model.layout import Layout, Packed
from wav2vec2.model.masking import span_masks
from wav2vec2.model.quantizer import Quantized
from wav2vec2.model.randomness import Draw, Purpose
from wav2vec2.model.variants.inputs import InputQuantizer
from wav2vec2.model.variants.spans import varied_span_masks
from wav2vec2.model.window_moments import WindowMoments


@dataclass
class Features:
    """Latent speech representations of a batch; all tensors are frames in ``layout``."""

    raw: Tensor
    """Outputs of the convolutions."""
    normed: Tensor
    """``raw`` after the layer norm: z in the paper, the input of the quantizer."""
    layout: Layout
    keys: DropoutKeys | None
    """Dropout keys of packed training. Elsewhere None: torch's generator draws the masks."""
    inputs: Tensor
    """Input of the context network: ``normed``, or codebook entries in a variant of Table 4."""
    input_choice: Quantized | None = None
    """The choice of those entries, as (B, T, ...); None where ``inputs`` is ``normed``."""


Method = TypeVar("Method", bound=Callable[..., object])


def obeying_autocast(method: Method) -> Method:
    """A method that takes waveforms first: where autocast asks for bfloat16, the packed kernels compute products so.

    Autocast itself would take operations to half that they need in float32.
    """

    @functools.wraps(method)
    def run(self: "Encoder | SharedEncoder", waveforms: Tensor, *arguments: object, **named: object) -> object:
        if torch.compiler.is_compiling() or waveforms.device.type != "cpu" or not half.asked_for():
            return method(self, waveforms, *arguments, **named)
        encoder = self if isinstance(self, Encoder) else self.encoder
        with nullcontext() if encoder.packed is False else half.in_place_of_autocast():
            return method(self, waveforms, *arguments, **named)

    return cast(Method, run)


class Encoder(nn.Module):
    """Waveforms -> context vectors."""

    def __init__(self, architecture: Architecture, regularization: Regularization, masking: Masking) -> None:
        super().__init__()
        self.architecture, self.regularization, self.masking = architecture, regularization, masking
        self.feature_encoder = FeatureEncoder(architecture)
        self.feature_norm = nn.LayerNorm(architecture.feature_size, architecture.layer_norm_eps)
        quantized = architecture.variant.inputs == "quantized"
        visible = architecture.codevector_size if quantized else architecture.feature_size
        self.feature_projection = nn.Linear(visible, architecture.hidden_size)
        self.mask_embedding = nn.Parameter(torch.rand(architecture.hidden_size))
        self.context = ContextNetwork(architecture, regularization)
        self.input_quantizer = InputQuantizer(architecture) if quantized else None
        self.packed: bool | None = None
        """Whether to use the packed layout. None chooses it on eager CPU, and padded elsewhere."""

    def use_packed(self, waveforms: Tensor) -> bool:
        """Whether these waveforms are computed in the packed layout."""
        if self.packed is not None:
            return self.packed
        eager = not torch.compiler.is_compiling() and not torch.is_autocast_enabled("cpu")
        return eager and waveforms.device.type == "cpu"

    def features(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        draw: Draw | None,
        temperature: float | Tensor | None = None,
        *,
        full: bool = False,
        moments: Sequence[WindowMoments] | None = None,
    ) -> Features:
        """(B, S) audio and (B,) samples -> latent representations.

        In training the gradient into the convolutions is scaled. ``draw`` None stands for evaluation: no dropout, no
        LayerDrop, no channel masks. ``temperature`` is that of the Gumbel softmax of quantized inputs; None chooses the
        best entries. ``full`` says that all lengths are S: then nothing is masked. ``moments``: see `FeatureEncoder`.
        """
        scale = self.regularization.feature_grad_mult if self.training else 1.0
        packed = self.use_packed(waveforms)
        # an exported feature encoder takes no moments
        given = {} if moments is None else {"moments": moments}
        raw, layout = self.feature_encoder(waveforms, lengths, packed, scale, full=full, **given)
        return self.normed_features(raw, layout, draw, temperature)

    def normed_features(
        self, raw: Tensor, layout: Layout, draw: Draw | None = None, temperature: float | Tensor | None = None
    ) -> Features:
        """Outputs of the convolutions -> latent representations; see ``features``, which computes both."""
        normed = self.feature_norm(raw)
        features = Features(raw, normed, layout, self._dropout_keys(layout, draw), normed)
        if self.input_quantizer is not None:
            features.inputs, features.input_choice = self.input_quantizer(normed, layout, draw, temperature)
        return features

    def draw_time_masks(self, frame_lengths: Tensor, frames: int, draw: Draw) -> Tensor:
        """(B, T) masks of section 3.1 or appendix A, a function of ``draw`` and the lengths alone."""
        m, positions = self.masking, max(1, frames)
        if m.varied:
            return varied_span_masks(frame_lengths, positions, m, draw)[:, :frames]
        masks = span_masks(frame_lengths, positions, m.time_start, m.time_span, m.min_spans, draw)
        return masks[:, :frames]

    def context_vectors(self, features: Features, masks: Tensor | None, draw: Draw | None) -> Tensor:
        """Project, mask and contextualise: frames (d channels) in the features' layout.

        ``masks`` (B, T) None leaves all frames visible; ``draw`` as in ``features``.
        """
        x = self._projected(features)
        if masks is not None:
            x = torch.where(features.layout.pack(masks)[..., None], self.mask_embedding.to(x.dtype), x)
        if self.training and draw is not None and self.masking.channel_start > 0.0:
            x = self._mask_channels(x, features.layout, draw)
        layerdrop = draw if self.training else None
        return self.context(x, features.layout, features.keys, layerdrop)  # type: ignore[no-any-return]

    def _projected(self, features: Features) -> Tensor:
        p = self.regularization.input_dropout if self.training else 0.0
        return dropout(self.feature_projection(features.inputs), p, features.keys)

    def _mask_channels(self, x: Tensor, layout: Layout, draw: Draw) -> Tensor:
        """Zero spans of channels in all frames of an utterance (section 3.3 and appendix B, similar to SpecAugment)."""
        m, size = self.masking, self.architecture.hidden_size
        hidden = span_masks(
            torch.full_like(draw.rows, size),
            size,
            m.channel_start,
            m.channel_span,
            0,
            draw,
            (Purpose.CHANNEL_COUNT, Purpose.CHANNEL_START),
        )
        if isinstance(layout, Packed):
            repeats = torch.tensor(layout.lengths, device=x.device)
            return x.masked_fill(hidden.repeat_interleave(repeats, dim=0), 0.0)
        return x.masked_fill(hidden[:, None], 0.0)

    def _dropout_keys(self, layout: Layout, draw: Draw | None) -> DropoutKeys | None:
        if draw is None or not self.training or not isinstance(layout, Packed):
            return None
        return DropoutKeys(draw, layout)

    def encode(
        self, waveforms: Tensor, lengths: Tensor | None = None, layer: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, S) audio -> context vectors (B, T, d) and frame lengths (B,), nothing masked.

        ``layer`` k gives the output of block k without the closing norm (0: the input of the first block). Frames
        beyond an utterance's end are zero. Raises ValueError for shapes that do not fit, or a layer out of range.
        """
        layers = [self.architecture.layers if layer is None else layer]
        outputs, frame_lengths = self.encode_layers(waveforms, lengths, layers, closing_norm=layer is None)
        return outputs[0], frame_lengths

    @obeying_autocast
    def encode_layers(
        self,
        waveforms: Tensor,
        lengths: Tensor | None,
        layers: Sequence[int],
        *,
        closing_norm: bool = False,
        moments: Sequence[WindowMoments] | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        """(B, S) audio -> the outputs of chosen blocks, each (B, T, d) as in ``encode``, and frame lengths (B,).

        One pass computes them all, and ends at the last chosen block. With ``closing_norm`` the output of the network's
        last block goes through the closing norm of the pre-LN family. ``moments``: see `FeatureEncoder`. Raises
        ValueError as ``encode`` does.
        """
        depth, full, lengths = self.architecture.layers, lengths is None, check_lengths(waveforms, lengths)
        if not layers or not all(0 <= layer <= depth for layer in layers):
            raise ValueError(f"layers must be between 0 and {depth}, not {list(layers)}")
        features = self.features(waveforms, lengths, None, full=full, moments=moments)
        outputs = self.context.layer_outputs(self._projected(features), features.layout, layers)
        if closing_norm and depth in outputs:
            outputs[depth] = self.context.closing_norm(outputs[depth])
        frame_lengths = self.feature_encoder.frame_lengths(lengths)
        padded = [features.layout.pad(outputs[layer]) for layer in layers]
        valid = (torch.arange(padded[0].shape[1], device=waveforms.device) < frame_lengths[:, None])[:, :, None]
        return [torch.where(valid, x, 0) for x in padded], frame_lengths


class SharedEncoder(nn.Module):
    """Base class of all models: an encoder and its configuration."""

    def __init__(
        self,
        architecture: Architecture,
        regularization: Regularization | None = None,
        masking: Masking | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.regularization = regularization or Regularization()
        self.masking = masking or Masking()
        self.encoder = Encoder(architecture, self.regularization, self.masking)

    def encode(
        self, waveforms: Tensor, lengths: Tensor | None = None, layer: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, S) audio -> context vectors (B, T, d) and frame lengths (B,), nothing masked (section 2).

        waveforms: float32 at 16 kHz, normalised as the model's directory says. lengths: (B,) samples; None: all S.
        layer: k for the output of block k without the closing norm, 0 for the input of the first block. Frames beyond
        an utterance's end are zero. Raises ValueError for shapes that do not fit, or a layer out of range.
        """
        return self.encoder.encode(waveforms, lengths, layer)

    def encode_layers(
        self,
        waveforms: Tensor,
        lengths: Tensor | None,
        layers: Sequence[int],
        *,
        closing_norm: bool = False,
        moments: Sequence[WindowMoments] | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        """(B, S) -> the outputs of chosen blocks in one pass; see ``Encoder.encode_layers``."""
        return self.encoder.encode_layers(waveforms, lengths, layers, closing_norm=closing_norm, moments=moments)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) samples -> (B,) frames."""
        return self.encoder.feature_encoder.frame_lengths(lengths)


class Wav2Vec2Encoder(SharedEncoder):
    """An encoder without a head, as some files hold: hidden states, and a start for fine-tuning (section 2, figure 1).

    architecture: sizes and order of its layers. regularization: dropout and the like. masking: spans (section 3.1).
    """

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, S) audio -> context vectors (B, T, d) and frame lengths (B,), as ``encode``."""
        return self.encode(waveforms, lengths)


def check_lengths(waveforms: Tensor, lengths: Tensor | None) -> Tensor:
    """Return (B,) lengths of (B, S) waveforms, all S if None. Raise ValueError if a shape is wrong."""
    if waveforms.dim() != 2:
        raise ValueError(f"waveforms must be (batch, samples), not {tuple(waveforms.shape)}")
    if lengths is None:
        return torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
    if lengths.shape != (len(waveforms),):
        raise ValueError(f"lengths must be ({len(waveforms)},), not {tuple(lengths.shape)}")
    return lengths
