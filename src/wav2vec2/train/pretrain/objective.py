"""Equation 2 as the training loop sees it: contrastive, diversity and penalty terms with global denominators."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from wav2vec2.config import option
from wav2vec2.data.dataset import MicroBatch, fixed_batches
from wav2vec2.data.manifest import Manifest
from wav2vec2.model.pretraining import PretrainingOutput, Wav2Vec2ForPretraining
from wav2vec2.model.quantizer import diversity_loss, perplexity
from wav2vec2.model.randomness import Draw
from wav2vec2.train import distributed
from wav2vec2.train.pretrain.fixed_units import FixedUnitSource

VALIDATION_SEED = 20_200_620
"""Of the masks and negatives of validation: the same at every validation of every run."""


@dataclass(frozen=True)
class LossConfig:
    """Terms beside the contrastive one (section 3.2), and the quantizer's temperature."""

    diversity_weight: float = option(0.1, low=0.0)
    penalty_weight: float = option(10.0, low=0.0)
    """Of the mean square of the feature encoder's outputs."""
    tau_floor_share: float = option(0.0, low=0.0, high=1.0)
    """Share of the updates after which the Gumbel temperature is at its floor; 0: regularization.tau_decay as given."""


class ContrastiveObjective:
    """Contrastive, diversity and feature penalty terms with global denominators (see ``train.objective.Objective``).

    The diversity term uses the softmax averaged over all processes' share of a micro-batch; k micro-batches give the
    mean of k such terms.
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

    def counts(self, batches: Sequence[MicroBatch], update: int) -> Tensor:
        """[valid frames x channels, masked frames of micro-batch 0, of micro-batch 1, ...]."""
        result = torch.zeros(1 + len(batches), dtype=torch.float64, device=batches[0].lengths.device)
        for number, batch in enumerate(batches):
            if len(batch.rows):
                frames = self._model.frame_lengths(batch.lengths).sum()
                result[0] += frames * self._model.architecture.feature_size
                masked = self._model.masked_counts(batch.lengths, Draw(self._seed, update, batch.rows))
                result[1 + number] = masked.sum()
        return result

    def loss(
        self, module: nn.Module, batch: MicroBatch, number: int, counts: Tensor, update: int
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """One micro-batch's share of equation 2; communicates once (the softmax sum)."""
        micro_batches, (_, world) = len(counts) - 1, distributed.place()
        if not len(batch.rows):
            if not self._learned:
                return None, {}
            mean = distributed.sum_over_ranks(torch.zeros(self.codebooks, device=counts.device, dtype=self._dtype()))
            mean = mean / counts[1 + number].clamp_min(1).to(mean.dtype)
            return None, {"diversity": diversity_loss(mean).double() / (micro_batches * world)}
        out = self._forward(module, batch, self._seed, update)
        denominators = counts.clamp_min(1).to(out.contrastive_sum.dtype)
        masked = counts[1:].sum().clamp_min(1).to(out.contrastive_sum.dtype)
        diversity = torch.zeros((), dtype=masked.dtype, device=masked.device)
        if self._learned:
            diversity = diversity_loss(distributed.differentiable_sum(out.probability_sum) / denominators[1 + number])
        loss = (
            out.contrastive_sum / masked
            + self._weights.diversity_weight * diversity / micro_batches
            + self._weights.penalty_weight * out.penalty_sum / denominators[0]
        )
        return loss, {
            "contrastive": out.contrastive_sum,
            "masked": out.masked,
            "correct": out.correct,
            "penalty": out.penalty_sum,
            "penalty_count": out.penalty_count,
            "diversity": diversity.double() / (micro_batches * world),
            "probabilities": out.probability_sum,
            "codes": out.code_counts,
        }

    def _forward(self, module: nn.Module, batch: MicroBatch, seed: int, step: int) -> PretrainingOutput:
        fixed = {} if self._units is None else {"units": self._units(batch.waveforms, batch.lengths)}
        return module(  # type: ignore[no-any-return]
            batch.waveforms, batch.lengths, draw=Draw(seed, step, batch.rows), **fixed
        )

    def _dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def sums(self) -> dict[str, Tensor]:
        """Zeros, float64."""
        names = ("contrastive", "masked", "correct", "penalty", "penalty_count", "diversity")
        scalars = {name: torch.zeros((), dtype=torch.float64) for name in names}
        return scalars | {name: torch.zeros(self.codebooks, dtype=torch.float64) for name in ("probabilities", "codes")}

    def numbers(self, sums: dict[str, Tensor], update: int) -> dict[str, float]:
        """Means over the window; losses in nats, accuracy and share of codes used in [0, 1]."""
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
        """Held-out speech with the same masks and negatives every time; the score is the total loss (SPEC E)."""
        if self._validation is None:
            return None
        device, sums = next(self.model.parameters()).device, self.sums()
        sums = {name: value.to(device) for name, value in sums.items()}
        rank, world = distributed.place()
        for batch in fixed_batches(
            self._validation,
            self._micro_samples,
            normalize=self._model.architecture.normalize_input,
            rank=rank,
            world=world,
            max_samples=self._max_samples,
        ):
            if not len(batch.rows):
                continue
            there = batch.to(device, self._dtype())
            out = self._forward(module, there, VALIDATION_SEED, 0)
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
        numbers["score"] = self._total(numbers)
        return numbers

    def remarks(self) -> list[str]:
        """Nothing beyond the numbers."""
        return []

    def export(self, directory: Path) -> None:
        """Write a model directory."""
        from wav2vec2.checkpoints.huggingface.directory import save

        save(self._model, directory)
