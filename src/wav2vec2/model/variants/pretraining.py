"""Variants of pre-training: the ablations of the paper (Table 4, appendix F), and options of its released code.

Draws of distractors are functions of (seed, step, row) and do not depend on other rows, with one exception: distractors
from other utterances come from those of the same forward pass, and therefore change with how an update is cut into
micro-batches and dealt to processes.

Legend: B utterances, T frames, M masked frames (padded), n distractors, G codebooks.
"""

from dataclasses import replace

import torch
from torch import Tensor

from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.contrastive_loss import Pool, draw_negatives
from wav2vec2.model.encoder import Features
from wav2vec2.model.layout import Packed
from wav2vec2.model.masking import MaskedFrames, take
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining, all_places, sum_of_squares
from wav2vec2.model.quantizer import Quantized
from wav2vec2.model.randomness import Draw, Purpose
from wav2vec2.model.variants.spans import edge_frames
from wav2vec2.model.variants.targets import ContinuousTargets, FixedUnits, TargetEncoder, Targets, build_targets
from wav2vec2.model.variants.variant import PROPOSED


def pretraining_model(
    architecture: Architecture, regularization: Regularization | None = None, masking: Masking | None = None
) -> Wav2Vec2ForPretraining:
    """The model of an architecture: the paper's, or a variant of it."""
    kind = Wav2Vec2ForPretraining if architecture.variant == PROPOSED else VariantForPretraining
    return kind(architecture, regularization, masking)


class VariantForPretraining(Wav2Vec2ForPretraining):
    """The model that ``architecture.variant`` describes."""

    def __init__(
        self,
        architecture: Architecture,
        regularization: Regularization | None = None,
        masking: Masking | None = None,
    ) -> None:
        super().__init__(architecture, regularization, masking)
        self.target_encoder = TargetEncoder(architecture) if architecture.variant.separate_encoder else None

    @property
    def learned_codebooks(self) -> bool:
        """Whether the targets or the inputs have learned codebooks."""
        return self.quantizes_targets or self.encoder.input_quantizer is not None

    @property
    def codebooks(self) -> tuple[int, int]:
        """(G, V) of the learned targets, else of the quantized inputs, else of the fixed units."""
        inputs = self.encoder.input_quantizer
        if inputs is not None and not self.quantizes_targets:
            return inputs.groups, inputs.entries
        return self.quantizer.groups, self.quantizer.entries

    def _build_quantizer(self) -> Targets:
        return build_targets(self.architecture, self.encoder.input_quantizer)

    def _predicted(self, masks: Tensor, frame_lengths: Tensor) -> Tensor:
        reach = self.architecture.variant.edge_frames
        return edge_frames(masks, frame_lengths, reach) if reach else masks

    def _latents(self, features: Features, waveforms: Tensor, lengths: Tensor) -> Features:
        raw, normed = features.raw, features.normed
        if self.target_encoder is not None:
            scale = self.regularization.feature_grad_mult if self.training else 1.0
            raw, normed = self.target_encoder(waveforms, lengths, isinstance(features.layout, Packed), scale)
        if not self.architecture.variant.target_gradient:
            normed = normed.detach()
        return replace(features, raw=raw, normed=normed)

    def _quantize(self, z: Tensor, places: Tensor, draw: Draw, units: Tensor | None) -> Quantized:
        if not isinstance(self.quantizer, FixedUnits):
            return super()._quantize(z, places, draw, units)
        if units is None:
            raise ValueError("a model with fixed targets (variant.targets = fixed) needs units")
        return self.quantizer(units, places)  # type: ignore[no-any-return]

    def _task(
        self, z: Tensor, frames: MaskedFrames, draw: Draw, negatives: Tensor | None, units: Tensor | None
    ) -> tuple[Quantized, list[Pool]]:
        """Targets and distractors, which may come from all frames, from other utterances and from the codebooks."""
        a, most, pools = self.architecture, frames.places.shape[1], []
        if negatives is not None or not a.variant.other_negatives:
            return super()._task(z, frames, draw, negatives, units)
        if a.variant.negatives_from == "anywhere":
            padded = frames.layout.pad(z)
            candidates = self._quantize(padded, all_places(padded), draw, units)
            targets = _at(candidates, frames.places)
            draws = draw_anywhere(frames.lengths, frames.places, a.negatives, draw)
        else:
            candidates = targets = self._quantize(take(z, frames.flat), frames.places, draw, units)
            draws = draw_negatives(frames.counts, most, a.negatives, draw)
        if a.negatives:
            pools.append(Pool(candidates.vectors, candidates.codes, draws))
        if a.variant.batch_negatives:
            draws = draw_from_batch(frames.counts, most, a.variant.batch_negatives, draw)
            pools.append(Pool(targets.vectors.flatten(0, 1), targets.codes.flatten(0, 1), draws))
        if a.variant.codebook_negatives and not isinstance(self.quantizer, ContinuousTargets):
            groups, entries = self.quantizer.groups, self.quantizer.entries
            codes = draw_codes(most, a.variant.codebook_negatives, groups, entries, draw)
            pools.append(Pool(self.quantizer.embed(codes), codes))
        return targets, pools

    def _learned_choice(self, targets: Quantized, features: Features, frames: MaskedFrames) -> Quantized:
        if features.input_choice is None or self.quantizes_targets:
            return targets
        return _at(features.input_choice, frames.places)

    def _penalty(self, features: Features, latents: Features) -> Tensor:
        """Feature penalty of the feature encoder, or of both if there are two."""
        both = sum_of_squares(features)
        return both if self.target_encoder is None else both + sum_of_squares(latents)


def _at(frames: Quantized, places: Tensor) -> Quantized:
    """The frames (B, T, ...) at places (B, M)."""
    rows = torch.arange(len(places), device=places.device)[:, None]
    return Quantized(frames.vectors[rows, places], frames.codes[rows, places], frames.probabilities[rows, places])


def draw_anywhere(lengths: Tensor, places: Tensor, number: int, draw: Draw) -> Tensor:
    """(B, M, n) places among the utterance's ``lengths`` (B,) frames, uniform, never the frame's own (B, M)."""
    words = draw.words(Purpose.NEGATIVES, places.shape[1], number)
    draws = (words * (lengths - 1).clamp_min(1)[:, None, None]) >> 32
    return draws + (draws >= places[:, :, None])


def draw_from_batch(counts: Tensor, most: int, number: int, draw: Draw) -> Tensor:
    """(B, M, n) columns of the B * M masked frames: uniform among the ``counts`` (B,) of all other utterances.

    Where no other utterance has a masked frame, among the other frames of the same one.
    """
    words = draw.words(Purpose.BATCH_NEGATIVES, most, number)
    own = counts[:, None, None]
    first = (counts.cumsum(0) - counts)[:, None, None]
    elsewhere = counts.sum() - own
    others = (words * elsewhere) >> 32
    others = torch.where(others >= first, others + own, others)  # numbers among all real masked frames
    real = torch.arange(most, device=counts.device) < counts[:, None]
    columns = (~real).flatten().long().sort(stable=True).indices  # of real frames, in order, then of padding
    ranks = torch.arange(most, device=counts.device)[:, None]
    same = (words * (own - 1).clamp_min(1)) >> 32
    same = same + (same >= ranks) + torch.arange(len(counts), device=counts.device)[:, None, None] * most
    return torch.where(elsewhere > 0, columns[others.clamp_max(len(columns) - 1)], same.clamp_max(len(columns) - 1))


def draw_codes(most: int, number: int, groups: int, entries: int, draw: Draw) -> Tensor:
    """(B, M, n, G) entries, uniform and independent in every codebook."""
    return (draw.words(Purpose.CODEBOOK_NEGATIVES, most, number, groups) * entries) >> 32
