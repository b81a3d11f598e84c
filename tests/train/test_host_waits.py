"""The host never waits for a GPU within an update: nothing of it is read back.

There is no GPU here, and torch's fake tensors cannot stand for one in a torch that was built without CUDA: autograd
asks for the device. Tensors of the device "meta" have shapes but no data: autograd runs, and whatever would make a host
wait (``.item()``, ``float()``, ``if tensor``, ``.cpu()``, shapes that depend on values) raises. A whole update runs on
them, in the padded layout that accelerators use.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny_run import TINY, micro_batch, pretrain_config
from torch.utils._python_dispatch import TorchDispatchMode

from wav2vec2.data.dataset import MicroBatch, Update
from wav2vec2.data.sampler import Position
from wav2vec2.model.architecture import Masking
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.feature_encoder import FeatureEncoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.finetune.objective import CTCObjective
from wav2vec2.train.objective import Run
from wav2vec2.train.pretrain.objective import ContrastiveObjective, LossConfig
from wav2vec2.train.state import LogWindow
from wav2vec2.train.step import Step

ELSEWHERE = torch.device("meta")


class Operations(TorchDispatchMode):
    """Counts operations, and those that read a tensor without data back."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.reads = 0, 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        self.count += 1
        self.reads += "_local_scalar_dense" in str(function) and arguments[0].is_meta
        return function(*arguments, **(named or {}))


def objective_of(kind: str, layer_norm: bool) -> Any:
    torch.manual_seed(0)
    model = replace(TINY, conv_norm="layer", layer_norm_first=True) if layer_norm else TINY
    if kind == "ctc":
        vocabulary = Vocabulary.from_transcripts(["AB BA"])
        masking = Masking(channel_start=0.02, channel_span=4)
        return CTCObjective(Wav2Vec2ForCTC(model.build(), vocabulary, masking=masking), vocabulary, seed=9)
    return ContrastiveObjective(Wav2Vec2ForPretraining(model.build()), LossConfig(), seed=9)


def batch_of(rows: tuple[int, ...], full: bool) -> MicroBatch:
    batch = micro_batch(rows)
    if full:
        samples = min(batch.lengths.tolist())
        waveforms, lengths = batch.waveforms[:, :samples], torch.full_like(batch.lengths, samples)
        batch = replace(batch, waveforms=waveforms, lengths=lengths, full=True)
    return replace(batch, texts=("AB",) * len(rows))


def step_of(kind: str, layer_norm: bool) -> Step[MicroBatch]:
    config = pretrain_config(Path("m"), Path("o"))
    run = Run.of(replace(config, train=replace(config.train, clip_norm=1.0)), "")
    step = Step(run, objective_of(kind, layer_norm), "seconds", Ranks(0, 1, ELSEWHERE))
    for module in step.model.modules():
        if isinstance(module, FeatureEncoder):
            module.rows = True  # as on a GPU
    return step


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("kind", ["pretrain", "ctc"])
def test_an_update_reads_nothing_back(kind: str, layer_norm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # the losses of PyTorch have no kernel without data
    log_likelihoods: Callable[..., Any] = lambda logs, *_, **__: logs.sum((0, 2))  # noqa: E731
    monkeypatch.setattr("torch.nn.functional.ctc_loss", log_likelihoods)
    step = step_of(kind, layer_norm)
    window = LogWindow("seconds", objective_of(kind, layer_norm).sums(), ELSEWHERE)
    update = Update([batch_of((0, 1), True), batch_of((2, 3, 4), False)], Position())
    with Operations() as seen:
        work = step.prepare(update, 3, stop=False)
        taken = step.take(work, 3, 1e-3, window.zeros(), by_part=True)
        window.add(taken.sums, taken.norm)
        step.forget_gradients()
    assert next(step.model.parameters()).is_meta
    assert seen.count > 300
    assert seen.reads == 0
    with Operations() as seen, pytest.raises(RuntimeError):  # and this is what a read would do
        float(taken.norm)
    assert seen.reads == 1
