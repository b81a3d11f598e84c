import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.inference.windows import PieceSettings, WindowSizes, batches_by_length, plan_windows
from wav2vec2.model.architecture import Architecture

ARCHITECTURE = Architecture()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 120_000), st.integers(0, 20), st.integers(1, 60))
def test_windows_keep_every_frame_once_with_its_own_samples(samples: int, context: int, centre: int) -> None:
    frames = ARCHITECTURE.frame_length(samples)
    size = 2 * context + centre
    windows = plan_windows(samples, ARCHITECTURE, window_frames=size, context_frames=context)
    kept: list[int] = []
    for window in windows:
        assert window.start % 320 == 0
        assert window.start + window.samples <= samples
        inside = ARCHITECTURE.frame_length(window.samples)
        assert inside <= size
        assert window.skip + window.keep <= inside
        first = window.start // 320
        kept.extend(range(first + window.skip, first + window.skip + window.keep))
        assert window.skip >= context or first + window.skip == 0
        assert inside - window.skip - window.keep >= context or kept[-1] == frames - 1
    assert kept == list(range(frames))
    if len(windows) > 1:
        assert {window.samples for window in windows} == {(size - 1) * 320 + 400}


def test_window_must_exceed_its_context() -> None:
    with pytest.raises(ValueError, match="context"):
        plan_windows(16_000, ARCHITECTURE, window_frames=4, context_frames=2)


def test_short_recordings_are_one_window_or_none() -> None:
    sizes = {"window_frames": 100, "context_frames": 10}
    assert plan_windows(399, ARCHITECTURE, **sizes) == []
    (only,) = plan_windows(400, ARCHITECTURE, **sizes)
    assert (only.start, only.samples, only.skip, only.keep) == (0, 400, 0, 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 100), max_size=30), st.integers(1, 300))
def test_batches_stay_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = batches_by_length(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[index] for index in batch) * len(batch) <= budget


@pytest.mark.parametrize(
    ("heard", "pause", "margin"),
    [(2.4, 0.3, 0.02), (6.0, 0.3, 0.02), (11.0, 0.55, 0.06), (16.0, 0.8, 0.1), (40.0, 0.8, 0.1), (None, 0.8, 0.1)],
)
def test_long_pieces_end_at_long_pauses(heard: float | None, pause: float, margin: float) -> None:
    rules = PieceSettings().rules(heard, WindowSizes())
    assert rules is not None
    assert (rules.pause, rules.margin) == (pytest.approx(pause), pytest.approx(margin))
    chosen = PieceSettings(pause=0.4, margin=0.0).rules(heard, WindowSizes())
    assert chosen is not None
    assert (chosen.pause, chosen.margin) == (0.4, 0.0)
    short = PieceSettings(longest=2.0).rules(heard, WindowSizes())
    assert short is not None
    assert (short.pause, short.margin) == (0.3, 0.02)
