"""What each update uses, seen from inside a run: the values of the paper's formulas at that very update.

Learning rate, Gumbel temperature, masks, distractors, LayerDrop, dropout, clipping and freezing are watched at every
update of short runs, so that a value that comes one update late, or stays, is a failure.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny_run import finetune_config, language_model_config, logged, pretrain_config, with_train, write_text
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from wav2vec2.model import pretraining
from wav2vec2.model.masking import span_masks
from wav2vec2.model.randomness import WORD, Draw, Purpose, hash_int
from wav2vec2.train import distributed
from wav2vec2.train.finetune import command as finetune
from wav2vec2.train.finetune.config import FreezeConfig
from wav2vec2.train.language_model import command as language_model
from wav2vec2.train.loop import Trainer
from wav2vec2.train.optimizer import gradient_norm
from wav2vec2.train.pretrain import command as pretrain
from wav2vec2.train.pretrain.objective import VALIDATION_SEED, LossConfig


@dataclass
class Pass:
    """One forward pass: of ``module`` on ``inputs``, with the generator's seed before it."""

    training: bool
    draw: Draw | None
    train_encoder: bool
    seed: int
    lengths: Tensor
    masks: list[Tensor] = field(default_factory=list)
    temperatures: list[float] = field(default_factory=list)
    negatives: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)


@dataclass
class Step:
    """One step of the optimiser, just before it, the forward passes that led to it and the masks counted for it."""

    passes: list[Pass]
    counted: list[Tensor]
    lr: float
    group: dict[str, Any]
    norm: float
    with_gradient: set[str]
    values: dict[str, Tensor]


class Watch(nn.Module):
    """Calls a model and notes what it uses, update by update."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.passes: list[Pass] = []
        self.counted: list[Tensor] = []
        self.steps: list[Step] = []
        encoder = getattr(model, "encoder", None)
        if encoder is not None:
            for index, block in enumerate(encoder.context.layers):
                block.register_forward_hook(lambda *_, index=index: self.passes[-1].blocks.append(index))
            draw_masks = encoder.draw_time_masks

            def draw_time_masks(*arguments: Any) -> Tensor:
                masks: Tensor = draw_masks(*arguments)
                self.counted.append(masks)
                return masks

            encoder.draw_time_masks = draw_time_masks
        if hasattr(model, "quantizer"):
            model.quantizer.register_forward_pre_hook(lambda _, given: self.passes[-1].temperatures.append(given[3]))

    def forward(self, *inputs: Any, **named: Any) -> Any:
        draw = named.get("draw") or (inputs[2] if len(inputs) > 2 else None)
        lengths = inputs[1] if inputs[1] is not None else torch.full((len(inputs[0]),), inputs[0].shape[1])
        self.passes.append(Pass(self.training, draw, named.get("train_encoder", True), torch.initial_seed(), lengths))
        before = len(self.counted)
        output = self.model(*inputs, **named)
        drawn = self.counted[before:]  # by the model itself, in fine-tuning
        del self.counted[before:]
        self.passes[-1].masks.extend(drawn or [named[name] for name in ("masks",) if name in named])
        return output

    def step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        group, named = optimizer.param_groups[0], dict(self.model.named_parameters())
        self.steps.append(
            Step(
                passes=(training := [one for one in self.passes if one.training]),
                counted=self.counted[-len(training) :],  # what is before belongs to a validation
                lr=group["lr"],
                group={name: group[name] for name in ("betas", "eps", "weight_decay")},
                norm=float(gradient_norm(named.values()) / optimizer.grad_scale),  # what AdamW will divide by
                with_gradient={name for name, parameter in named.items() if parameter.grad is not None},
                values={name: parameter.detach().clone() for name, parameter in named.items()},
            )
        )
        self.passes, self.counted = [], []


Run = Callable[[Any, Any], Watch]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command on a recipe and returns what was seen."""
    watches: list[Watch] = []

    def wrap(model: nn.Module) -> nn.Module:
        watches.append(Watch(model))
        return watches[-1]

    draw_negatives = pretraining.draw_negatives

    def drawn(counts: Tensor, most: int, number: int, draw: Draw) -> Tensor:
        if watches:
            watches[-1].passes[-1].negatives.append(number)
        return draw_negatives(counts, most, number, draw)

    def run(command: Any, config: Any) -> Watch:
        monkeypatch.setattr(command, "Trainer", partial(Trainer, wrap=wrap))
        command.run(config)
        return watches[-1]

    monkeypatch.setattr(pretraining, "draw_negatives", drawn)
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: watches[-1].step(optimizer) if watches else None)
    yield run
    hook.remove()


def blocks_kept(seed: int, update: int, share: float, layers: int) -> list[int]:
    """LayerDrop by its definition: each block is dropped with probability ``share``, alike on all ranks."""
    words = [hash_int(seed, int(Purpose.LAYERDROP), update, index) for index in range(layers)]
    return [index for index, word in enumerate(words) if word >= share * (WORD + 1)]


def test_every_update_of_pre_training_uses_the_values_of_that_update(
    watched: Run, tiny_pretraining: pretrain.PretrainConfig
) -> None:
    config = tiny_pretraining
    seen, records = watched(pretrain, config).steps, logged(config.output)
    assert len(seen) == len(records) == 25
    for update, (step, record) in enumerate(zip(seen, records, strict=True)):
        # linear warm-up over 8 % of the updates, then linearly to 0
        share = update / 2 if update < 2 else (25 - update) / 23
        assert step.lr == record["lr"] == pytest.approx(2e-3 * share, rel=1e-12)
        tau = max(2.0 * 0.9**update, 0.5)
        assert record["tau"] == pytest.approx(tau, rel=1e-12)
        # no clipping: the optimiser sees the gradient that is logged
        assert step.norm == pytest.approx(record["gradient_norm"], rel=1e-5)
        assert len(step.passes) >= 2
        for number, one in enumerate(step.passes):
            assert one.draw is not None
            assert (one.draw.seed, one.draw.step) == (7, update)
            assert one.seed == distributed.dropout_seed(7, update, 0, number)
            assert one.temperatures == pytest.approx([tau], rel=1e-12)
            assert one.negatives == [5]
            assert one.blocks == blocks_kept(7, update, 0.5, 2)
            expected = span_masks(*frames(one.lengths), 0.065, 10, 2, Draw(7, update, one.draw.rows))
            assert torch.equal(one.masks[0], expected)
        # the losses are divided by the counts of these very masks
        for counted, one in zip(step.counted, step.passes, strict=True):
            assert torch.equal(counted, one.masks[0])
        rows = torch.cat([one.draw.rows for one in step.passes if one.draw is not None])
        assert sorted(rows.tolist()) == list(range(len(rows)))
    assert seen[0].lr == 0.0
    assert (records[0]["tau"], records[-1]["tau"]) == (2.0, 0.5)
    assert {tuple(step.passes[0].blocks) for step in seen} == {(), (0,), (1,), (0, 1)}
    assert seen[0].group == {"betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.01}


def frames(samples: Tensor) -> tuple[Tensor, int]:
    """Frame lengths of the paper's feature encoder: a field of 400 samples every 320."""
    lengths = ((samples - 400) // 320 + 1).clamp_min(0)
    return lengths, max(1, int(lengths.max()))


def test_validation_masks_alike_at_any_update(watched: Run, tiny_pretraining: pretrain.PretrainConfig) -> None:
    watch = watched(pretrain, with_train(tiny_pretraining, updates=1))
    assert watch.passes
    for validation in watch.passes:
        assert validation.draw is not None
        assert (validation.training, validation.draw.seed, validation.draw.step) == (False, VALIDATION_SEED, 0)
        assert validation.blocks == [0, 1]


def test_the_temperature_reaches_its_floor_at_the_share_of_the_updates_that_is_asked_for(
    watched: Run, tiny_pretraining: pretrain.PretrainConfig
) -> None:
    config = with_train(tiny_pretraining, updates=10)
    seen = watched(pretrain, replace(config, loss=LossConfig(tau_floor_share=0.5))).steps
    found = [step.passes[0].temperatures[0] for step in seen]
    assert found == pytest.approx([2.0 * 0.25 ** (min(update, 5) / 5) for update in range(10)])


def test_the_loss_is_the_contrastive_term_and_a_tenth_of_diversity_and_ten_penalties(
    watched: Run, tiny_pretraining: pretrain.PretrainConfig
) -> None:
    config = with_train(tiny_pretraining, updates=2)
    watched(pretrain, config)
    for record in logged(config.output):
        expected = record["contrastive"] + 0.1 * record["diversity"] + 10.0 * record["penalty"]
        assert record["loss"] == pytest.approx(expected)
        assert record["chance"] == pytest.approx(math.log(1 + 5))


@pytest.fixture(scope="module")
def pretrained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = with_train(pretrain_config(corpus, tmp_path_factory.mktemp("pretrained")), updates=1)
    return pretrain.run(replace(config, data=replace(config.data, hold_out=0)))


@pytest.mark.parametrize("decay", ["exponential", "linear"])
def test_every_update_of_fine_tuning_uses_the_values_of_that_update(
    watched: Run, labelled_corpus: Path, pretrained: Path, tmp_path: Path, decay: str
) -> None:
    config = with_train(finetune_config(labelled_corpus, tmp_path / "run", str(pretrained)), updates=20, decay=decay)
    config = replace(
        config,
        seed=7,
        freeze=FreezeConfig(updates=5),
        regularization=replace(config.regularization, layerdrop=0.5),
        log=replace(config.log, every=1, validate_every=0, save_every=0),
    )
    seen, records = watched(finetune, config).steps, logged(config.output)
    assert len(seen) == len(records) == 20
    for update, (step, record) in enumerate(zip(seen, records, strict=True)):
        # up from 1 % over 10 % of the updates, constant over 40 %, down to 5 %
        done = (update - 10) / 10
        down = 0.05**done if decay == "exponential" else 1 - 0.95 * done
        share = 0.01 + 0.99 * update / 2 if update < 2 else 1.0 if update < 10 else down
        assert step.lr == pytest.approx(1e-2 * share, rel=1e-9)
        assert record["encoder_trained"] == float(update >= 5)
        assert step.norm == pytest.approx(record["gradient_norm"], rel=1e-5)
        for number, one in enumerate(step.passes):
            assert one.draw is not None
            assert (one.draw.seed, one.draw.step) == (7, update)
            assert one.seed == distributed.dropout_seed(7, update, 0, number)
            assert one.blocks == blocks_kept(7, update, 0.5, 2)
            assert one.train_encoder == (update >= 5)
        head = {name for name in step.with_gradient if name.startswith("head.")}
        assert len(head) == 2
        if update < 5:
            assert step.with_gradient == head
        else:
            assert "encoder.mask_embedding" in step.with_gradient
            assert not any(name.startswith("encoder.feature_encoder") for name in step.with_gradient)
    assert seen[0].group == {"betas": (0.9, 0.98), "eps": 1e-8, "weight_decay": 0.01}
    moved = [not torch.equal(a.values[m], b.values[m]) for a, b in pairs(seen) for m in ["encoder.mask_embedding"]]
    assert moved == [False] * 5 + [True] * 14
    first, last = seen[0].values, seen[-1].values
    assert all(torch.equal(first[n], last[n]) for n in first if n.startswith("encoder.feature_encoder"))


def pairs(steps: list[Step]) -> list[tuple[Step, Step]]:
    return list(itertools.pairwise(steps))


@pytest.mark.parametrize("limit", [0.3, 1e3])
def test_gradients_are_clipped_at_every_update(watched: Run, tmp_path: Path, limit: float) -> None:
    config = language_model_config(write_text(tmp_path / "text.txt"), tmp_path / "run")
    assert language_model.LanguageModelConfig().train.clip_norm == 1.0
    config = with_train(config, updates=6, clip_norm=limit)
    config = replace(config, log=replace(config.log, every=1, validate_every=0, save_every=0))
    seen, records = watched(language_model, config).steps, logged(config.output)
    for update, (step, record) in enumerate(zip(seen, records, strict=True)):
        assert step.norm == pytest.approx(min(record["gradient_norm"], limit), rel=1e-5)
        assert [one.draw.step for one in step.passes if one.draw is not None] == [update] * len(step.passes)
    assert max(record["gradient_norm"] for record in records) > 0.3
