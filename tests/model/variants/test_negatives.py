"""Distractors from elsewhere: where they come from, and the loss over them against one over gathered vectors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.model.contrastive_loss import Pool, contrast
from wav2vec2.model.randomness import Draw
from wav2vec2.model.variants.pretraining import draw_anywhere, draw_codes, draw_from_batch


def drawing(rows: int, step: int = 2) -> Draw:
    return Draw(1, step, torch.arange(rows) + 5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 120), min_size=1, max_size=4), st.integers(1, 40))
def test_negatives_from_anywhere_are_other_frames_of_the_utterance(sizes: list[int], number: int) -> None:
    lengths, most = torch.tensor(sizes), 7
    places = torch.randint(1 << 30, (len(sizes), most)) % lengths[:, None]
    draws = draw_anywhere(lengths, places, number, drawing(len(sizes)))
    assert (draws >= 0).all()
    assert (draws < lengths[:, None, None]).all()
    assert not (draws == places[:, :, None]).any()


def test_negatives_from_anywhere_are_uniform() -> None:
    draws = draw_anywhere(torch.tensor([11]), torch.tensor([[3]]), 20_000, drawing(1))
    shares = torch.bincount(draws.flatten(), minlength=11) / 20_000
    assert shares[3] == 0
    assert (shares[torch.arange(11) != 3] - 0.1).abs().max() < 0.01


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(1, 40))
def test_negatives_of_the_batch_are_real_frames_of_other_utterances_in_every_row(
    counts: list[int], number: int
) -> None:
    counts = [0 if count == 1 else count for count in counts]
    most = max(2, *counts)
    columns = draw_from_batch(torch.tensor(counts), most, number, drawing(len(counts)))
    rows, ranks = columns // most, columns % most
    for i, count in enumerate(counts):
        if sum(counts) == count:
            assert (rows[i] == i).all()
            assert not (ranks[i, :count] == torch.arange(count)[:, None]).any()
        else:
            assert not (rows[i, :count] == i).any()
        assert (ranks[i, :count] < torch.tensor(counts)[rows[i, :count]]).all()


def test_negatives_of_the_batch_are_uniform_in_every_row() -> None:
    counts = torch.tensor([4, 2, 5])
    columns = draw_from_batch(counts, 5, 30_000, drawing(3))
    for row in range(3):
        shares = torch.bincount(columns[row, 1], minlength=15).view(3, 5) / 30_000
        expected = (torch.arange(5) < counts[:, None]).double() / (11 - counts[row])
        expected[row] = 0
        assert (shares - expected).abs().max() < 0.01


def test_negatives_of_the_codebook_are_uniform_and_independent() -> None:
    codes = draw_codes(50, 400, 2, 4, drawing(1)).flatten(0, 2)
    pairs = torch.bincount(codes[:, 0] * 4 + codes[:, 1], minlength=16) / len(codes)
    assert (pairs - 1 / 16).abs().max() < 0.01


@pytest.mark.parametrize("entries", [3, 1000])
def test_loss_gradient_and_accuracy_equal_those_of_gathered_distractors(entries: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    context, everywhere, table = draw(3, 20, 8), draw(3, 60, 8), draw(entries * entries, 8)
    codes = torch.randint(entries, (3, 60, 2), generator=generator)
    counts, lengths = torch.tensor([20, 11, 2]), torch.tensor([60, 40, 9])
    places = torch.stack([torch.randperm(9, generator=generator).repeat(3)[:20] for _ in range(3)])
    valid = torch.arange(20) < counts[:, None]
    batch = torch.arange(3)[:, None]
    targets, own = everywhere[batch, places], codes[batch, places]
    anywhere = draw_anywhere(lengths, places, 30, drawing(3))
    across = draw_from_batch(counts, 20, 15, drawing(3))
    random = draw_codes(20, 10, 2, entries, drawing(3))

    pools = [
        Pool(everywhere, codes, anywhere),
        Pool(targets.flatten(0, 1), own.flatten(0, 1), across),
        Pool(table[random[..., 0] * entries + random[..., 1]], random),
    ]
    result = contrast(context, targets, own, pools, valid, 0.1)
    grads = torch.autograd.grad(result.loss, (context, everywhere, table), retain_graph=True)

    distractors = torch.cat(
        [
            everywhere[batch[:, :, None], anywhere],
            targets.flatten(0, 1)[across],
            table[random[..., 0] * entries + random[..., 1]],
        ],
        dim=2,
    )
    their_codes = torch.cat([codes[batch[:, :, None], anywhere], own.flatten(0, 1)[across], random], dim=2)
    candidates = torch.cat([targets[:, :, None], distractors], dim=2)
    logits = torch.cosine_similarity(context[:, :, None], candidates, dim=-1) / 0.1
    equal = (their_codes == own[:, :, None]).all(-1)
    logits = torch.cat([logits[..., :1], logits[..., 1:].masked_fill(equal, -torch.inf)], dim=2)
    expected = -logits.log_softmax(-1)[..., 0][valid].sum()
    torch.testing.assert_close(result.loss, expected)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, (context, everywhere, table)))
    assert result.correct == (logits.argmax(-1) == 0)[valid].sum()
