"""The count form of the contrastive loss against the paper's: gathered distractors, logsumexp, argmax."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.gathered_logits import gathered_logits

from wav2vec2.model.contrastive_loss import Pool, contrast, draw_negatives
from wav2vec2.model.randomness import Draw


@pytest.mark.parametrize("entries", [3, 1000])
def test_loss_gradient_and_accuracy_equal_those_of_the_gathered_logits(entries) -> None:
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(3, 40, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(3, 40, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    codes = torch.randint(entries, (3, 40, 2), generator=generator)
    counts = torch.tensor([40, 17, 2])
    valid = torch.arange(40) < counts[:, None]
    negatives = draw_negatives(counts, 40, 100, Draw(1, 0, torch.arange(3)))
    result = contrast(context, targets, codes, [Pool(targets, codes, negatives)], valid, 0.1)
    result.loss.backward()
    grads = context.grad, targets.grad
    context.grad = targets.grad = None
    logits = gathered_logits(context, targets, codes, negatives, 0.1)
    expected = -logits.log_softmax(-1)[..., 0][valid].sum()
    expected.backward()
    torch.testing.assert_close(result.loss, expected)
    torch.testing.assert_close(grads, (context.grad, targets.grad))
    assert result.correct == (logits.argmax(-1) == 0)[valid].sum()


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 300), st.integers(1, 120))
def test_negatives_are_other_masked_frames_of_the_row(count, number) -> None:
    drawn = draw_negatives(torch.tensor([count]), count, number, Draw(1, 2, torch.tensor([5])))[0]
    assert drawn.min() >= 0
    assert drawn.max() < count
    assert not (drawn == torch.arange(count)[:, None]).any()


def test_negatives_are_uniform() -> None:
    drawn = draw_negatives(torch.tensor([11]), 11, 20000, Draw(1, 2, torch.tensor([5])))[0]
    shares = torch.bincount(drawn[3], minlength=11) / 20000
    assert shares[3] == 0
    assert (shares[torch.arange(11) != 3] - 0.1).abs().max() < 0.01
