"""Pre-training (sections 2 and 3): the encoder, the quantizer, and the terms of the objective.

The objective of one update (equation 2, with the feature penalty of the released code) is

    sum of contrastive_sum / masked frames + 0.1 * diversity + 10 * sum of penalty_sum / sum of penalty_count

over all utterances of the global batch. The model returns the sums; the training loop divides by the global counts,
which ``masked_counts`` and ``frame_lengths`` give before any forward pass, so that splitting a batch changes nothing.

This is the paper's model. ``model/variants/pretraining.py`` holds the variants, which override the methods under
"steps"; its function ``pretraining_model`` builds either.

Legend: B utterances, S samples, T frames, M masked frames, C feature channels, G codebooks, V entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.contrastive_loss import Pool, contrast, draw_negatives
from wav2vec2.model.cpu.dropout import dropout
from wav2vec2.model.encoder import Features, SharedEncoder, check_lengths, obeying_autocast
from wav2vec2.model.layout import Packed
from wav2vec2.model.masking import MaskedFrames, counts_in_loss, masked_frames, take
from wav2vec2.model.quantizer import Quantized, Quantizer
from wav2vec2.model.randomness import Draw
from wav2vec2.model.variants.targets import Targets
from wav2vec2.model.variants.variant import PROPOSED
from wav2vec2.model.window_moments import WindowMoments


@dataclass
class PretrainingOutput:
    """Sums over the batch; scalars unless stated otherwise."""

    contrastive_sum: Tensor
    """Contrastive loss in nats, over the masked frames."""
    masked: Tensor
    """Number of masked frames in that sum (int64)."""
    penalty_sum: Tensor
    """Squared outputs of the feature encoder, over valid frames and channels."""
    penalty_count: Tensor
    """Number of valid frames times channels (int64)."""
    probability_sum: Tensor
    """(G, V) softmax without noise, over the masked frames, differentiable: the diversity loss uses its global mean."""
    code_counts: Tensor
    """(G, V) number of times each entry was chosen (int64)."""
    correct: Tensor
    """Masked frames whose true target has the highest logit (int64)."""


class Wav2Vec2ForPretraining(SharedEncoder):
    """Learns representations from raw audio alone: masking, quantized targets, contrastive task (sections 2 and 3).

    architecture: sizes, codebooks and distractors. regularization: dropout and the like. masking: spans (section 3.1).
    Raises ValueError for an architecture with a variant (table 4), which has classes of its own; ``load`` finds them.
    """

    quantizer: Targets
    """A ``Quantizer``, or its replacement in a variant."""

    def __init__(
        self,
        architecture: Architecture,
        regularization: Regularization | None = None,
        masking: Masking | None = None,
    ) -> None:
        super().__init__(architecture, regularization, masking)
        if architecture.variant != PROPOSED and type(self) is Wav2Vec2ForPretraining:
            raise ValueError("this architecture is a variant: build it with variants.pretraining.pretraining_model")
        self.quantizer = self._build_quantizer()
        self.context_projection = nn.Linear(architecture.hidden_size, architecture.final_size)

    @property
    def quantizes_targets(self) -> bool:
        """Whether the targets are entries of learned codebooks."""
        return isinstance(self.quantizer, Quantizer)

    @property
    def learned_codebooks(self) -> bool:
        """Whether ``code_counts`` count entries of learned codebooks, to which the diversity loss applies."""
        return self.quantizes_targets

    @property
    def codebooks(self) -> tuple[int, int]:
        """(G, V) of ``code_counts``; (0, 0) without codebooks."""
        return self.quantizer.groups, self.quantizer.entries

    @obeying_autocast
    def codes(self, waveforms: Tensor, lengths: Tensor, moments: Sequence[WindowMoments] | None = None) -> Tensor:
        """(B, S) audio -> the best entries (B, T, G) for every unmasked frame; undefined beyond an utterance's end.

        ``moments``: see `FeatureEncoder`.
        """
        features = self.encoder.features(waveforms, lengths, None, moments=moments)
        x = features.layout.pad(self._latents(features, waveforms, lengths).normed)
        return self._quantize(x, all_places(x), Draw.first(len(x), x.device), None).codes

    def masked_counts(self, lengths: Tensor, draw: Draw) -> Tensor:
        """(B,) masked frames that will enter the loss, known before the forward pass."""
        return self.draw_masks(lengths, int(lengths.max()), draw)[1]

    def draw_masks(self, lengths: Tensor, samples: int, draw: Draw) -> tuple[Tensor, Tensor]:
        """Masks (B, T) of waveforms (B, samples), and how many frames of each (B,) will enter the loss.

        They can be drawn on the host, before the forward pass: they depend on ``draw`` and the lengths alone.
        """
        frame_lengths = self.frame_lengths(lengths)
        masks = self.encoder.draw_time_masks(frame_lengths, max(1, self.architecture.frame_length(samples)), draw)
        return masks, counts_in_loss(self._predicted(masks, frame_lengths))

    @obeying_autocast
    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor | None = None,
        *,
        draw: Draw | None = None,
        masks: Tensor | None = None,
        most: int | None = None,
        negatives: Tensor | None = None,
        units: Tensor | None = None,
    ) -> PretrainingOutput:
        """One pass over (B, S) audio of ``lengths`` (B,) samples; None: all S.

        ``draw`` determines everything random; None stands for the first step with seed 0. ``masks`` (B, T), of at
        most ``most`` frames a row that enter the loss, and ``negatives`` (B, M, n; ranks among the row's masked
        frames), if given, replace the drawn ones. ``units`` (B, T, G) are the targets of the variant with fixed
        targets.
        """
        full, lengths = lengths is None, check_lengths(waveforms, lengths)
        draw = Draw.first(len(lengths), lengths.device) if draw is None else draw
        features = self.encoder.features(waveforms, lengths, draw, self._temperature(draw.step), full=full)
        frame_lengths = self.frame_lengths(lengths)
        if not features.layout.frames:
            return self._nothing_to_learn(features.raw)
        if masks is None:
            masks = self.encoder.draw_time_masks(frame_lengths, features.layout.frames, draw)
        masks = masks[:, : features.layout.frames]
        predicted = self._predicted(masks, frame_lengths)
        frames = masked_frames(predicted, frame_lengths, features.layout, self.masking, most)
        context = self.encoder.context_vectors(features, masks, draw)
        context = self.context_projection(take(context, frames.flat))
        latents = self._latents(features, waveforms, lengths)
        z = dropout(latents.normed, self.regularization.feature_dropout if self.training else 0.0, features.keys)
        targets, pools = self._task(z, frames, draw, negatives, units)
        temperature = self.architecture.logit_temperature
        result = contrast(context, targets.vectors, targets.codes, pools, frames.valid, temperature)
        probabilities, code_counts = self._code_sums(self._learned_choice(targets, features, frames), frames)
        return PretrainingOutput(
            contrastive_sum=result.loss,
            masked=frames.counts.sum(),
            penalty_sum=self._penalty(features, latents),
            penalty_count=frame_lengths.sum() * features.raw.shape[-1],
            probability_sum=probabilities,
            code_counts=code_counts,
            correct=result.correct,
        )

    # steps, in the paper's form; variants override some of them

    def _build_quantizer(self) -> Targets:
        return Quantizer(self.architecture)

    def _predicted(self, masks: Tensor, frame_lengths: Tensor) -> Tensor:
        """(B, T) the masked frames that are predicted: all of them."""
        return masks

    def _latents(self, features: Features, waveforms: Tensor, lengths: Tensor) -> Features:
        """The features that are quantized: the same that enter the context network."""
        return features

    def _quantize(self, z: Tensor, places: Tensor, draw: Draw, units: Tensor | None) -> Quantized:
        """Targets for features (B, M, C) at ``places`` (B, M) of their utterances."""
        if units is not None:
            raise ValueError("only a model with fixed targets (variant.targets = fixed) takes units")
        return self.quantizer(z, places, draw, self._temperature(draw.step))  # type: ignore[no-any-return]

    def _task(
        self, z: Tensor, frames: MaskedFrames, draw: Draw, negatives: Tensor | None, units: Tensor | None
    ) -> tuple[Quantized, list[Pool]]:
        """The targets of the masked frames, and distractors from the masked frames of the same utterance."""
        targets = self._quantize(take(z, frames.flat), frames.places, draw, units)
        if negatives is None:
            negatives = draw_negatives(frames.counts, frames.places.shape[1], self.architecture.negatives, draw)
        return targets, [Pool(targets.vectors, targets.codes, negatives)]

    def _learned_choice(self, targets: Quantized, features: Features, frames: MaskedFrames) -> Quantized:
        """The choice that ``probability_sum`` and ``code_counts`` describe: that of the targets."""
        return targets

    def _penalty(self, features: Features, latents: Features) -> Tensor:
        return sum_of_squares(features)

    # sums for the output

    def _code_sums(self, chosen: Quantized, frames: MaskedFrames) -> tuple[Tensor, Tensor]:
        """Probabilities and counts (G, V) over the masked frames."""
        groups, entries = self.codebooks
        valid = frames.valid[:, :, None, None]
        one_hot = valid & (chosen.codes[..., :groups, None] == torch.arange(entries, device=valid.device))
        return torch.where(valid, chosen.probabilities, 0).sum((0, 1)), one_hot.sum((0, 1))

    def _nothing_to_learn(self, raw: Tensor) -> PretrainingOutput:
        """Output of a batch in which every recording is below the receptive field: zeros, still differentiable."""
        zero, none = raw.sum(), torch.zeros((), dtype=torch.long, device=raw.device)
        table = raw.new_zeros(*self.codebooks)
        return PretrainingOutput(
            contrastive_sum=zero,
            masked=none,
            penalty_sum=zero,
            penalty_count=none,
            probability_sum=table + zero,
            code_counts=table.long(),
            correct=none,
        )

    def _temperature(self, step: int | Tensor) -> float | Tensor:
        """Temperature of the Gumbel softmax at an update."""
        r = self.regularization
        if isinstance(step, int):
            return r.temperature(step)
        return (r.tau_start * torch.pow(r.tau_decay, step.double())).clamp_min(r.tau_end).float()


def sum_of_squares(features: Features) -> Tensor:
    """Sum of the squared outputs of the feature encoder over valid frames and channels, in float32 or float64."""
    raw = features.raw if features.raw.dtype == torch.float64 else features.raw.float()
    if isinstance(features.layout, Packed):
        return raw.square().sum()
    return torch.where(features.layout.valid[:, :, None], raw.square(), 0).sum()


def all_places(frames: Tensor) -> Tensor:
    """(B, T) places of all frames (B, T, ...)."""
    return torch.arange(frames.shape[1], device=frames.device).expand(len(frames), -1)
