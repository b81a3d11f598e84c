"""Masks of appendix A: spans of random length, with and without overlap."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.model.architecture import Masking
from wav2vec2.model.randomness import Draw
from wav2vec2.model.variants.spans import edge_frames, length_table, varied_span_masks

DISTRIBUTIONS = {
    "static": Masking(0.037, 15, overlap=False),
    "uniform": Masking(0.037, 15, span_lengths="uniform", span_spread=1.0, overlap=False),
    "normal": Masking(0.037, 15, span_lengths="normal", span_spread=10.0, overlap=False),
    "poisson": Masking(0.037, 15, span_lengths="poisson", overlap=False),
    "overlapping static": Masking(0.075, 15),
    "overlapping uniform": Masking(0.05, 10, span_lengths="uniform", span_spread=5.0),
    "overlapping poisson": Masking(0.065, 10, span_lengths="poisson"),
}


def masks_of(masking: Masking, lengths: list[int], step: int = 0) -> torch.Tensor:
    draw = Draw(1, step, torch.arange(len(lengths)) + 7)
    return varied_span_masks(torch.tensor(lengths), max(lengths), masking, draw)


def runs(row: torch.Tensor) -> torch.Tensor:
    edges = torch.diff(torch.nn.functional.pad(row.int(), (1, 1)))
    return (edges == -1).nonzero().flatten() - (edges == 1).nonzero().flatten()


def drawn_lengths(distribution: str, span: int, spread: float) -> torch.Tensor:
    """Share of every length, 1 first."""
    table = [0, *length_table(distribution, span, spread), 1 << 32]
    return torch.tensor([(b - a) / 2**32 for a, b in itertools.pairwise(table)], dtype=torch.float64)


def test_lengths_follow_their_distributions() -> None:
    uniform = drawn_lengths("uniform", 15, 10.0)
    assert uniform[:9].abs().max() == 0
    assert (uniform[9:30] - 1 / 21).abs().max() < 1e-8
    assert uniform[30:].sum() == 0
    for name, variance in (("poisson", 15.0), ("normal", 4.0)):
        shares = drawn_lengths(name, 15, 2.0)
        lengths = torch.arange(1, len(shares) + 1, dtype=torch.float64)
        mean = (shares * lengths).sum()
        assert abs(mean - 15) < 0.01
        assert abs((shares * (lengths - mean) ** 2).sum() - variance) < 0.2
    assert drawn_lengths("normal", 15, 10.0)[0] == pytest.approx(0.5 * (1 + torch.erf(torch.tensor(-1.35 / 2**0.5))))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(DISTRIBUTIONS)), st.lists(st.integers(0, 300), min_size=1, max_size=3), st.integers(0, 999))
def test_never_beyond_the_end_nor_a_whole_row(name: str, lengths: list[int], step: int) -> None:
    masks = masks_of(DISTRIBUTIONS[name], [*lengths, 310], step)
    for row, length in zip(masks, lengths, strict=False):
        assert not row[length:].any()
        assert length == 0 or row.sum() < length
        assert length < 2 or row.any()


@settings(max_examples=150, deadline=None)
@given(st.integers(60, 800), st.integers(0, 999), st.integers(1, 3))
def test_spans_that_do_not_overlap_keep_their_length_and_distance(length: int, step: int, space: int) -> None:
    masking = Masking(0.037, 15, overlap=False, min_space=space)
    row = masks_of(masking, [length], step)[0]
    assert set(runs(row).tolist()) == {15}
    assert len(runs(row)) == min(round(row.sum().item() / 15), max(2, int(0.037 * length) + 1))
    assert set(runs(~row)[1:-1].tolist()) <= set(range(space, length)) or bool(row[0]) or bool(row[-1])
    gaps = (~row).nonzero().flatten()
    inner = runs(~row[row.nonzero().min() : row.nonzero().max() + 1]) if len(gaps) else gaps
    assert not len(inner) or inner.min() >= space


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("static", 0.53, 0.57),
        ("poisson", 0.53, 0.57),
        ("normal", 0.55, 0.63),
        ("uniform", 0.54, 0.60),
        # 1 - (1 - 0.075)^15 = 69 %, a little less for starts drawn without replacement and at the end
        ("overlapping static", 0.67, 0.71),
        ("overlapping poisson", 0.45, 0.52),
    ],
)
def test_share_masked(name: str, low: float, high: float) -> None:
    masks = torch.cat([masks_of(DISTRIBUTIONS[name], [781] * 40, step=step) for step in range(5)])
    assert low < masks.double().mean() < high


@pytest.mark.parametrize("name", ["static", "uniform", "poisson"])
def test_every_frame_can_be_masked_and_the_inner_ones_equally_often(name: str) -> None:
    masks = torch.cat([masks_of(DISTRIBUTIONS[name], [300] * 100, step=step) for step in range(10)])
    often = masks.double().mean(0)
    assert often.min() > 0.04
    assert often[40:260].std() < 0.04
    assert abs(often[:20].mean() - often[-20:].mean()) < 0.02


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_row_is_masked_alike_in_any_batch(name: str) -> None:
    together = masks_of(DISTRIBUTIONS[name], [781, 300, 50], step=5)
    draw = Draw(1, 5, torch.tensor([8]))
    alone = varied_span_masks(torch.tensor([300]), 300, DISTRIBUTIONS[name], draw)
    assert torch.equal(together[1, :300], alone[0])


def test_edges_are_masked_frames_next_to_visible_ones_of_the_same_utterance() -> None:
    masks = torch.tensor([[1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0]]).bool()
    lengths = torch.tensor([11])  # the last masked run touches the end: there is no visible frame beyond
    assert edge_frames(masks, lengths, 1).int().tolist() == [[0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0]]
    assert edge_frames(masks, lengths, 2).int().tolist() == [[0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0]]
    assert torch.equal(edge_frames(masks, lengths, 50), masks)


@pytest.mark.parametrize(
    ("masking", "message"),
    [
        (Masking(span_lengths="normal"), "span_spread above 0"),
        (Masking(span_lengths="uniform", span_spread=21.0), "between 0 and twice"),
        (Masking(overlap=False, min_space=-1), "min_space"),
    ],
)
def test_distributions_without_lengths_are_named(masking: Masking, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        masking.check()
