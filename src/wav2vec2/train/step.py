"""One update of the parameters: forward and backward passes of its micro-batches, sum of gradients, step of AdamW.

What the losses are divided by is counted on the host before the first forward pass, for all micro-batches and
processes. The host then only queues work: whether the gradient is finite, how far it is clipped and whether AdamW takes
its step are decided where the gradient is.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor, nn

from wav2vec2.data.dataset import Update
from wav2vec2.device import moved
from wav2vec2.model.feature_encoder import FeatureEncoder
from wav2vec2.train import distributed, optimizer
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.health import first_bad_module, first_bad_parameter
from wav2vec2.train.loss_scale import LossScale
from wav2vec2.train.objective import BatchT, Objective, Run
from wav2vec2.train.parallel import Engine, blocks
from wav2vec2.train.precision import precision_on


@dataclass(frozen=True)
class Work(Generic[BatchT]):
    """This process's part of an update, and what all processes have told each other about it."""

    batches: Sequence[BatchT]
    counts: Tensor
    """(n,) what the losses are divided by, over all processes."""
    amount: float
    """Data in this process's batches, in the loader's unit."""
    padded_amount: float
    """The same with padding."""
    held: float
    """Data that could be read, over all processes."""
    bad: Sequence[str]
    """A line for each utterance that this process could not read."""
    bad_files: int
    """Utterances that could not be read, over all processes."""
    stop: bool
    """Whether a process has been asked to stop."""


@dataclass(frozen=True)
class Taken:
    """What an update left on the device."""

    norm: Tensor
    """Euclidean norm of the gradient. If it is not finite, the parameters are as before."""
    sums: Mapping[str, Tensor]
    """This process's sums of its objective, and the amounts of data with and without padding."""


class Step(Generic[BatchT]):
    """Updates the parameters of an objective's model.

    Args:
        run: settings of the run.
        objective: the model and its loss.
        unit: of the batch size, "seconds" or "tokens".
        ranks: this process and its device.
        wrap: turns the model into the module that is called; None calls the model itself.
    """

    def __init__(
        self,
        run: Run,
        objective: Objective[BatchT],
        unit: str,
        ranks: Ranks,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        self._run, self._objective, self._unit, self._ranks = run, objective, unit, ranks
        precision = precision_on(ranks.device, run.train)
        self._dtype, self._half = precision.weights, precision.products
        self.precision_line = precision.line
        """What the user should know about the precision on this device."""
        self.model = objective.model.to(ranks.device, self._dtype)
        self.loss_scale = LossScale(ranks.device, used=precision.scaled)
        backend = "inductor" if run.train.compile else None
        for block in blocks(self.model) if self._half else ():
            block.residual = precision.residual
        for module in self.model.modules():
            if isinstance(module, FeatureEncoder) and not run.train.triton:
                module.first_kernel = False
        self.engine = Engine(self.model, run.parallel, ranks, self._half, wrap, backend)
        self.module = self.engine.module
        named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self.optimizer, self.decay_line = optimizer.build_optimizer(named, run.train)
        self._copies = (
            torch.cuda.Stream(ranks.device) if ranks.device.type == "cuda" and torch.cuda.is_available() else None
        )
        self.part_norms: dict[str, Tensor] = {}
        """Norms of the last gradient by part of the model, where ``take`` was asked for them."""

    def prepare(self, update: Update[BatchT], number: int, stop: bool) -> Work[BatchT]:
        """Bring an update's batches to the device and count over all processes, on their hosts.

        Args:
            update: from the loader.
            number: of the update, from 0.
            stop: whether this process has been asked to stop.
        """
        given = update.micro_batches
        ready = [self._objective.ready(batch, number) for batch in given]
        counts = self._objective.counts(ready, number)
        bad = [line for batch in given for line in batch.bad]
        amount = sum(float(batch.amount) for batch in given)
        flags = torch.tensor([amount, len(bad), float(stop)], dtype=torch.float64)
        totals = distributed.sum_over_ranks(torch.cat([counts, flags]))
        counts, (held, all_bad, all_stop) = totals[:-3], totals[-3:].tolist()
        return Work(
            batches=[self._to_device(batch) for batch in ready],
            counts=moved(counts, self._ranks.device),
            amount=amount,
            padded_amount=sum(batch.padded_amount for batch in given),
            held=held,
            bad=bad,
            bad_files=int(all_bad),
            stop=all_stop > 0,
        )

    def _to_device(self, batch: BatchT) -> BatchT:
        """Copy beside what is computed: the host has queued it, but a GPU may still be at the update before."""
        device = self._ranks.device
        if self._copies is None:
            return batch.to(device, self._dtype)
        with torch.cuda.stream(self._copies):
            there = batch.to(device, self._dtype)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(self._copies)
        for value in vars(there).values():
            if isinstance(value, Tensor) and value.is_cuda:
                value.record_stream(computing)
        return there

    def take(self, work: Work[BatchT], number: int, lr: float, zeros: dict[str, Tensor], *, by_part: bool) -> Taken:
        """Do update ``number`` with a learning rate. ``zeros`` are the sums to fill.

        With ``by_part``, ``part_norms`` is set.
        """
        self.module.train()
        for micro_batch in range(len(work.batches)):
            last, static = micro_batch == len(work.batches) - 1, work.batches[micro_batch].static
            with self.engine.accumulating(last), self.engine.shapes(static):
                loss, terms = self._forward(work, micro_batch, number)
                if loss is not None:
                    scaled = loss * self.loss_scale.factor if self.loss_scale.used else loss
                    self.engine.joined(scaled).backward()
            for name, value in terms.items():
                zeros[name] += value.detach()
        zeros[self._unit] += work.amount
        zeros[f"padded_{self._unit}"] += work.padded_amount
        parameters = self._objective.trained(number)
        self._keep_gradients(parameters)
        scale = self.loss_scale.factor
        norm = optimizer.gradient_norm(parameters) / scale
        if by_part:
            norms = optimizer.gradient_norms_by_part(self.model)
            self.part_norms = {name: value / scale for name, value in norms.items()}
        optimizer.set_lr(self.optimizer, lr)
        optimizer.step_if_finite(self.optimizer, norm, self._run.train.clip_norm, scale)
        self.loss_scale.adjust(norm)
        return Taken(norm, zeros)

    def _keep_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Drop gradients of other parameters; a missing one is zero, so that AdamW treats it alike on all processes."""
        trained = {id(parameter) for parameter in parameters}
        for parameter in self.model.parameters():
            if id(parameter) not in trained:
                parameter.grad = None
            elif parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    def forget_gradients(self) -> None:
        """Free the gradients of the last update."""
        self.optimizer.zero_grad(set_to_none=True)

    def _forward(self, work: Work[BatchT], micro_batch: int, number: int) -> tuple[Tensor | None, dict[str, Tensor]]:
        # Dropout on accelerators draws from torch's generator: seeded here, it needs no place in checkpoints.
        torch.manual_seed(distributed.dropout_seed(self._run.seed, number, self._ranks.rank, micro_batch))
        with torch.autocast(self._ranks.device.type, self._half) if self._half else nullcontext():
            return self._objective.loss(self.module, work.batches[micro_batch], micro_batch, work.counts, number)

    def bad_parameter(self) -> str:
        """The first parameter, or else gradient, that is not finite; "" if all are finite."""
        return distributed.first_text(first_bad_parameter(self.model))

    def bad_module(self, work: Work[BatchT], number: int) -> str:
        """Run the forward passes of an update again; the first module whose output is not finite, or ""."""

        def again() -> None:
            for micro_batch in range(len(work.batches)):
                self._forward(work, micro_batch, number)

        return distributed.first_text(first_bad_module(self.model, again))
