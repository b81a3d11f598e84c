import pytest
import torch
from tests.lm.transformer.tiny_lm import SIZES, network
from torch.nn import functional as F

from wav2vec2.lm.transformer.network import LanguageModelSizes, TransformerNetwork
from wav2vec2.model.attention import DropoutAttention
from wav2vec2.model.cpu.dropout import keep_mask, keep_scale
from wav2vec2.model.layout import Packed, Padded
from wav2vec2.model.randomness import Draw

TOKENS = torch.tensor([[0, 3, 9, 2, 5, 1], [0, 8, 4, 0, 0, 0], [0, 5, 5, 7, 6, 0]])
LENGTHS = torch.tensor([5, 2, 4])


@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_no_token_sees_a_later_one(drop: float) -> None:
    model = network(drop=drop).double().train()
    draw = Draw(1, 2, torch.arange(3))
    before = model(TOKENS[:, :-1], LENGTHS, draw)
    changed = TOKENS.clone()
    changed[0, 3] = 8
    after = model(changed[:, :-1], LENGTHS, draw)
    same = torch.isclose(before, after, rtol=0, atol=1e-12).all(1)
    assert same.tolist() == [True] * 3 + [False] * 2 + [True] * 6


def test_padded_and_packed_layouts_agree_and_a_sentence_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network().double().eval()
    packed = model.losses(TOKENS, LENGTHS)
    alone = [model.losses(TOKENS[i : i + 1, : n + 1], LENGTHS[i : i + 1]) for i, n in enumerate(LENGTHS.tolist())]
    assert torch.allclose(packed, torch.cat(alone), atol=1e-12)
    assert isinstance(model._layout(TOKENS, LENGTHS), Packed)
    monkeypatch.setattr(TransformerNetwork, "_layout", lambda self, tokens, lengths: Padded(lengths, tokens.shape[1]))
    assert torch.allclose(model.losses(TOKENS, LENGTHS), packed, atol=1e-12)


def test_causal_attention_with_dropout_equals_its_definition() -> None:
    torch.manual_seed(0)
    lengths, heads, p = (5, 3), 2, 0.3
    layout, keys = Packed(lengths), [11, 12]
    q, k, v = (torch.randn(8, 6, dtype=torch.float64, requires_grad=True) for _ in range(3))
    found = DropoutAttention.apply(q, k, v, heads, layout, keys, p, True)
    expected = []
    for rows, length, key in zip(layout.slices, lengths, keys, strict=True):
        parts = [t[rows].unflatten(1, (heads, 3)).transpose(0, 1) for t in (q, k, v)]
        scores = parts[0] @ parts[1].transpose(1, 2) / 3**0.5
        scores = scores.masked_fill(~torch.ones(length, length).tril().bool(), -torch.inf)
        mask = keep_mask(torch.empty(heads, length, length, dtype=torch.float64), key, p)
        mixed = (scores.softmax(2) * mask * keep_scale(p)) @ parts[2]
        expected.append(mixed.transpose(0, 1).flatten(1))
    wanted = torch.cat(expected)
    assert torch.allclose(found, wanted, atol=1e-12)
    weights = torch.randn(8, 6, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), (q, k, v)),
        torch.autograd.grad((wanted * weights).sum(), (q, k, v)),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("norm_first", [True, False])
def test_token_by_token_equals_the_whole_sentence(norm_first: bool) -> None:
    sizes = LanguageModelSizes(16, 2, 32, 2, (), layer_norm_first=norm_first)
    model = network(sizes=sizes).double().eval()
    whole = model(TOKENS[:1, :-1], LENGTHS[:1])
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


def test_sizes_that_contradict_each_other_are_refused() -> None:
    for wrong in ({"heads": 3}, {"layers": 0}, {"cutoffs": (5, 5)}, {"hidden_size": 15}):
        with pytest.raises(ValueError, match=r"must"):
            LanguageModelSizes(**{**SIZES.__dict__, **wrong})


def test_loss_of_a_batch_is_cross_entropy_by_hand() -> None:
    model = network(sizes=LanguageModelSizes(16, 1, 32, 2, ())).double().eval()
    hidden = model(TOKENS[:1, :-1], LENGTHS[:1])
    expected = F.cross_entropy(hidden @ model.vocabulary.tables[0].T, TOKENS[0, 1:], reduction="none")
    assert torch.allclose(model.losses(TOKENS[:1], LENGTHS[:1]), expected, atol=1e-12)
