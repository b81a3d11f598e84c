"""What pre-training and recognition share: feature encoder, projection, masking, context network (figure 1).

Legend: B utterances, S samples, T frames, C feature channels, d context channels, N frames of all utterances.
"""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.context_network import ContextNetwork
from wav2vec2.model.cpu.dropout import DropoutKeys, dropout
from wav2vec2.model.feature_encoder import FeatureEncoder, ScaleGradient
from wav2vec2.model.layout import Layout, Packed
from wav2vec2.model.masking import span_masks
from wav2vec2.model.randomness import Draw, Purpose
from wav2vec2.model.variants.inputs import InputQuantizer
from wav2vec2.model.variants.spans import varied_span_masks


@dataclass
class Features:
    """``raw`` are the feature encoder's outputs, ``normed`` after the layer norm; both in ``layout``."""

    raw: Tensor
    normed: Tensor
    layout: Layout
    keys: DropoutKeys | None
    """Of this pass's dropouts in packed training; elsewhere torch's generator is drawn from."""


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
        """None: packed on eager CPU in full precision, padded elsewhere."""

    def use_packed(self, waveforms: Tensor) -> bool:
        """Whether this input takes the packed path."""
        if self.packed is not None:
            return self.packed
        eager = not torch.compiler.is_compiling() and not torch.is_autocast_enabled("cpu")
        return eager and waveforms.device.type == "cpu"

    def features(self, waveforms: Tensor, lengths: Tensor, draw: Draw | None) -> Features:
        """(B, S) audio and (B,) samples -> features; the gradient into the convolutions is scaled here.

        ``draw`` None is evaluation: no dropout, no LayerDrop, no channel masks.
        """
        scale = self.regularization.feature_grad_mult
        frozen = self.training and scale == 0.0
        with torch.no_grad() if frozen else nullcontext():
            raw, layout = self.feature_encoder(waveforms, lengths, self.use_packed(waveforms))
        if self.training and scale not in (0.0, 1.0):
            raw = ScaleGradient.apply(raw, scale)  # type: ignore[no-untyped-call]
        return Features(raw, self.feature_norm(raw), layout, self._dropout_keys(layout, draw))

    def draw_time_masks(self, frame_lengths: Tensor, frames: int, draw: Draw) -> Tensor:
        """(B, T) masks of section 3.1, a pure function of ``draw`` and the lengths."""
        m = self.masking
        if m.varied:
            return varied_span_masks(frame_lengths, frames, m, draw)
        return span_masks(frame_lengths, frames, m.time_start, m.time_span, m.min_spans, draw)

    def context_vectors(
        self,
        features: Features,
        masks: Tensor | None,
        draw: Draw | None,
        layer: int | None = None,
        *,
        inputs: Tensor | None = None,
    ) -> Tensor:
        """Project, mask and contextualise; frames (d channels) in the features' layout.

        ``masks`` (B, T) None leaves everything visible; ``draw`` as in ``features``. ``inputs`` are what the input
        quantizer, where there is one, chose for these features; None lets it choose its best entries.
        """
        r = self.regularization
        if inputs is None:
            inputs = features.normed
            if self.input_quantizer is not None:
                inputs = self.input_quantizer(inputs, features.layout)[0]
        x = dropout(self.feature_projection(inputs), r.input_dropout if self.training else 0.0, features.keys)
        if masks is not None:
            x = torch.where(features.layout.pack(masks)[..., None], self.mask_embedding.to(x.dtype), x)
        if self.training and draw is not None and self.masking.channel_start > 0.0:
            x = self._mask_channels(x, features.layout, draw)
        layerdrop = draw if self.training else None
        return self.context(x, features.layout, features.keys, layerdrop, layer)  # type: ignore[no-any-return]

    def _mask_channels(self, x: Tensor, layout: Layout, draw: Draw) -> Tensor:
        """Zero spans of channels in all frames of an utterance (appendix B, as SpecAugment)."""
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

        ``layer`` k gives the output of block k (0: what enters the first block). Frames beyond an utterance's end are
        zero. Raises ValueError for shapes that do not fit.
        """
        lengths = check_lengths(waveforms, lengths)
        features = self.features(waveforms, lengths, None)
        x = features.layout.pad(self.context_vectors(features, None, None, layer))
        frame_lengths = self.feature_encoder.frame_lengths(lengths)
        valid = torch.arange(x.shape[1], device=x.device) < frame_lengths[:, None]
        return torch.where(valid[:, :, None], x, 0), frame_lengths


class SharedEncoder(nn.Module):
    """What both models have: an encoder, and how it was configured."""

    def __init__(
        self, architecture: Architecture, regularization: Regularization | None, masking: Masking | None
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.regularization = regularization or Regularization()
        self.masking = masking or Masking()
        self.encoder = Encoder(architecture, self.regularization, self.masking)

    def encode(
        self, waveforms: Tensor, lengths: Tensor | None = None, layer: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, S) -> context vectors (B, T, d) and frame lengths (B,); see ``Encoder.encode``."""
        return self.encoder.encode(waveforms, lengths, layer)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) samples -> (B,) frames."""
        return self.encoder.feature_encoder.frame_lengths(lengths)


class Wav2Vec2Encoder(SharedEncoder):
    """An encoder without any head, as some files hold it: hidden states, or the start of fine-tuning."""

    def __init__(
        self,
        architecture: Architecture,
        regularization: Regularization | None = None,
        masking: Masking | None = None,
    ) -> None:
        super().__init__(architecture, regularization, masking)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, S) -> context vectors (B, T, d) and frame lengths (B,)."""
        return self.encode(waveforms, lengths)


def check_lengths(waveforms: Tensor, lengths: Tensor | None) -> Tensor:
    """(B,) lengths of (B, S) waveforms, all full when None; ValueError when they do not fit together."""
    if waveforms.dim() != 2:
        raise ValueError(f"waveforms must be (batch, samples), not {tuple(waveforms.shape)}")
    if lengths is None:
        return torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
    if lengths.shape != (len(waveforms),):
        raise ValueError(f"lengths must be ({len(waveforms)},), not {tuple(lengths.shape)}")
    return lengths
