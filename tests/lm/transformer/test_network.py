import math

import pytest
import torch
from tests.lm.transformer.tiny_lm import SIZES, network
from torch.nn import functional as F

from wav2vec2.lm.transformer.network import (
    AdaptiveVocabulary,
    LanguageModelDropout,
    LanguageModelSizes,
    TransformerNetwork,
    sinusoids,
)
from wav2vec2.model.layout import Packed, Padded
from wav2vec2.model.randomness import Draw

TOKENS = torch.tensor([[0, 3, 9, 2, 5, 1], [0, 8, 4, 0, 0, 0], [0, 5, 5, 7, 6, 0]])
LENGTHS = torch.tensor([5, 2, 4])


@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_no_token_sees_a_later_one(drop: float) -> None:
    model = network(drop=drop).double().train()
    draw = Draw(1, 2, torch.arange(3))
    before = model.hidden(TOKENS[:, :-1], LENGTHS, draw)
    changed = TOKENS.clone()
    changed[0, 3] = 8
    after = model.hidden(changed[:, :-1], LENGTHS, draw)
    same = torch.isclose(before, after, rtol=0, atol=1e-12).all(1)
    assert same.tolist() == [True] * 3 + [False] * 2 + [True] * 6


def test_padded_and_packed_layouts_agree_and_a_sentence_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network().double().eval()
    packed = model(TOKENS, LENGTHS)
    alone = [model(TOKENS[i : i + 1, : n + 1], LENGTHS[i : i + 1]) for i, n in enumerate(LENGTHS.tolist())]
    assert torch.allclose(packed, torch.cat(alone), atol=1e-12)
    assert isinstance(model._layout(TOKENS, LENGTHS), Packed)
    monkeypatch.setattr(TransformerNetwork, "_layout", lambda self, tokens, lengths: Padded(lengths, tokens.shape[1]))
    assert torch.allclose(model(TOKENS, LENGTHS), packed, atol=1e-12)


@pytest.mark.parametrize("norm_first", [False, True])
def test_token_by_token_equals_the_whole_sentence(norm_first: bool) -> None:
    sizes = LanguageModelSizes(16, 2, 32, 2, (), layer_norm_first=norm_first)
    model = network(sizes=sizes).double().eval()
    whole = model.hidden(TOKENS[:1, :-1], LENGTHS[:1])
    past = [torch.zeros(1, 0, 2, 16, dtype=torch.float64) for _ in range(2)]
    for place in range(5):
        visible = torch.ones(1, place, dtype=torch.bool)
        hidden, own = model.extend(TOKENS[0, place : place + 1], torch.tensor([place]), past, visible)
        assert torch.allclose(hidden[0], whole[place], atol=1e-9)
        past = [torch.cat([layer, new[None]], dim=1) for layer, new in zip(past, own, strict=True)]


def test_the_paper_s_model_has_its_parameters() -> None:
    """562 M with the 221 thousand words of the LibriSpeech LM corpus that occur ten times."""
    with torch.device("meta"):
        model = TransformerNetwork(LanguageModelSizes(), 221_000)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(562e6, rel=0.005)


def test_the_defaults_are_the_paper_s() -> None:
    """Section 4.4: 20 blocks of width 1,280 with an inner width of 6,144 and 16 heads."""
    assert LanguageModelSizes() == LanguageModelSizes(
        hidden_size=1280,
        layers=20,
        ffn_size=6144,
        heads=16,
        cutoffs=(60_000, 160_000),
        cutoff_factor=4,
        layer_norm_first=True,
        layer_norm_eps=1e-5,
    )
    assert LanguageModelDropout() == LanguageModelDropout(0.1, 0.1, 0.1)


def test_sizes_that_contradict_each_other_are_refused() -> None:
    for wrong in ({"heads": 3}, {"layers": 0}, {"cutoffs": (5, 5)}, {"hidden_size": 15}):
        with pytest.raises(ValueError, match=r"must"):
            LanguageModelSizes(**{**SIZES.__dict__, **wrong})


@pytest.mark.parametrize("width", [2, 4, 16])
def test_positions_are_sines_and_cosines_of_wavelengths_up_to_ten_thousand_turns(width: int) -> None:
    places, half = [0, 1, 7, 500], width // 2
    rates = [10_000 ** (-i / (half - 1)) if i else 1.0 for i in range(half)]
    expected = [[math.sin(p * rate) for rate in rates] + [math.cos(p * rate) for rate in rates] for p in places]
    torch.testing.assert_close(sinusoids(torch.tensor(places), width), torch.tensor(expected), atol=1e-4, rtol=0)


def test_loss_of_a_batch_is_cross_entropy_by_hand() -> None:
    model = network(sizes=LanguageModelSizes(16, 1, 32, 2, ())).double().eval()
    hidden = model.hidden(TOKENS[:1, :-1], LENGTHS[:1])
    expected = F.cross_entropy(hidden @ model.vocabulary.tables[0].T, TOKENS[0, 1:], reduction="none")
    assert torch.allclose(model(TOKENS[:1], LENGTHS[:1]), expected, atol=1e-12)


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
