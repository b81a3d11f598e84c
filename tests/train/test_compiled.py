"""Blocks are compiled one by one: no break in their graphs, one compilation for each shape, the same numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny_run import TINY, micro_batch, pretrain_config
from torch._dynamo.testing import CompileCounter

from wav2vec2.data.dataset import MicroBatch
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.finetune import lora
from wav2vec2.train.finetune.ways import freeze
from wav2vec2.train.options import ParallelConfig, refuse_impossible
from wav2vec2.train.parallel import Engine
from wav2vec2.train.pretrain.objective import ContrastiveObjective, LossConfig

QUIET = Regularization(
    dropout=0, attention_dropout=0, activation_dropout=0, input_dropout=0, feature_dropout=0, layerdrop=0.5
)


def batch_of(rows: tuple[int, ...], samples: int) -> MicroBatch:
    batch = micro_batch(rows)
    lengths = torch.full_like(batch.lengths, samples)
    return replace(batch, waveforms=batch.waveforms[:, :samples], lengths=lengths, full=True, static=True)


def losses(backend: Any, shapes: list[tuple[tuple[int, ...], int, bool]]) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = Wav2Vec2ForPretraining(replace(TINY, layers=4).build(), QUIET).double()
    model.encoder.packed = False
    objective = ContrastiveObjective(model, LossConfig(), seed=3)
    engine, found = Engine(model, ParallelConfig(), Ranks(0, 1, torch.device("cpu")), backend=backend), []
    for update, (rows, samples, static) in enumerate(shapes):
        batch = objective.ready(batch_of(rows, samples), update).to(torch.device("cpu"), torch.float64)
        with engine.shapes(static):
            loss, _ = objective.loss(engine.module, batch, 0, objective.counts([batch], update), update)
        assert loss is not None
        loss.backward()
        found.append(loss.detach())
    return found


def test_one_compilation_for_each_shape_and_none_for_others() -> None:
    """Four blocks, three shapes in sixteen updates, of which LayerDrop leaves out some blocks at each."""
    shapes = [((0, 1), 9_000, True), ((0, 1, 2), 8_000, True), ((0, 1), 7_000, True)]
    seen = [shapes[update % 3] for update in range(15)] + [((0, 1), 6_000, False)]
    torch.compiler.reset()
    counter = CompileCounter()
    compiled = losses(counter, seen)
    assert counter.frame_count == 3
    torch.testing.assert_close(torch.stack(compiled), torch.stack(losses(None, seen)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("way", ["adapters", "lora"])
def test_blocks_with_few_trained_weights_compile_whole(way: Any) -> None:
    found = []
    for backend in (None, CompileCounter()):
        torch.compiler.reset()
        torch.manual_seed(0)
        sizes = replace(TINY.build(), layer_norm_first=True, adapter_size=3 if way == "adapters" else 0)
        model = Wav2Vec2ForCTC(sizes, 5, replace(QUIET, layerdrop=0.0, feature_grad_mult=0.0)).double()
        model.encoder.packed = False
        if way == "lora":
            lora.insert(model, 2, 4.0)
        freeze(model, way)
        engine = Engine(model, ParallelConfig(), Ranks(0, 1, torch.device("cpu")), backend=backend)
        logits, _ = engine.module(batch_of((0, 1), 9_000).waveforms.double())
        logits.square().sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-9, atol=1e-12)


def test_compiling_needs_few_shapes() -> None:
    config = pretrain_config(Path("m"), Path("o"))
    config = replace(config, train=replace(config.train, compile=True), batch=replace(config.batch, buckets=0))
    with pytest.raises(UserError, match=r"train\.compile needs batches of few shapes: set batch\.buckets"):
        refuse_impossible(config)
    refuse_impossible(replace(config, batch=replace(config.batch, buckets=8)))
