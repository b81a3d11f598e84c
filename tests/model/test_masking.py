"""Span masks: the numbers of the paper's appendix A, and what must hold for every length."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.model.masking import most_masked, span_masks
from wav2vec2.model.randomness import Draw


def masks_of(lengths: list[int], step: int = 0, p: float = 0.065, span: int = 10) -> torch.Tensor:
    draw = Draw(1, step, torch.arange(len(lengths)))
    return span_masks(torch.tensor(lengths), max(lengths), p, span, 2, draw)


def runs(row: torch.Tensor) -> torch.Tensor:
    edges = torch.diff(torch.nn.functional.pad(row.int(), (1, 1)))
    return (edges == -1).nonzero().flatten() - (edges == 1).nonzero().flatten()


def test_share_and_run_lengths_match_the_paper() -> None:
    """15 s: about 49 % masked, runs of mean 14.7 and median 10 frames."""
    masks = torch.cat([masks_of([781] * 50, step=step) for step in range(10)])
    lengths = torch.cat([runs(row) for row in masks]).double()
    assert abs(masks.double().mean() - 0.49) < 0.005
    assert abs(lengths.mean() - 14.7) < 0.3
    assert lengths.median() == 10


def test_a_row_is_masked_alike_in_any_batch() -> None:
    alone = span_masks(torch.tensor([300]), 300, 0.065, 10, 2, Draw(1, 5, torch.tensor([1])))
    assert torch.equal(masks_of([781, 300, 50], step=5)[1, :300], alone[0])


def test_every_frame_can_be_masked_to_the_last() -> None:
    often = torch.stack([masks_of([200], step=step)[0] for step in range(400)]).double().mean(0)
    assert often.min() > 0.02


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.integers(1, 20), st.floats(0.0, 0.2), st.integers(0, 1000))
def test_whole_spans_and_never_a_whole_row(length, span, p, step) -> None:
    frames = length + 7
    mask = span_masks(torch.tensor([length]), frames, p, span, 2, Draw(3, step, torch.tensor([0])))[0]
    assert not mask[length:].any()
    assert length == 0 or mask.sum() < length
    if mask.any():
        assert runs(mask).min() >= min(span, max(1, length // 3))
    assert mask.sum() <= most_masked(frames, p, span, 2)
