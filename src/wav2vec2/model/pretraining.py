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
from wav2vec2.model.contrastive_loss import contrast, draw_negatives
from wav2vec2.model.dropout import dropout
from wav2vec2.model.encoder import Draw, Features, SharedEncoder, check_lengths
from wav2vec2.model.layout import Packed
from wav2vec2.model.masking import most_masked
from wav2vec2.model.quantizer import Quantizer


@dataclass
class PretrainingOutput:
    """Sums over the batch; scalars unless said otherwise."""

    contrastive_sum: Tensor
    """Nats, over the masked frames."""
    masked: Tensor
    """Number of masked frames in that sum (int64)."""
    penalty_sum: Tensor
    """Squares of the feature encoder's outputs, over valid frames and channels."""
    penalty_count: Tensor
    """How many squares that is (int64)."""
    probability_sum: Tensor
    """(G, V) noise-free softmax summed over masked frames, differentiable: the diversity loss needs its global mean."""
    code_counts: Tensor
    """(G, V) how often each entry was chosen (int64)."""
    correct: Tensor
    """Masked frames whose true target has the highest logit (int64)."""
    similarity: Tensor
    """(B, M, M) logits of all pairs, detached."""
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
        self.quantizer = Quantizer(architecture)
        self.context_projection = nn.Linear(architecture.hidden_size, architecture.final_size)

    def masked_counts(self, lengths: Tensor, *, seed: int, step: int | Tensor, rows: Tensor) -> Tensor:
        """(B,) masked frames that will enter the loss, known before the forward pass."""
        frame_lengths = self.frame_lengths(lengths)
        frames = max(1, int(frame_lengths.max()))
        masks = self.encoder.draw_time_masks(frame_lengths, frames, Draw(seed, step, rows))
        return _usable(masks.sum(1))

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor | None = None,
        *,
        seed: int = 0,
        step: int | Tensor = 0,
        rows: Tensor | None = None,
        masks: Tensor | None = None,
        negatives: Tensor | None = None,
    ) -> PretrainingOutput:
        """One pass over (B, S) audio of ``lengths`` (B,) samples.

        ``rows`` (B,) are the utterances' places in the global batch. Given ``masks`` (B, T) and ``negatives`` (B, M, n;
        ranks among the row's masked frames) replace the drawn ones.
        """
        lengths = check_lengths(waveforms, lengths)
        draw = Draw(seed, step, torch.arange(len(lengths), device=lengths.device) if rows is None else rows)
        features = self.encoder.features(waveforms, lengths, draw)
        frame_lengths = self.frame_lengths(lengths)
        frames = features.layout.frames
        if not frames:
            return self._nothing_to_learn(features.raw)
        if masks is None:
            masks = self.encoder.draw_time_masks(frame_lengths, max(1, frames), draw)[:, :frames]
        context = self.encoder.context_vectors(features, masks, draw)
        return self._objective(features, context, masks, frame_lengths, draw, negatives)

    def _objective(
        self,
        features: Features,
        context: Tensor,
        masks: Tensor,
        frame_lengths: Tensor,
        draw: Draw,
        negatives: Tensor | None,
    ) -> PretrainingOutput:
        counts = _usable(masks.sum(1))
        places, valid = self._masked_places(masks, counts)
        flat = places + features.layout.row_starts(places.device)[:, None]
        flat = torch.where(valid, flat, 0)
        feature_dropout = self.regularization.feature_dropout if self.training else 0.0
        targets = _take(dropout(features.normed, feature_dropout, features.keys), flat)
        quantized = self.quantizer(
            targets,
            places,
            seed=draw.seed,
            step=draw.step,
            rows=draw.rows,
            temperature=self._temperature(draw.step),
        )
        if negatives is None:
            negatives = draw_negatives(
                counts, places.shape[1], self.architecture.negatives, seed=draw.seed, step=draw.step, rows=draw.rows
            )
        result = contrast(
            self.context_projection(_take(context, flat)),
            quantized.targets,
            quantized.codes,
            negatives,
            valid,
            self.architecture.logit_temperature,
        )
        penalty_sum, penalty_count = self._penalty(features, frame_lengths)
        one_hot = valid[:, :, None, None] & (
            quantized.codes[..., None] == torch.arange(self.quantizer.entries, device=valid.device)
        )
        return PretrainingOutput(
            contrastive_sum=result.loss,
            masked=counts.sum(),
            penalty_sum=penalty_sum,
            penalty_count=penalty_count,
            probability_sum=torch.where(valid[:, :, None, None], quantized.probabilities, 0).sum((0, 1)),
            code_counts=one_hot.sum((0, 1)),
            correct=result.correct,
            similarity=result.similarity.detach(),
            codes=quantized.codes,
        )

    def _nothing_to_learn(self, raw: Tensor) -> PretrainingOutput:
        """Output of a batch in which every recording is below the receptive field: zeros, still differentiable."""
        zero, none = raw.sum(), torch.zeros((), dtype=torch.long, device=raw.device)
        table = raw.new_zeros(self.quantizer.groups, self.quantizer.entries)
        return PretrainingOutput(
            contrastive_sum=zero,
            masked=none,
            penalty_sum=zero,
            penalty_count=none,
            probability_sum=table + zero,
            code_counts=table.long(),
            correct=none,
            similarity=raw.new_zeros(1, 0, 0),
            codes=table.new_zeros(1, 0, self.quantizer.groups, dtype=torch.long),
        )

    def _masked_places(self, masks: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M) places of masked frames, in order, and which of them are real."""
        if torch.compiler.is_compiling():
            m = self.masking
            most = most_masked(masks.shape[1], m.time_start, m.time_span, m.min_spans)
        else:
            most = max(1, int(counts.max()))
        most = min(most, masks.shape[1])
        places = (~masks).long().sort(dim=1, stable=True).indices[:, :most]
        return places, torch.arange(most, device=masks.device) < counts[:, None]

    def _temperature(self, step: int | Tensor) -> float | Tensor:
        r = self.regularization
        if isinstance(step, int):
            return r.temperature(step)
        return (r.tau_start * torch.pow(r.tau_decay, step.double())).clamp_min(r.tau_end).float()

    def _penalty(self, features: Features, frame_lengths: Tensor) -> tuple[Tensor, Tensor]:
        raw = features.raw if features.raw.dtype == torch.float64 else features.raw.float()
        count = frame_lengths.sum() * raw.shape[-1]
        if isinstance(features.layout, Packed):
            return raw.square().sum(), count
        return torch.where(features.layout.valid[:, :, None], raw.square(), 0).sum(), count


def _usable(counts: Tensor) -> Tensor:
    """A row with a single masked frame has no distractors: it does not enter the loss."""
    return torch.where(counts > 1, counts, 0)


def _take(frames: Tensor, flat: Tensor) -> Tensor:
    """Frames of either layout at flattened places (B, M) -> (B, M, C)."""
    taken = frames.flatten(0, -2).index_select(0, flat.flatten())
    return taken.view(*flat.shape, frames.shape[-1])
