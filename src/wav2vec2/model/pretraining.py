"""Pre-training model (sections 2 and 3): encoder, quantizer and the terms of the objective.

The objective of one update (equation 2, with the code's feature penalty) is

    sum of contrastive_sum / masked frames + 0.1 * diversity + 10 * sum of penalty_sum / sum of penalty_count

over all utterances of the global batch. This module returns the sums; the training loop divides by the global counts,
which ``masked_counts`` and ``frame_lengths`` give before any forward pass, so that splitting a batch changes nothing.

Legend: B utterances, S samples, T frames, M masked frames, C feature channels, G codebooks, V entries.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.contrastive_loss import Contrast, Pool, contrast, draw_negatives
from wav2vec2.model.cpu.dropout import dropout
from wav2vec2.model.encoder import Features, SharedEncoder, check_lengths
from wav2vec2.model.layout import Packed
from wav2vec2.model.masked_frames import MaskedFrames, at, masked_frames, take, usable
from wav2vec2.model.quantizer import Choice, Quantized, Quantizer
from wav2vec2.model.randomness import Draw
from wav2vec2.model.variants.negatives import draw_anywhere, draw_codes, draw_from_batch
from wav2vec2.model.variants.spans import edge_frames
from wav2vec2.model.variants.target_encoder import TargetEncoder
from wav2vec2.model.variants.targets import ContinuousTargets, SharedQuantizer, build_targets


@dataclass
class PretrainingOutput:
    """Sums over the batch; scalars unless said otherwise."""

    contrastive_sum: Tensor
    """Nats, over the masked frames."""
    masked: Tensor
    """Number of masked frames in that sum (int64)."""
    penalty_sum: Tensor
    """Squares of the feature encoder's outputs, over valid frames and channels (of both encoders, if two)."""
    penalty_count: Tensor
    """How many squares that is (int64)."""
    probability_sum: Tensor
    """(G, V) noise-free softmax summed over masked frames, differentiable: the diversity loss needs its global mean."""
    code_counts: Tensor
    """(G, V) how often each entry was chosen (int64)."""
    correct: Tensor
    """Masked frames whose true target has the highest logit (int64)."""
    codes: Tensor
    """(B, M, G) chosen entries."""


class Wav2Vec2ForPretraining(SharedEncoder):
    """Learns from raw audio alone."""

    def __init__(
        self,
        architecture: Architecture,
        regularization: Regularization | None = None,
        masking: Masking | None = None,
    ) -> None:
        super().__init__(architecture, regularization, masking)
        variant = architecture.variant
        self.quantizer = build_targets(architecture, self.encoder.input_quantizer)
        self.context_projection = nn.Linear(architecture.hidden_size, architecture.final_size)
        self.target_encoder = TargetEncoder(architecture) if variant.separate_encoder else None

    @property
    def quantizes_targets(self) -> bool:
        """Whether the targets are entries of learned codebooks, as proposed."""
        return isinstance(self.quantizer, Quantizer | SharedQuantizer)

    @property
    def learned_codebooks(self) -> bool:
        """Whether the output's codes are learned ones, to which the diversity loss applies."""
        return self.quantizes_targets or self.encoder.input_quantizer is not None

    @property
    def codebooks(self) -> tuple[int, int]:
        """(G, V) of the output's codes: the learned targets', else the quantized inputs', else the fixed units'; (0, 0)
        without any.
        """
        inputs, targets = self.encoder.input_quantizer, self.quantizer
        if inputs is not None and not self.quantizes_targets:
            return inputs.groups, inputs.entries
        return targets.groups, targets.entries

    def codes(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """(B, S) audio -> the best entries (B, T, G) for every unmasked frame; beyond an utterance's end undefined."""
        features = self.encoder.features(waveforms, lengths, None)
        normed, packed = features.normed, isinstance(features.layout, Packed)
        if self.target_encoder is not None:
            normed = self.target_encoder(waveforms, lengths, packed, 1.0)[1]
        x = features.layout.pad(normed)
        draw = Draw(0, 0, torch.arange(len(x), device=x.device))
        places = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
        return self._quantize(x, places, draw, None).codes

    def masked_counts(self, lengths: Tensor, draw: Draw) -> Tensor:
        """(B,) masked frames that will enter the loss, known before the forward pass."""
        frame_lengths = self.frame_lengths(lengths)
        frames = max(1, int(frame_lengths.max()))
        masks = self.encoder.draw_time_masks(frame_lengths, frames, draw)
        return usable(self._predicted(masks, frame_lengths).sum(1))

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor | None = None,
        *,
        draw: Draw | None = None,
        masks: Tensor | None = None,
        negatives: Tensor | None = None,
        units: Tensor | None = None,
    ) -> PretrainingOutput:
        """One pass over (B, S) audio of ``lengths`` (B,) samples.

        ``draw`` names everything random; None is the first step of seed 0. Given ``masks`` (B, T) and ``negatives``
        (B, M, n; ranks among the row's masked frames) replace the drawn ones. ``units`` (B, T, G) are the targets where
        the variant has fixed ones.
        """
        lengths = check_lengths(waveforms, lengths)
        draw = Draw(0, 0, torch.arange(len(lengths), device=lengths.device)) if draw is None else draw
        features = self.encoder.features(waveforms, lengths, draw)
        frame_lengths = self.frame_lengths(lengths)
        longest = features.layout.frames
        if not longest:
            return self._nothing_to_learn(features.raw)
        if (units is None) == (self.architecture.variant.targets == "fixed"):
            raise ValueError("units must be given for fixed targets, and for no others")
        if masks is None:
            masks = self.encoder.draw_time_masks(frame_lengths, max(1, longest), draw)[:, :longest]
        inputs, choice = self._quantized_inputs(features, draw)
        context = self.encoder.context_vectors(features, masks, draw, inputs=inputs)
        normed, penalty_sum, penalty_count = features.normed, *self._penalty(features.raw, features, frame_lengths)
        if self.target_encoder is not None:
            packed, scale = isinstance(features.layout, Packed), self.regularization.feature_grad_mult
            raw, normed = self.target_encoder(waveforms, lengths, packed, scale)
            penalty_sum = penalty_sum + self._penalty(raw, features, frame_lengths)[0]
        frames = masked_frames(self._predicted(masks, frame_lengths), frame_lengths, features.layout, self.masking)
        feature_dropout = self.regularization.feature_dropout if self.training else 0.0
        targets = dropout(normed, feature_dropout, features.keys)
        if not self.architecture.variant.target_gradient:
            targets = targets.detach()
        context = self.context_projection(take(context, frames.flat))
        quantized, result = self._contrast(context, targets, frames, draw, negatives, units)
        return PretrainingOutput(
            contrastive_sum=result.loss,
            masked=frames.counts.sum(),
            penalty_sum=penalty_sum,
            penalty_count=penalty_count,
            correct=result.correct,
            codes=quantized.codes,
            **self._code_sums(quantized, choice, frames),
        )

    def _contrast(
        self,
        context: Tensor,
        targets: Tensor,
        frames: MaskedFrames,
        draw: Draw,
        negatives: Tensor | None,
        units: Tensor | None,
    ) -> tuple[Quantized, Contrast]:
        """Equation 3 over the masked frames; ``targets`` are all frames' features, in the layout."""
        a = self.architecture
        if a.variant.own_loss and negatives is None:
            quantized, pools = self._pools_elsewhere(targets, frames, draw, units)
        else:
            quantized = self._quantize(take(targets, frames.flat), frames.places, draw, units)
            if negatives is None:
                negatives = draw_negatives(frames.counts, frames.places.shape[1], a.negatives, draw)
            pools = [Pool(quantized.targets, quantized.codes, negatives)]
        judged = contrast(context, quantized.targets, quantized.codes, pools, frames.valid, a.logit_temperature)
        return quantized, judged

    def _pools_elsewhere(
        self, targets: Tensor, frames: MaskedFrames, draw: Draw, units: Tensor | None
    ) -> tuple[Quantized, list[Pool]]:
        """The targets, and distractors from all frames, other utterances or the codebooks (appendix F)."""
        a, most = self.architecture, frames.places.shape[1]
        if a.variant.negatives_from == "anywhere":
            padded = frames.layout.pad(targets)
            everywhere = torch.arange(padded.shape[1], device=padded.device).expand(len(padded), -1)
            all_frames = self._quantize(padded, everywhere, draw, units)
            quantized = Quantized(
                *(at(x, frames.places) for x in (all_frames.targets, all_frames.codes, all_frames.probabilities))
            )
            draws = draw_anywhere(frames.lengths, frames.places, a.negatives, draw)
        else:
            all_frames = quantized = self._quantize(take(targets, frames.flat), frames.places, draw, units)
            draws = draw_negatives(frames.counts, most, a.negatives, draw)
        pools = [Pool(all_frames.targets, all_frames.codes, draws)] if a.negatives else []
        if a.variant.batch_negatives:
            draws = draw_from_batch(frames.counts, most, a.variant.batch_negatives, draw)
            pools.append(Pool(quantized.targets.flatten(0, 1), quantized.codes.flatten(0, 1), draws))
        if a.variant.codebook_negatives and not isinstance(self.quantizer, ContinuousTargets):
            groups, entries = self.quantizer.groups, self.quantizer.entries
            codes = draw_codes(most, a.variant.codebook_negatives, groups, entries, draw)
            pools.append(Pool(self.quantizer.embed(codes), codes))
        return quantized, pools

    def _quantize(self, features: Tensor, places: Tensor, draw: Draw, units: Tensor | None) -> Quantized:
        """Targets of features (B, M, C) at these places (B, M)."""
        if units is not None:
            return self.quantizer(units, places)  # type: ignore[no-any-return]
        return self.quantizer(features, places, draw, self._temperature(draw.step))  # type: ignore[no-any-return]

    def _quantized_inputs(self, features: Features, draw: Draw) -> tuple[Tensor | None, Choice | None]:
        """What the Transformer sees instead of features, where the variant has it (Table 4)."""
        if self.encoder.input_quantizer is None:
            return None, None
        return self.encoder.input_quantizer(  # type: ignore[no-any-return]
            features.normed, features.layout, draw, self._temperature(draw.step)
        )

    def _code_sums(self, quantized: Quantized, choice: Choice | None, frames: MaskedFrames) -> dict[str, Tensor]:
        """Probabilities and counts (G, V) of the codes that ``codebooks`` tells of, at the masked frames."""
        probabilities, codes = quantized.probabilities, quantized.codes
        if choice is not None and not self.quantizes_targets:
            probabilities, codes = at(choice.probabilities, frames.places), at(choice.codes, frames.places)
        groups, entries = self.codebooks
        valid = frames.valid[:, :, None, None]
        one_hot = valid & (codes[..., :groups, None] == torch.arange(entries, device=valid.device))
        return {
            "probability_sum": torch.where(valid, probabilities, 0).sum((0, 1)),
            "code_counts": one_hot.sum((0, 1)),
        }

    def _predicted(self, masks: Tensor, frame_lengths: Tensor) -> Tensor:
        """(B, T) masked frames that are predicted: all, or those near an unmasked one (appendix F)."""
        reach = self.architecture.variant.edge_frames
        return edge_frames(masks, frame_lengths, reach) if reach else masks

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
            codes=table.new_zeros(1, 0, self.quantizer.groups, dtype=torch.long),
        )

    def _temperature(self, step: int | Tensor) -> float | Tensor:
        r = self.regularization
        if isinstance(step, int):
            return r.temperature(step)
        return (r.tau_start * torch.pow(r.tau_decay, step.double())).clamp_min(r.tau_end).float()

    def _penalty(self, raw: Tensor, features: Features, frame_lengths: Tensor) -> tuple[Tensor, Tensor]:
        raw = raw if raw.dtype == torch.float64 else raw.float()
        count = frame_lengths.sum() * raw.shape[-1]
        if isinstance(features.layout, Packed):
            return raw.square().sum(), count
        return torch.where(features.layout.valid[:, :, None], raw.square(), 0).sum(), count
