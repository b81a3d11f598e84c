"""Cosines, softmaxes and the choice of codes stay in float32 under autocast."""

import torch
from tests.train.tiny_run import TINY

from wav2vec2.model.contrastive_loss import Pool, contrast, draw_negatives
from wav2vec2.model.precision import full_precision
from wav2vec2.model.quantizer import Codebooks
from wav2vec2.model.randomness import Draw, Purpose


def test_the_contrastive_task_is_the_same_under_autocast() -> None:
    torch.manual_seed(0)
    context, targets = torch.randn(2, 6, 8), torch.randn(2, 6, 8)
    codes, counts = torch.arange(12).view(2, 6, 1), torch.tensor([6, 6])
    pools = [Pool(targets, codes, draw_negatives(counts, 6, 5, Draw.first(2, counts.device)))]
    valid = torch.ones(2, 6, dtype=torch.bool)
    expected = contrast(context, targets, codes, pools, valid, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        found = contrast(context, targets, codes, pools, valid, 0.1)
    assert torch.equal(found.loss, expected.loss)


def test_entries_are_chosen_and_looked_up_in_full_precision() -> None:
    torch.manual_seed(0)
    books = Codebooks(TINY.build())
    books.reset_parameters()
    books.train()
    places, draw = torch.arange(5).expand(2, -1), Draw.first(2, torch.device("cpu"))
    logits = torch.randn(2, 5, books.groups, books.entries)
    expected = books._choose(logits, places, draw, 0.5, Purpose.GUMBEL)
    with torch.autocast("cpu", torch.bfloat16):
        features = torch.randn(2, 5, TINY.build().feature_size)
        assert books.logits(features).dtype == torch.bfloat16
        chosen = books.choose(features, places, draw, 0.5)
        with full_precision(logits):
            found = books._choose(logits, places, draw, 0.5, Purpose.GUMBEL)
    assert chosen.vectors.dtype == torch.float32
    # straight through, an entry is exact; in bfloat16 it would be rounded to three digits
    looked_up = books.codevectors.view(books.groups, books.entries, -1)
    exact = torch.stack([looked_up[g][chosen.codes[..., g]] for g in range(books.groups)], dim=2).flatten(2)
    torch.testing.assert_close(chosen.vectors, exact, rtol=1e-6, atol=1e-6)
    assert torch.equal(found.vectors, expected.vectors)
