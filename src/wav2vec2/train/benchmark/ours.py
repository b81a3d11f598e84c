"""The steps of this package that are measured: those of its commands, on batches that are given."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.dataset import MicroBatch, Update
from wav2vec2.data.sampler import Position
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import SharedEncoder
from wav2vec2.model.randomness import Draw
from wav2vec2.model.variants.pretraining import pretraining_model
from wav2vec2.train.benchmark.workload import Waveforms, Workload, made_up_text, padded, vocabulary
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.finetune.objective import CTCObjective
from wav2vec2.train.objective import Objective, Run
from wav2vec2.train.options import HealthConfig, LogConfig, ParallelConfig
from wav2vec2.train.pretrain.objective import ContrastiveObjective
from wav2vec2.train.state import LogWindow
from wav2vec2.train.step import Step

SEED = 1
_LEARNING_RATE = 1e-5


class Steps(Protocol):
    """One side of a comparison: batches are made ready first, then computed."""

    def ready(self, rows: Waveforms, update: int) -> Any:
        """What a data loader would hand over for these waveforms."""

    def compute(self, batch: Any, update: int) -> Tensor | None:
        """One whole step; inference returns logits."""

    def forget_gradients(self) -> None:
        """Free what a step that failed has left."""


def build(w: Workload) -> SharedEncoder:
    """The model of a workload, with the same weights each time."""
    torch.manual_seed(0)
    if w.task == "pretrain":
        return pretraining_model(w.architecture, w.regularization, w.masking)
    return Wav2Vec2ForCTC(w.architecture, vocabulary(), w.regularization, w.masking)


def autocast(w: Workload) -> AbstractContextManager[Any]:
    """The precision of a workload's matrix products."""
    return torch.autocast(torch.device(w.device).type, torch.bfloat16) if w.half else nullcontext()


class OurSteps:
    """Steps of training as the training loop takes them, or of inference."""

    def __init__(self, w: Workload) -> None:
        self.workload = w
        self.device = torch.device(w.device)
        self.model: SharedEncoder = build(w).to(self.device)
        if w.task == "inference":
            self.model.eval()
            return
        self.objective: Objective[MicroBatch] = objective(w, self.model)
        run = Run(None, Path(), SEED, None, w.train, ParallelConfig(), LogConfig(), HealthConfig(), "")
        self.step = Step(run, self.objective, "seconds", Ranks(0, 1, self.device))
        self.window = LogWindow("seconds", self.objective.sums(), self.device)

    def ready(self, rows: Waveforms, update: int) -> MicroBatch:
        """The batch that the data loader would read."""
        waveforms, lengths = padded(rows)
        ids = tuple(str(i) for i in range(len(rows)))
        full = len({len(row) for row in rows}) == 1
        batch = MicroBatch(waveforms, lengths, torch.arange(len(rows)), ids, (), full=full, static=full)
        batch = self.with_texts(batch)
        return batch.pin_memory() if self.device.type == "cuda" else batch

    def with_texts(self, batch: MicroBatch) -> MicroBatch:
        """The batch with made-up transcripts, as many letters as its audio would have."""
        seconds = (batch.lengths / SAMPLE_RATE).tolist()
        return replace(batch, texts=tuple(made_up_text(n, SEED + i) for i, n in enumerate(seconds)))

    def compute(self, batch: MicroBatch, update: int) -> Tensor | None:
        """One update with one micro-batch, or a batch to logits."""
        if self.workload.task == "inference":
            batch = batch.to(self.device)
            with torch.inference_mode(), autocast(self.workload):
                logits: Tensor = self.model(batch.waveforms, batch.lengths)[0]
            return logits
        work = self.step.prepare(Update([batch], Position()), update, stop=False)
        self.step.take(work, update, _LEARNING_RATE, self.window.zeros(), by_part=False)
        self.step.forget_gradients()
        return None

    def forget_gradients(self) -> None:
        """Free what a step that failed has left."""
        self.model.zero_grad(set_to_none=True)

    def masked(self, batch: MicroBatch, update: int) -> list[int] | None:
        """Masked frames of each utterance, for the count of operations; None outside pre-training."""
        if self.workload.task != "pretrain":
            return None
        draw = Draw(SEED, update, batch.rows)
        return self.model.masked_counts(batch.lengths, draw).tolist()  # type: ignore[no-any-return,operator]


def objective(w: Workload, model: Any) -> Objective[MicroBatch]:
    """The objective that the command for the workload's task builds."""
    if w.task == "pretrain":
        return ContrastiveObjective(model, w.loss, SEED)
    return CTCObjective(model, vocabulary(), seed=SEED)
