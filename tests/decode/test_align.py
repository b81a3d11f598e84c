import itertools
import tracemalloc

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.decode import align
from wav2vec2.decode.align import LabelAlignment, align_labels, block_frames
from wav2vec2.errors import UserError
from wav2vec2.model.ctc import ctc_loss


def emissions_of(seed: int, frames: int, symbols: int) -> np.ndarray:
    logits = torch.randn(frames, symbols, generator=torch.Generator().manual_seed(seed)) * 2
    return logits.log_softmax(-1).numpy()


def every_path(labels: list[int], frames: int, blank: int):  # type: ignore[no-untyped-def]
    """Each way of writing `labels` in `frames` frames, as the symbol of every frame."""
    for path in itertools.product({*labels, blank}, repeat=frames):
        if [symbol for symbol, _ in itertools.groupby(path) if symbol != blank] == labels:
            yield path


def path_of(alignment: LabelAlignment, labels: list[int], blank: int) -> list[int]:
    path = [blank] * alignment.frames
    for label, first, last in zip(labels, alignment.first, alignment.last, strict=True):
        path[first : last + 1] = [label] * (last - first + 1)
    return path


def check(alignment: LabelAlignment, emissions: np.ndarray, labels: list[int], blank: int) -> None:
    """The spans are ordered, collapse to the labels, and their path has the score that is claimed."""
    path = path_of(alignment, labels, blank)
    assert [symbol for symbol, _ in itertools.groupby(path) if symbol != blank] == labels
    assert (alignment.first <= alignment.last).all()
    assert (alignment.first[1:] > alignment.last[:-1]).all()
    scores = emissions.astype(np.float64)[np.arange(len(path)), path]
    assert alignment.log_probability == pytest.approx(scores.sum(), abs=1e-6)
    sums = [scores[a : b + 1].sum() for a, b in zip(alignment.first, alignment.last, strict=True)]
    np.testing.assert_allclose(alignment.log_probabilities, sums, atol=1e-6)
    assert ((alignment.scores >= 0) & (alignment.scores <= 1)).all()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_equals_brute_force(data: st.DataObject) -> None:
    blank = data.draw(st.integers(0, 3))
    symbols = [symbol for symbol in range(4) if symbol != blank]
    labels = data.draw(st.lists(st.sampled_from(symbols), max_size=4))
    least = len(labels) + sum(a == b for a, b in itertools.pairwise(labels))
    frames = data.draw(st.integers(max(least, 1), 7))
    emissions = emissions_of(data.draw(st.integers(0, 10_000)), frames, 4)
    alignment = align_labels(emissions, labels, blank=blank)
    wide = emissions.astype(np.float64)
    best = max(wide[np.arange(frames), list(path)].sum() for path in every_path(labels, frames, blank))
    assert alignment.log_probability == pytest.approx(best, abs=1e-6)
    check(alignment, emissions, labels, blank)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(1, 3), min_size=1, max_size=40), st.integers(0, 60), st.data())
def test_blocks_do_not_change_the_path(seed: int, labels: list[int], spare: int, data: st.DataObject) -> None:
    frames = len(labels) + sum(a == b for a, b in itertools.pairwise(labels)) + spare
    emissions = emissions_of(seed, frames, 4)
    size = data.draw(st.integers(1, frames))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(align, "block_frames", lambda frames, count: size)
        cut = align_labels(emissions, labels)
        patch.setattr(align, "block_frames", lambda frames, count: frames)
        whole = align_labels(emissions, labels)
    assert cut.first.tolist() == whole.first.tolist()
    assert cut.last.tolist() == whole.last.tolist()
    assert cut.log_probability == whole.log_probability
    check(cut, emissions, labels, 0)
    total = -ctc_loss(
        torch.from_numpy(emissions)[None], torch.tensor([frames]), torch.tensor([labels]), torch.tensor([len(labels)])
    )
    assert cut.log_probability <= float(total) + 1e-3  # one path of all that the loss sums over


@pytest.mark.parametrize(("labels", "frames"), [([1, 2, 3], 3), ([1, 1], 3), ([2, 2, 2, 1], 6), ([1], 1)])
def test_exact_fit_and_one_frame_less(labels: list[int], frames: int) -> None:
    emissions = emissions_of(0, frames, 4)
    alignment = align_labels(emissions, labels)
    assert alignment.first.tolist() == alignment.last.tolist()
    check(alignment, emissions, labels, 0)
    repeats = sum(a == b for a, b in itertools.pairwise(labels))
    said = (
        rf"talk.wav: .*{len(labels)} labels and {repeats} repeats .* need {frames} frames, and there are {frames - 1}"
    )
    with pytest.raises(UserError, match=said):
        align_labels(emissions[:-1], labels, name="talk.wav")


def test_no_labels_are_blanks_and_no_frames_hold_nothing() -> None:
    emissions = emissions_of(0, 5, 4)
    silent = align_labels(emissions, [])
    assert (len(silent.first), len(silent.scores), silent.frames) == (0, 0, 5)
    assert silent.log_probability == pytest.approx(float(emissions[:, 0].sum()), abs=1e-5)
    empty = align_labels(emissions[:0], [])
    assert (empty.frames, empty.log_probability) == (0, 0.0)
    with pytest.raises(UserError, match=r"1 labels and 0 repeats .* there are 0"):
        align_labels(emissions[:0], [1])


def test_certain_emissions_give_their_own_spans() -> None:
    path = [0, 1, 1, 0, 1, 2, 2, 2, 0]
    emissions = np.log(np.where(np.eye(4)[path] == 1, 0.97, 0.01))
    alignment = align_labels(emissions, [1, 1, 2])
    assert (alignment.first.tolist(), alignment.last.tolist()) == ([1, 4, 5], [2, 4, 7])
    assert alignment.scores == pytest.approx([0.97] * 3)
    half = align_labels(emissions.astype(np.float16), [1, 1, 2])
    assert half.first.tolist() == [1, 4, 5]
    assert half.scores == pytest.approx([0.97] * 3, abs=1e-3)


def test_ties_let_the_last_label_begin_earliest() -> None:
    alignment = align_labels(np.full((6, 3), -np.log(3)), [1, 2])
    assert (alignment.first.tolist(), alignment.last.tolist()) == ([0, 1], [0, 5])
    repeated = align_labels(np.full((6, 3), -np.log(3)), [1, 1])
    assert (repeated.first.tolist(), repeated.last.tolist()) == ([0, 2], [0, 5])


def test_what_is_no_log_probability_is_refused() -> None:
    emissions = emissions_of(0, 6, 4)
    broken = emissions.copy()
    broken[3, 2] = np.nan
    with pytest.raises(UserError, match=r"talk\.wav: .*NaN"):
        align_labels(broken, [1], name="talk.wav")
    impossible = emissions.copy()
    impossible[:, 3] = -np.inf
    with pytest.raises(UserError, match="probability zero"):
        align_labels(impossible, [1, 3])
    check(align_labels(impossible, [1, 2]), impossible, [1, 2], 0)
    for wrong, labels, blank in (
        (emissions[0], [1], 0),
        (emissions.astype(np.int64), [1], 0),
        (emissions + 5, [1], 0),
        (emissions, [4], 0),
        (emissions, [-1], 0),
        (emissions, [0, 1], 0),
        (emissions, [1], 4),
    ):
        with pytest.raises(ValueError, match=r"must be|among"):
            align_labels(wrong, labels, blank=blank)


def test_a_hundredth_above_zero_is_the_rounding_of_half_precision() -> None:
    emissions = emissions_of(0, 6, 4).astype(np.float64)
    for highest in (0.0, 0.004, 0.01):
        emissions[2, 1] = highest
        check(align_labels(emissions, [1, 2]), emissions, [1, 2], 0)
    emissions[2, 1] = 0.011
    with pytest.raises(ValueError, match="take log_softmax"):
        align_labels(emissions, [1, 2])


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="takes hours where compiled code is interpreted")
def test_memory_is_bounded_for_long_recordings() -> None:
    frames, count = 20_000, 4_000
    labels = np.random.default_rng(0).integers(1, 8, count).tolist()
    emissions = emissions_of(1, frames, 8)
    align_labels(emissions[:50], labels[:10])
    tracemalloc.start()
    try:
        alignment = align_labels(emissions, labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    check(alignment, emissions, labels, 0)
    states = 2 * count + 1
    bound = 6 * (2 * frames * states) ** (2 / 3)
    assert peak < 1.25 * bound + 100 * (frames + states)
    assert peak < frames * states / 4 / 4  # a quarter of what back pointers of two bits would take
    # An hour with 54,000 labels, by the same arithmetic.
    block, states = block_frames(180_000, 54_000), 108_001
    assert -(-180_000 // block) * states * 8 + block * min(2 * block + 1, states) < 70e6
