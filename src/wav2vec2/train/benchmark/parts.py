"""How the time of a step divides among the parts of the model, forward and backward.

The borders are seen from outside: when the feature encoder and the context network return, when gradients arrive at
their outputs, and when the last parameter has its gradient. On a GPU the times are those of the device.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from wav2vec2.model.flops import PARTS
from wav2vec2.train.benchmark.ours import OurSteps
from wav2vec2.train.benchmark.workload import Waveforms

ENCODER, CONTEXT, HEAD = PARTS
OPTIMISER = "optimiser"


class Stopwatch:
    """Seconds between moments of the device's work, each under the name of what ended there."""

    def __init__(self, device: torch.device) -> None:
        self._on_device = device.type == "cuda"
        self._moments: list[tuple[str, Any]] = []

    def mark(self, name: str) -> None:
        """What is called ``name`` ends here."""
        if self._on_device:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._moments.append((name, event))
        else:
            self._moments.append((name, time.perf_counter()))

    def last(self, name: str) -> None:
        """What is called ``name`` ends here or at a later call; the last one in a row counts."""
        if self._moments and self._moments[-1][0] == name:
            self._moments.pop()
        self.mark(name)

    def seconds(self) -> dict[str, float]:
        """Seconds by name since the mark before each; the first mark only starts the clock."""
        if self._on_device:
            torch.cuda.synchronize()
        sums: dict[str, float] = {}
        for (_, before), (name, now) in zip(self._moments, self._moments[1:], strict=False):
            taken = before.elapsed_time(now) / 1000 if self._on_device else now - before
            sums[name] = sums.get(name, 0.0) + taken
        return sums


def time_of_parts(steps: OurSteps, rows: Waveforms, update: int) -> dict[str, float]:
    """Seconds of one step by part and direction: "feature encoder, forward" and so on, and "optimiser"."""
    batch, watch = steps.ready(rows, update), Stopwatch(steps.device)
    with _watched_model(steps.model, watch), _watched_loss(steps, watch):
        watch.mark("start")
        steps.compute(batch, update)
        watch.mark(OPTIMISER if steps.workload.task != "inference" else f"{HEAD}, forward")
        return watch.seconds()


@contextmanager
def _watched_loss(steps: OurSteps, watch: Stopwatch) -> Iterator[None]:
    """Within this context, the forward pass ends when the loss is differentiated."""
    if steps.workload.task == "inference":
        yield
        return
    objective: Any = steps.objective
    compute = objective.loss

    def loss(*arguments: Any) -> tuple[Tensor | None, dict[str, Tensor]]:
        value, terms = compute(*arguments)
        if value is not None:
            value.register_hook(lambda _: watch.mark(f"{HEAD}, forward"))
        return value, terms

    objective.loss = loss
    try:
        yield
    finally:
        objective.loss = compute


@contextmanager
def _watched_model(model: Any, watch: Stopwatch) -> Iterator[None]:
    """Within this context, every pass of the model marks the ends of its parts."""

    def features(module: nn.Module, inputs: Any, output: tuple[Tensor, Any]) -> None:
        watch.mark(f"{ENCODER}, forward")
        if output[0].requires_grad:
            output[0].register_hook(lambda _: watch.mark(f"{CONTEXT}, backward"))

    def context(module: nn.Module, inputs: Any, output: Tensor) -> None:
        watch.mark(f"{CONTEXT}, forward")
        if output.requires_grad:
            output.register_hook(lambda _: watch.mark(f"{HEAD}, backward"))

    encoder = model.encoder
    trained = [p for p in encoder.feature_encoder.parameters() if p.requires_grad]
    frozen = model.regularization.feature_grad_mult == 0.0 or not trained
    last = encoder.context.parameters() if frozen else trained
    end = f"{CONTEXT if frozen else ENCODER}, backward"
    handles = [
        encoder.feature_encoder.register_forward_hook(features),
        encoder.context.register_forward_hook(context),
        *(p.register_post_accumulate_grad_hook(lambda _: watch.last(end)) for p in last),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
