import math

import pytest
import torch

from wav2vec2.lm.transformer.adaptive_vocabulary import AdaptiveVocabulary

SIZE, WIDTH, CUTOFFS = 23, 8, (6, 14)


def vocabulary(cutoffs: tuple[int, ...] = CUTOFFS, factor: int = 2) -> AdaptiveVocabulary:
    torch.manual_seed(0)
    return AdaptiveVocabulary(SIZE, WIDTH, cutoffs, factor).double()


def dense_log_probabilities(of: AdaptiveVocabulary, hidden: torch.Tensor) -> torch.Tensor:
    """(N, V), band by band from the definition."""
    rows = []
    for state in hidden:
        head = of.tables[0] @ state
        if of.bands is None:
            rows.append(head - head.exp().sum().log())
            continue
        head = torch.cat([head, of.bands.weight @ state])
        head = head - head.exp().sum().log()
        parts = [head[: of.edges[1]]]
        for band in range(1, len(of.tables)):
            logits = of.tables[band] @ (of.narrow[band - 1].weight @ state)
            parts.append(head[of.edges[1] + band - 1] + logits - logits.exp().sum().log())
        rows.append(torch.cat(parts))
    return torch.stack(rows)


@pytest.mark.parametrize("cutoffs", [(), (6,), CUTOFFS, (6, 100)])
def test_loss_and_gradients_are_those_of_the_dense_softmax(cutoffs: tuple[int, ...]) -> None:
    of = vocabulary(cutoffs)
    hidden = torch.randn(SIZE, WIDTH, dtype=torch.float64, requires_grad=True)
    targets = torch.arange(SIZE)
    dense = dense_log_probabilities(of, hidden)
    assert torch.allclose(dense.exp().sum(1), torch.ones(SIZE, dtype=torch.float64))
    expected = -dense[targets, targets]
    found = of.loss(hidden, targets)
    assert torch.allclose(found, expected, atol=1e-12)
    sources = [hidden, *of.tables, *(m.weight for m in of.narrow)]
    for one, other in zip(
        torch.autograd.grad(found.sum(), sources), torch.autograd.grad(expected.sum(), sources), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-12)
    rows = torch.arange(SIZE).repeat_interleave(SIZE)
    picked = of.pick(*of.prepare(hidden), rows, torch.arange(SIZE).repeat(SIZE))
    assert torch.allclose(picked.view(SIZE, SIZE), dense, atol=1e-12)


def test_equals_torchs_adaptive_softmax_with_the_same_weights() -> None:
    of = vocabulary()
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(WIDTH, SIZE, list(CUTOFFS), div_value=2.0).double()
    assert of.bands is not None
    with torch.no_grad():
        theirs.head.weight.copy_(torch.cat([of.tables[0], of.bands.weight]))
        for band in (1, 2):
            theirs.tail[band - 1][0].weight.copy_(of.narrow[band - 1].weight)
            theirs.tail[band - 1][1].weight.copy_(of.tables[band])
    hidden = torch.randn(SIZE, WIDTH, dtype=torch.float64)
    targets = torch.arange(SIZE)
    assert torch.allclose(-of.loss(hidden, targets), theirs(hidden, targets).output, atol=1e-12)


def test_tables_are_shared_between_input_and_output() -> None:
    of = vocabulary()
    embedded = of.embed(torch.tensor([[0, 7], [20, 7]]))
    assert embedded.shape == (2, 2, WIDTH)
    assert torch.equal(embedded[0, 1], embedded[1, 1])
    by_hand = of.widen[2].weight @ of.tables[2][20 - 14] * math.sqrt(WIDTH)
    assert torch.allclose(embedded[1, 0], by_hand)
    tables = sum(span * width for span, width in ((6, 8), (8, 4), (9, 2)))
    projections = (8 + 4 + 2) * 8 + (4 + 2) * 8 + 2 * 8
    assert sum(p.numel() for p in of.parameters()) == tables + projections


def test_gradients_reach_every_parameter() -> None:
    of = vocabulary()
    tokens = torch.arange(SIZE)
    of.loss(of.embed(tokens), tokens.flip(0)).sum().backward()
    assert all(float(p.grad.abs().max()) > 0 for p in of.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in of.parameters())
