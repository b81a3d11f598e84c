import math
from pathlib import Path

import pytest
import torch
from tests.train.tiny_run import TINY, hum
from torch import Tensor

from wav2vec2.data.dataset import MicroBatch
from wav2vec2.data.manifest import Manifest
from wav2vec2.model.architecture import Masking, Regularization
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.train.pretrain.objective import ContrastiveObjective, LossConfig

LENGTHS = (16_000, 14_000, 12_500, 9_000, 9_000, 3_000, 500, 100)
QUIET = Regularization(
    dropout=0, attention_dropout=0, activation_dropout=0, input_dropout=0, feature_dropout=0, layerdrop=0.5
)


def batch(rows: tuple[int, ...]) -> MicroBatch:
    waveforms = torch.zeros(len(rows), max((LENGTHS[row] for row in rows), default=0), dtype=torch.float64)
    for place, row in enumerate(rows):
        waveforms[place, : LENGTHS[row]] = torch.from_numpy(hum(row, LENGTHS[row])).double()
    return MicroBatch(
        waveforms,
        torch.tensor([LENGTHS[row] for row in rows], dtype=torch.int64),
        torch.tensor(rows, dtype=torch.int64),
        tuple(map(str, rows)),
        (None,) * len(rows),
    )


def objective(loss: LossConfig, regularization: Regularization = QUIET) -> ContrastiveObjective:
    torch.manual_seed(0)
    model = Wav2Vec2ForPretraining(TINY.build(), regularization, Masking()).double()
    return ContrastiveObjective(model, loss, seed=9)


def gradients(of: ContrastiveObjective, batches: list[MicroBatch], update: int) -> dict[str, Tensor]:
    of.model.train()
    of.model.zero_grad()
    batches = [of.ready(micro_batch, update) for micro_batch in batches]
    counts = of.counts(batches, update)
    for number, micro_batch in enumerate(batches):
        loss, _ = of.loss(of.model, micro_batch, number, counts, update)
        if loss is not None:
            loss.backward()
    return {n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in of.model.named_parameters()}


SPLITS = [
    [(0, 1, 2, 3), (4, 5, 6, 7)],
    [(0, 2, 4, 6), (), (1, 3, 5, 7)],
    [(row,) for row in range(8)],
]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("update", [0, 3])
def test_k_micro_batches_are_one_batch(split: list[tuple[int, ...]], update: int) -> None:
    of = objective(LossConfig(diversity_weight=0.0))
    whole = gradients(of, [batch(tuple(range(8)))], update)
    parts = gradients(of, [batch(rows) for rows in split], update)
    for name, expected in whole.items():
        # The keys' bias cancels in the softmax: its gradient is rounding noise of 1e-21.
        atol = 1e-9 * float(expected.abs().max()) + 1e-18
        assert torch.allclose(parts[name], expected, rtol=1e-9, atol=atol), name


def test_the_reported_sums_do_not_depend_on_the_split() -> None:
    of = objective(LossConfig())
    reported = []
    for split in ([tuple(range(8))], SPLITS[0]):
        batches = [of.ready(batch(rows), 2) for rows in split]
        counts, sums = of.counts(batches, 2), of.sums()
        for number, micro_batch in enumerate(batches):
            for name, value in of.loss(of.model, micro_batch, number, counts, 2)[1].items():
                sums[name] = sums[name] + value.detach()
        assert counts[1:].sum() == sums["masked"]
        assert counts[0] == sums["penalty_count"]
        numbers = of.numbers(sums | {"updates": torch.tensor(1.0)}, 2)
        reported.append([numbers[n] for n in ("contrastive", "accuracy", "penalty", "code_perplexity", "codes_used")])
    assert reported[0] == pytest.approx(reported[1], rel=1e-9)


@pytest.mark.parametrize("over", ["all", "process"])
def test_the_loss_that_is_differentiated_is_the_one_that_is_logged(over: str) -> None:
    """Equation 2 and the penalty: each term with its weight and its sign."""
    of = objective(LossConfig(diversity_weight=0.7, penalty_weight=3.0, diversity_over=over))  # type: ignore[arg-type]
    batches, total, sums = [of.ready(batch(rows), 2) for rows in SPLITS[0]], 0.0, of.sums()
    counts = of.counts(batches, 2)
    for number, micro_batch in enumerate(batches):
        loss, terms = of.loss(of.model, micro_batch, number, counts, 2)
        assert loss is not None
        total += loss.item()
        sums |= {name: sums[name] + value.detach() for name, value in terms.items()}
    numbers = of.numbers(sums | {"updates": torch.tensor(1.0)}, 2)
    assert total == pytest.approx(numbers["loss"], rel=1e-9)
    expected = numbers["contrastive"] + 0.7 * numbers["diversity"] + 3.0 * numbers["penalty"]
    assert total == pytest.approx(expected, rel=1e-9)


def test_diversity_of_k_micro_batches_is_the_mean_of_their_terms() -> None:
    of = objective(LossConfig(diversity_weight=1.0, penalty_weight=0.0))
    batches = [of.ready(batch((0, 1)), 1), of.ready(batch((2, 3)), 1)]
    counts = of.counts(batches, 1)
    terms = [of.loss(of.model, b, i, counts, 1)[1]["diversity"].item() for i, b in enumerate(batches)]
    alone = [of.loss(of.model, b, 0, of.counts([b], 1), 1)[1]["diversity"].item() for b in batches]
    assert terms == pytest.approx([value / 2 for value in alone])


def test_diversity_of_each_process_is_weighted_by_its_masked_frames() -> None:
    of = objective(LossConfig(diversity_weight=1.0, penalty_weight=0.0, diversity_over="process"))
    batches = [of.ready(batch((0, 1)), 1), of.ready(batch((2, 7)), 1)]
    counts = of.counts(batches, 1)
    terms = [of.loss(of.model, b, i, counts, 1)[1]["diversity"].item() for i, b in enumerate(batches)]
    alone = [of.loss(of.model, b, 0, of.counts([b], 1), 1)[1]["diversity"].item() for b in batches]
    shares = (counts[1:] / counts[1:].sum()).tolist()
    assert shares[0] > 0.6
    assert terms == pytest.approx([value * share for value, share in zip(alone, shares, strict=True)])
    assert of.loss(of.model, of.ready(batch(()), 1), 0, counts, 1) == (None, {})


def test_every_parameter_gets_a_gradient() -> None:
    of = objective(LossConfig(), Regularization(layerdrop=0.0))
    found = gradients(of, [batch(tuple(range(8)))], 0)
    silent = [name for name, gradient in found.items() if float(gradient.abs().max()) < 1e-15]
    assert [name for name in silent if not name.endswith("key.bias")] == []


def test_a_batch_without_masked_frames_gives_a_finite_loss() -> None:
    of = objective(LossConfig())
    for value in gradients(of, [batch((6, 7))], 0).values():
        assert bool(value.isfinite().all())


def test_validation_is_the_same_each_time(corpus: Path) -> None:
    of = objective(LossConfig())
    scores = []
    for micro in (20_000, 50_000):
        again = ContrastiveObjective(of._model, LossConfig(), 9, Manifest.open(corpus), micro, 16_000)
        again.model.eval()
        numbers = again.validate(again.model)
        assert numbers is not None
        scores.append(numbers["score"])
    assert scores[0] == pytest.approx(scores[1], rel=1e-9)


def test_the_contrastive_loss_chooses_the_best_weights_unless_the_total_is_asked_for(corpus: Path) -> None:
    numbers = {}
    for by in ("contrastive", "total"):
        of = objective(LossConfig(best_by=by))  # type: ignore[arg-type]
        held_out = ContrastiveObjective(of._model, of._weights, 9, Manifest.open(corpus), 50_000, 16_000)
        numbers[by] = held_out.validate(of.model.eval())
    assert LossConfig().best_by == "contrastive"
    (paper, total) = numbers.values()
    assert paper["score"] == paper["contrastive"] == total["contrastive"]
    expected = paper["contrastive"] + 0.1 * paper["diversity"] + 10.0 * paper["penalty"]
    assert total["score"] == total["loss"] == pytest.approx(expected)
    assert total["score"] > total["contrastive"] + 0.01


def test_numbers_are_means_over_the_window_and_are_shown_in_a_line() -> None:
    of = objective(LossConfig())
    sums = {
        "contrastive": torch.tensor(30.0),
        "masked": torch.tensor(10.0),
        "correct": torch.tensor(4.0),
        "penalty": torch.tensor(6.0),
        "penalty_count": torch.tensor(12.0),
        "diversity": torch.tensor(1.2),
        "updates": torch.tensor(4.0),
        "probabilities": torch.full((2, 8), 10 / 8),
        "codes": torch.tensor([[5, 5, 0, 0, 0, 0, 0, 0], [10, 0, 0, 0, 0, 0, 0, 0]]),
    }
    numbers = of.numbers({name: value.double() for name, value in sums.items()}, 100_000)
    assert numbers == pytest.approx(
        {
            "contrastive": 3.0,
            "accuracy": 0.4,
            "penalty": 0.5,
            "diversity": 0.3,
            "loss": 3.0 + 0.1 * 0.3 + 10 * 0.5,
            "chance": math.log(6),
            "tau": 2 * 0.999995**100_000,
            "code_perplexity": 3.0,
            "code_perplexity_1": 2.0,
            "code_perplexity_2": 1.0,
            "soft_perplexity": 16.0,
            "soft_perplexity_1": 8.0,
            "soft_perplexity_2": 8.0,
            "codes_used": 3 / 16,
        },
        rel=1e-5,
    )
    assert of.describe(numbers) == (
        "loss 3.000 nats (chance 1.792)  acc 40.0 %  codes 19 % used, perplexity 3.0 (soft 16.0)  penalty 0.5  tau 1.21"
    )
