"""The objective of pre-training (section 3.2, equation 2): contrastive, diversity and penalty terms, and validation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor, nn

from wav2vec2.config import option
from wav2vec2.data.dataset import MicroBatch, fixed_batches
from wav2vec2.data.manifest import Manifest
from wav2vec2.device import moved
from wav2vec2.model.pretraining import PretrainingOutput, Wav2Vec2ForPretraining
from wav2vec2.model.quantizer import diversity_loss, perplexity
from wav2vec2.model.randomness import Draw
from wav2vec2.train import distributed
from wav2vec2.train.pretrain.fixed_units import FixedUnitSource

VALIDATION_SEED = 20_200_620
"""Seed of the masks and distractors of validation, the same in all runs."""


@dataclass(frozen=True)
class LossConfig:
    """Terms of the loss besides the contrastive one (section 3.2), choice of the best weights, Gumbel temperature."""

    diversity_weight: float = option(0.1, low=0.0)
    """Weight of the diversity term (alpha in the paper)."""
    penalty_weight: float = option(10.0, low=0.0)
    """Weight of the mean square of the feature encoder's output."""
    diversity_over: Literal["all", "process"] = "all"
    """Average codebook probabilities over the frames of all processes, or of each alone as the released code does."""
    best_by: Literal["contrastive", "total"] = option("contrastive", formerly="total")
    """Validation loss that chooses the best weights: the contrastive term, as in the paper, or all terms together."""
    tau_floor_share: float = option(0.0, low=0.0, high=1.0)
    """Reach the lowest Gumbel temperature after this share of the updates; 0: use regularization.tau_decay."""


@dataclass(frozen=True)
class MaskedBatch(MicroBatch):
    """A micro-batch and its masks."""

    masks: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.bool))
    """(B, T) masked frames."""
    frames: int = 0
    """Valid frames in the batch."""
    masked: int = 0
    """Masked frames that enter the loss."""
    most: int = 1
    """Most of them in one utterance."""

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Self:
        """Return the batch on a device, its waveforms in ``dtype``."""
        return replace(super().to(device, dtype), masks=moved(self.masks, device))


class ContrastiveObjective:
    """Contrastive loss, diversity term and feature penalty (implements ``train.objective.Objective``).

    The contrastive loss and the penalty are divided by counts over the global batch, so neither micro-batches nor
    processes change them. The diversity term takes the codebook probabilities averaged over a micro-batch of all
    processes; with k micro-batches it is the mean of k terms. With ``loss.diversity_over`` = "process" each process has
    its own terms, and all terms are weighted by their masked frames.

    Args:
        model: in training.
        loss: weights of the terms.
        seed: of masks, distractors and Gumbel noise.
        validation: held-out speech.
        micro_samples: most padded samples of a forward pass in validation.
        max_samples: validation uses at most this many samples of an utterance, from its start; None: all.
        units: source of the targets where the variant has fixed ones.
    """

    def __init__(
        self,
        model: Wav2Vec2ForPretraining,
        loss: LossConfig,
        seed: int,
        validation: Manifest | None = None,
        micro_samples: int = 0,
        max_samples: int | None = None,
        units: FixedUnitSource | None = None,
    ) -> None:
        self.model: nn.Module = model
        self._model, self._weights, self._seed = model, loss, seed
        self._validation, self._micro_samples, self._max_samples = validation, micro_samples, max_samples
        self.chance: float | None = math.log(1 + model.architecture.all_negatives)
        self.judged = "contrastive"
        self.codebooks = model.codebooks
        self._learned, self._units = model.learned_codebooks, units

    def trained(self, update: int) -> list[nn.Parameter]:
        """All parameters that require a gradient."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def ready(self, batch: MicroBatch, update: int) -> MicroBatch:
        """The batch with its masks. See ``Objective.ready``."""
        absent = not len(batch.rows) or batch.waveforms.shape[1] < self._model.architecture.receptive_field
        if absent and not distributed.active():
            return batch
        return self._masked(batch.stand_in() if absent else batch, self._seed, update)

    def _masked(self, batch: MicroBatch, seed: int, update: int) -> MaskedBatch:
        samples = batch.waveforms.shape[1]
        masks, counts = self._model.draw_masks(batch.lengths, samples, Draw(seed, update, batch.rows))
        return MaskedBatch(
            **vars(batch),
            masks=masks,
            frames=int(self._model.frame_lengths(batch.lengths).sum()),
            masked=int(counts.sum()),
            most=max(1, int(counts.max())),
        )

    def counts(self, batches: Sequence[MicroBatch], update: int) -> Tensor:
        """[valid frames x channels, masked frames of micro-batch 0, masked frames of micro-batch 1, ...]."""
        result = torch.zeros(1 + len(batches), dtype=torch.float64)
        for number, batch in enumerate(batches):
            if isinstance(batch, MaskedBatch) and not batch.absent:
                result[0] += batch.frames * self._model.architecture.feature_size
                result[1 + number] = batch.masked
        return result

    def loss(
        self, module: nn.Module, batch: MicroBatch, number: int, counts: Tensor, update: int
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """One micro-batch's share of equation 2. Sums the codebook probabilities over processes if these share them."""
        if not isinstance(batch, MaskedBatch):
            return None, {}
        out = self._forward(module, batch, self._seed, update)
        if batch.absent:
            out = PretrainingOutput(**{field.name: 0 * getattr(out, field.name) for field in fields(out)})
        masked = counts[1:].sum().clamp_min(1).to(out.contrastive_sum.dtype)
        diversity = share = torch.zeros((), dtype=masked.dtype, device=masked.device)
        if self._learned:
            diversity, share = self._diversity(out.probability_sum, out.masked, number, counts)
        loss = (
            out.contrastive_sum / masked
            + diversity
            + self._weights.penalty_weight * out.penalty_sum / counts[0].clamp_min(1).to(masked.dtype)
        )
        return loss, {
            "contrastive": out.contrastive_sum,
            "masked": out.masked,
            "correct": out.correct,
            "penalty": out.penalty_sum,
            "penalty_count": out.penalty_count,
            "diversity": share,
            "probabilities": out.probability_sum,
            "codes": out.code_counts,
        }

    def _diversity(self, probability_sum: Tensor, masked: Tensor, number: int, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Equation 4 for one micro-batch: the weighted term of the loss, and this process's part of the logged value.

        ``probability_sum`` (G, V) is summed over this process's ``masked`` frames.
        """
        weight, dtype = self._weights.diversity_weight, probability_sum.dtype
        if self._weights.diversity_over == "process":
            share = masked / counts[1:].sum().clamp_min(1).to(dtype)
            diversity = diversity_loss(probability_sum / masked.clamp_min(1).to(dtype))
            return weight * diversity * share, diversity.double() * share
        micro_batches, (_, world) = len(counts) - 1, distributed.place()
        total = distributed.differentiable_sum(probability_sum)
        diversity = diversity_loss(total / counts[1 + number].clamp_min(1).to(dtype))
        return weight * diversity / micro_batches, diversity.double() / (micro_batches * world)

    def _forward(self, module: nn.Module, batch: MaskedBatch, seed: int, step: int) -> PretrainingOutput:
        fixed = {} if self._units is None else {"units": self._units(batch.waveforms, batch.lengths)}
        return module(  # type: ignore[no-any-return]
            batch.waveforms,
            None if batch.full else batch.lengths,
            draw=Draw(seed, step, batch.rows),
            masks=batch.masks,
            most=batch.most,
            **fixed,
        )

    def _dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def sums(self) -> dict[str, Tensor]:
        """A zero for each sum that ``loss`` returns, float64."""
        names = ("contrastive", "masked", "correct", "penalty", "penalty_count", "diversity")
        scalars = {name: torch.zeros((), dtype=torch.float64) for name in names}
        return scalars | {name: torch.zeros(self.codebooks, dtype=torch.float64) for name in ("probabilities", "codes")}

    def numbers(self, sums: dict[str, Tensor], update: int) -> dict[str, float]:
        """Means over the window: losses in nats; accuracy and share of codes in use between 0 and 1."""
        numbers = self._means(sums)
        numbers["diversity"] = float(sums["diversity"] / sums["updates"].clamp_min(1))
        numbers["loss"] = self._total(numbers)
        numbers["chance"] = self.chance or 0.0
        numbers["tau"] = self._model.regularization.temperature(update)
        return numbers

    def _means(self, sums: dict[str, Tensor]) -> dict[str, float]:
        masked = sums["masked"].clamp_min(1)
        means = {
            "contrastive": float(sums["contrastive"] / masked),
            "accuracy": float(sums["correct"] / masked),
            "penalty": float(sums["penalty"] / sums["penalty_count"].clamp_min(1)),
        }
        for name, of, there in (("code", "codes", self.codebooks[0]), ("soft", "probabilities", self._learned)):
            if there:
                shares = sums[of] / masked
                means[f"{name}_perplexity"] = float(perplexity(shares))
                means |= {f"{name}_perplexity_{group}": float(perplexity(one)) for group, one in enumerate(shares, 1)}
        if self.codebooks[0]:
            means["codes_used"] = float((sums["codes"] > 0).double().mean())
        return means

    def _total(self, numbers: dict[str, float]) -> float:
        w = self._weights
        extra = w.diversity_weight * numbers["diversity"] + w.penalty_weight * numbers["penalty"]
        return numbers["contrastive"] + extra

    def describe(self, numbers: dict[str, float]) -> str:
        """The middle of a console line."""
        n, codes = numbers, ""
        if self.codebooks[0]:
            soft = f" (soft {n['soft_perplexity']:.1f})" if self._learned else ""
            codes = f"codes {100 * n['codes_used']:.0f} % used, perplexity {n['code_perplexity']:.1f}{soft}  "
        tau = f"  tau {n['tau']:.2f}" if self._learned else ""
        return (
            f"loss {n['contrastive']:.3f} nats (chance {n['chance']:.3f})  acc {100 * n['accuracy']:.1f} %  "
            f"{codes}penalty {n['penalty']:.3g}{tau}"
        )

    @torch.no_grad()
    def validate(self, module: nn.Module) -> dict[str, float] | None:
        """Losses on held-out speech, with the same masks and distractors every time. ``loss.best_by`` is the score."""
        if self._validation is None:
            return None
        device, sums = next(self.model.parameters()).device, self.sums()
        sums = {name: value.to(device) for name, value in sums.items()}
        rank, world = distributed.place()
        for batch in fixed_batches(
            self._validation,
            self._micro_samples,
            epsilon=self._model.architecture.normalization_epsilon,
            rank=rank,
            world=world,
            max_samples=self._max_samples,
        ):
            # other processes may need this one's weights
            masked = self._masked(batch if len(batch.rows) else batch.stand_in(), VALIDATION_SEED, 0)
            out = self._forward(module, masked.to(device, self._dtype()), VALIDATION_SEED, 0)
            if masked.absent:
                continue
            for name, value in (
                ("contrastive", out.contrastive_sum),
                ("masked", out.masked),
                ("correct", out.correct),
                ("penalty", out.penalty_sum),
                ("penalty_count", out.penalty_count),
                ("probabilities", out.probability_sum),
                ("codes", out.code_counts),
            ):
                sums[name] += value
        numbers = self._means({name: distributed.sum_over_ranks(value) for name, value in sums.items()})
        entries = self.codebooks[0] * self.codebooks[1]
        numbers["diversity"] = (entries - numbers["soft_perplexity"]) / entries if self._learned else 0.0
        numbers["loss"] = self._total(numbers)
        numbers["score"] = numbers["loss" if self._weights.best_by == "total" else "contrastive"]
        return numbers

    def remarks(self) -> list[str]:
        """None: the numbers say it all."""
        return []

    def export(self, model: nn.Module, directory: Path) -> None:
        """Write a model directory."""
        from wav2vec2.checkpoints.huggingface.directory import save

        assert isinstance(model, Wav2Vec2ForPretraining)
        save(model, directory)
