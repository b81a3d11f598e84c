"""Span masks: the numbers of the paper's appendix A, and what must hold for every length."""

import math
from fractions import Fraction

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.model.architecture import Masking
from wav2vec2.model.layout import Packed, Padded
from wav2vec2.model.masking import masked_frames, most_masked, span_masks, start_counts, take
from wav2vec2.model.randomness import Draw, Purpose


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


def shortened(length: int, span: int) -> int:
    """Frames of a span in a row of this length: those asked for, but at most a third of the row."""
    return min(span, max(1, length // 3))


def test_one_span_has_its_length_and_can_lie_anywhere_in_its_row() -> None:
    for length in range(1, 45):
        draw = Draw(1, 0, torch.arange(600))
        masks = span_masks(torch.full((600,), length), length + 3, 0.0, 10, 1, draw)
        size = shortened(length, 10) if length > 1 else 0
        assert masks.sum(1).tolist() == [size] * 600
        assert all(runs(row).tolist() == [size] for row in masks[:20]) or not size
        starts = masks.long().argmax(1)
        assert set(starts.tolist()) == set(range(length - size + 1 if size else 1))


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 30), st.integers(0, 1024), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_the_number_of_spans_is_that_of_the_paper(length, span, parts, least, word) -> None:
    """p * length, rounded up where a uniform number is below the fraction; at least so many; never the whole row."""
    share = Fraction(parts, 1024)
    size = shortened(length, span)
    expected = min(max(math.floor(share * length + Fraction(word, 2**32)), least), (length - 1) // size)
    found = start_counts(torch.tensor([length]), torch.tensor([size]), float(share), least, torch.tensor([word]))
    assert found.tolist() == [expected]


def test_spans_of_one_frame_are_as_many_as_the_share_says() -> None:
    counts = torch.stack([masks_of([130] * 50, step=step, p=0.1, span=1).sum(1) for step in range(10)])
    assert counts.unique().tolist() == [13]
    counts = torch.stack([masks_of([135] * 50, step=step, p=0.1, span=1).sum(1) for step in range(20)])
    assert counts.unique().tolist() == [13, 14]
    assert abs(counts.double().mean() - 13.5) < 0.05


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=3), st.integers(1, 12), st.floats(0.0, 0.3), st.integers(0, 3))
def test_a_mask_is_the_union_of_spans_at_the_starts_with_the_smallest_words(lengths, span, p, least) -> None:
    draw, most = Draw(3, 7, torch.arange(len(lengths))), max(lengths)
    masks = span_masks(torch.tensor(lengths), most + 4, p, span, least, draw)
    words = draw.words(Purpose.SPAN_START, most + 4).tolist()
    sizes = [shortened(length, span) for length in lengths]
    given = (torch.tensor(lengths), torch.tensor(sizes), p, least, draw.words(Purpose.SPAN_COUNT))
    for row, (length, size, count) in enumerate(zip(lengths, sizes, start_counts(*given).tolist(), strict=True)):
        starts = sorted(range(length - size + 1), key=lambda place, row=row: (words[row][place], place))[:count]
        covered = {place for start in starts for place in range(start, start + size)}
        assert masks[row].nonzero().flatten().tolist() == sorted(covered)


def test_the_fixed_shape_is_the_largest_number_that_can_be_masked_and_no_more() -> None:
    assert most_masked(781, 0.065, 10, 2) == (50 + 1) * 10
    assert most_masked(100, 0.01, 10, 4) == 40
    assert [most_masked(frames, 0.065, 10, 2) for frames in (0, 1, 2, 15)] == [1, 1, 1, 14]
    seen = max(int(masks_of([15], step=step, p=0.1, span=1).sum()) for step in range(50))
    assert seen == most_masked(15, 0.1, 1, 2) == 2


def test_masked_frames_are_found_in_both_layouts_and_a_single_one_is_left_out() -> None:
    masks = torch.tensor([[True, False, True, True], [False, True, False, False], [True, True, False, False]])
    lengths = torch.tensor([4, 3, 2])
    for layout, starts in ((Packed((4, 3, 2)), (0, 4, 7)), (Padded(lengths, 4), (0, 4, 8))):
        found = masked_frames(masks, lengths, layout, Masking())
        assert found.counts.tolist() == [3, 0, 2]
        assert found.valid.tolist() == [[True] * 3, [False] * 3, [True, True, False]]
        assert found.places[found.valid].tolist() == [0, 2, 3, 0, 1]
        assert found.flat.tolist() == [[0, 2, 3], [0, 0, 0], [starts[2], starts[2] + 1, 0]]
        frames = layout.pack(torch.arange(12).view(3, 4, 1)) if isinstance(layout, Packed) else None
        padded = torch.arange(12).view(3, 4, 1) if frames is None else frames
        assert take(padded, found.flat)[found.valid].flatten().tolist() == [0, 2, 3, 8, 9]
