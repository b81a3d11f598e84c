"""Gradients of one update are the same for any number of processes, with torch's DDP and FSDP2, however it is split."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tests.train.tiny_run import TINY, micro_batch, pretrain_config
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from wav2vec2.data.dataset import MicroBatch, Update
from wav2vec2.data.sampler import Position
from wav2vec2.errors import UserError
from wav2vec2.lm.transformer.model_directory import TokenVocabulary
from wav2vec2.lm.transformer.network import LanguageModelDropout, LanguageModelSizes, TransformerNetwork
from wav2vec2.model.architecture import Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.finetune import lora
from wav2vec2.train.finetune.objective import CTCObjective
from wav2vec2.train.finetune.ways import freeze
from wav2vec2.train.language_model.objective import LanguageModelObjective
from wav2vec2.train.language_model.token_batches import pad_sentences
from wav2vec2.train.objective import Run
from wav2vec2.train.options import ParallelConfig
from wav2vec2.train.pretrain.objective import ContrastiveObjective, LossConfig
from wav2vec2.train.step import Step

pytestmark = pytest.mark.slow

NUMBER = 3
"""The update: at this one LayerDrop leaves a block out (see ``test_a_block_is_left_out``)."""
ROWS = (0, 1, 2, 3, 4)
DROPS = Regularization(layerdrop=0.5)
"""Dropout stays on too: its masks belong to utterances."""


def objective_of(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "words":
        sizes = LanguageModelSizes(hidden_size=16, layers=2, ffn_size=32, heads=2, cutoffs=(4,), cutoff_factor=2)
        words = TokenVocabulary(("</s>", "<unk>", *"ABCDEFGH"))
        return LanguageModelObjective(TransformerNetwork(sizes, len(words), LanguageModelDropout()), words, seed=5)
    if kind in ("ctc", "frozen"):
        vocabulary = Vocabulary.from_transcripts(["AB BA"])
        model = Wav2Vec2ForCTC(TINY.build(), vocabulary, DROPS, Masking(channel_start=0.02, channel_span=4))
        return CTCObjective(model, vocabulary, seed=9, freeze_updates=9 if kind == "frozen" else 0)
    if kind in ("adapters", "lora"):
        vocabulary = Vocabulary.from_transcripts(["AB BA"])
        sizes = replace(TINY.build(), layer_norm_first=True, adapter_size=3 if kind == "adapters" else 0)
        model = Wav2Vec2ForCTC(sizes, vocabulary, replace(DROPS, feature_grad_mult=0.0), Masking())
        if kind == "lora":
            lora.insert(model, 2, 4.0)
            for name, parameter in model.named_parameters():  # as after some updates: at zero A has no gradient
                nn.init.normal_(parameter, 0.0, 0.1) if ".lora_B." in name else None
        freeze(model, kind)  # type: ignore[arg-type]
        return CTCObjective(model, vocabulary, seed=9)
    over, weight = {"together": ("all", 1.0), "each": ("process", 1.0), "split": ("all", 0.0)}[kind]
    weights = LossConfig(diversity_weight=weight, diversity_over=over)  # type: ignore[arg-type]
    return ContrastiveObjective(Wav2Vec2ForPretraining(TINY.build(), DROPS), weights, seed=9)


def batch_of(kind: str, rows: tuple[int, ...]) -> Any:
    if kind == "words":
        import numpy as np

        pieces = [np.asarray([0, *[2 + (row + n) % 8 for n in range(3 + row)], 0], np.int32) for row in rows]
        return pad_sentences(pieces, list(rows))
    batch = micro_batch(rows)
    texts = tuple("AB BA"[: 1 + row] for row in rows)
    return MicroBatch(batch.waveforms, batch.lengths, batch.rows, batch.ids, texts) if kind != "split" else batch


def gradients(kind: str, shares: list[tuple[int, ...]], ranks: Ranks, parallel: ParallelConfig) -> dict[str, Tensor]:
    """Gradients of one update, of which this process has some micro-batches."""
    config = pretrain_config(Path("m"), Path("o"))
    train = {"updates": 10, "lr": 0.0, "precision": "fp64", "device": "cpu"}
    run = Run.of(type(config)(parallel=parallel, train=type(config.train)(**train)), "")  # type: ignore[arg-type]
    unit = "tokens" if kind == "words" else "seconds"
    step = Step(run, objective_of(kind), unit, ranks)
    work = step.prepare(Update([batch_of(kind, rows) for rows in shares], Position()), NUMBER, False)
    zeros = {name: torch.zeros_like(value) for name, value in step_sums(step, unit).items()}
    taken = step.take(work, NUMBER, 0.0, zeros, by_part=True)
    found = {name: p.grad for name, p in step.model.named_parameters() if p.grad is not None}
    whole = {name: g.full_tensor() if isinstance(g, DTensor) else g for name, g in found.items()}
    norm = sum(float(value.square().sum()) for value in whole.values()) ** 0.5
    assert float(taken.norm) == pytest.approx(norm, rel=1e-12)
    return {name: value.clone() for name, value in whole.items()}


def step_sums(step: Step[Any], unit: str) -> dict[str, Tensor]:
    scalars = {name: torch.zeros((), dtype=torch.float64) for name in (unit, f"padded_{unit}")}
    return scalars | step._objective.sums()


CASES = {
    # what each of two processes reads, and of three (the last has nothing), and of one
    "together": ([[ROWS[0::2]], [ROWS[1::2]]], [[(0, 1, 2)], [(3, 4)], [()]], [ROWS]),
    "each": ([[(0, 1)], [(2, 3, 4)]], [[(0, 1)], [(2, 3, 4)], [()]], [(0, 1), (2, 3, 4)]),
    "split": ([[(0,), (1,)], [(2, 3), (4,)]], [[(0, 1), ()], [(2,), (3,)], [(), (4,)]], [ROWS]),
    "ctc": ([[(0,), (1,)], [(2, 3), (4,)]], [[(0, 1), ()], [(2,), (3,)], [(), (4,)]], [ROWS]),
    "frozen": ([[(0, 1, 2)], [(3, 4)]], [[(0, 1, 2)], [(3, 4)], [()]], [ROWS]),
    "adapters": ([[(0,), (1,)], [(2, 3), (4,)]], [[(0, 1), ()], [(2,), (3,)], [(), (4,)]], [ROWS]),
    "lora": ([[(0,), (1,)], [(2, 3), (4,)]], [[(0, 1), ()], [(2,), (3,)], [(), (4,)]], [ROWS]),
    "words": ([[(0,), (1,)], [(2, 3), (4,)]], [[(0, 1), ()], [(2,), (3,)], [(), (4,)]], [ROWS]),
}
ENGINES = {
    "ddp": ParallelConfig(strategy="ddp"),
    "fsdp": ParallelConfig(strategy="fsdp"),
    "fsdp, recomputed": ParallelConfig(strategy="fsdp", recompute=True),
}


def one_process(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store-{world}", rank=rank, world_size=world)
    ranks = Ranks(rank, world, torch.device("cpu"))
    found = {
        (kind, engine): gradients(kind, shares[world - 2][rank], ranks, parallel)
        for kind, shares in CASES.items()
        for engine, parallel in ENGINES.items()
    }
    torch.save(found, f"{folder}/{world}-{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, Tensor]]:
    ranks = Ranks(0, 1, torch.device("cpu"))
    return {kind: gradients(kind, shares[2], ranks, ParallelConfig()) for kind, shares in CASES.items()}


@pytest.mark.parametrize("world", [2, 3])
def test_gradients_are_those_of_one_process(world: int, alone: dict[str, dict[str, Tensor]], tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_process, (world, str(tmp_path)), nprocs=world)
    for rank in range(world):
        for (kind, engine), found in torch.load(tmp_path / f"{world}-{rank}.pt").items():
            expected = alone[kind]
            assert found.keys() == expected.keys(), (kind, engine)
            scale = max(float(value.abs().max()) for value in expected.values())
            for name, value in expected.items():
                close = torch.allclose(
                    found[name], value, rtol=1e-9, atol=1e-9 * float(value.abs().max()) + 1e-14 * scale
                )
                assert close, (kind, engine, rank, name, float((found[name] - value).abs().max()))


def test_the_cases_differ_where_they_should(alone: dict[str, dict[str, Tensor]]) -> None:
    name = "quantizer.logits.weight"
    assert not torch.allclose(alone["together"][name], alone["each"][name], rtol=1e-3)
    blocks = [f"encoder.context.layers.{index}.ffn_in.weight" for index in (0, 1)]
    assert sorted(bool(alone["ctc"][block].any()) for block in blocks) == [False, True]  # LayerDrop
    assert alone["frozen"].keys() == {"head.weight", "head.bias"}
    for kind, part in (("adapters", ".adapter."), ("lora", ".lora_")):
        assert all(part in name or name.startswith("head.") for name in alone[kind])
        assert any(part in name and bool(value.any()) for name, value in alone[kind].items())


def test_recomputing_blocks_changes_no_gradient(alone: dict[str, dict[str, Tensor]]) -> None:
    ranks = Ranks(0, 1, torch.device("cpu"))
    for kind in ("together", "ctc", "adapters", "lora", "words"):
        found = gradients(kind, CASES[kind][2], ranks, ParallelConfig(recompute=True))
        assert all(torch.equal(found[name], value) for name, value in alone[kind].items()), kind


def test_several_processes_need_a_strategy() -> None:
    from wav2vec2.train.parallel import Engine

    with pytest.raises(UserError, match=r"parallel\.strategy is none, but there are 2 processes"):
        Engine(nn.Linear(1, 1), ParallelConfig(strategy="none"), Ranks(0, 2, torch.device("cpu")))
    assert os.environ.get("WORLD_SIZE", "1") == "1"
