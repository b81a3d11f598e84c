"""Turns by seconds of audio, batches of alike lengths, and what becomes of pieces whose process died."""

from hypothesis import given
from hypothesis import strategies as st

from wav2vec2.serve.scheduler import ATTEMPTS, HOLD, Piece, Scheduler

SECOND = 16_000


def piece(request: str, seconds: float, failures: list[str] | None = None) -> Piece:
    return Piece(request, round(seconds * SECOND), None, ([] if failures is None else failures).append)


def drained(scheduler: Scheduler, now: float = 10.0) -> list[list[Piece]]:
    batches = []
    while batch := scheduler.take(now)[0]:
        batches.append(batch)
    return batches


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0.1, 40.0)), min_size=1, max_size=60),
    st.integers(1, 60),
)
def test_every_piece_is_computed_once_within_the_budget(asked: list[tuple[str, float]], budget: int):
    scheduler = Scheduler(budget * SECOND)
    pieces = [piece(request, seconds) for request, seconds in asked]
    for one in pieces:
        scheduler.begin(one.request)
        scheduler.add(one, 0.0)
    batches = drained(scheduler)
    assert sorted(map(id, (one for batch in batches for one in batch))) == sorted(map(id, pieces))
    for batch in batches:
        longest = max(one.samples for one in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget * SECOND
        assert longest <= 2 * SECOND or longest <= 1.5 * min(one.samples for one in batch)
    for request in "abcdef":
        own = [one for batch in batches for one in batch if one.request == request]
        assert own == sorted(own, key=pieces.index) or len({one.samples for one in own}) > 1


def test_a_short_clip_does_not_wait_for_long_recordings():
    scheduler = Scheduler(20 * SECOND)
    for name in "abcde":
        scheduler.begin(name)
        for _ in range(40):
            scheduler.add(piece(name, 15.0), 0.0)
    before = [scheduler.take(1.0)[0] for _ in range(3)]
    assert all(before)
    scheduler.begin("clip")
    scheduler.add(piece("clip", 3.0), 1.0)
    place = next(n for n, batch in enumerate(drained(scheduler)) if any(one.request == "clip" for one in batch))
    assert place <= 1


def test_many_short_clips_do_not_keep_a_long_recording_waiting():
    scheduler = Scheduler(3 * SECOND)
    scheduler.begin("long")
    for _ in range(10):
        scheduler.add(piece("long", 3.0), 0.0)
    heard = []
    for number in range(20):  # there are always two clips that nobody has heard
        for name in (f"{number}a", f"{number}b"):
            scheduler.begin(name)
            scheduler.add(piece(name, 3.0), 0.0)
        heard += [one.request for one in scheduler.take(1.0)[0]]
    assert heard.count("long") >= 8


def test_long_recordings_share_by_seconds():
    scheduler = Scheduler(20 * SECOND)
    for name, length in (("long", 15.0), ("short", 5.0)):
        scheduler.begin(name)
        for _ in range(int(300 / length)):
            scheduler.add(piece(name, length), 0.0)
    heard = {"long": 0.0, "short": 0.0}
    while sum(heard.values()) < 240:
        for one in scheduler.take(1.0)[0]:
            heard[str(one.request)] += one.samples / SECOND
    assert abs(heard["long"] - heard["short"]) <= 40


def test_a_batch_waits_for_others_only_when_they_are_expected():
    scheduler = Scheduler(20 * SECOND)
    scheduler.begin("a")
    scheduler.add(piece("a", 1.0), 0.0)
    assert len(scheduler.take(0.0)[0]) == 1
    scheduler.add(piece("a", 1.0), 0.0)
    scheduler.begin("b")
    batch, wait = scheduler.take(0.0)
    assert not batch
    assert 0 < wait <= HOLD
    scheduler.add(piece("b", 1.0), 0.001)
    assert len(scheduler.take(0.001)[0]) == 2


def test_pieces_of_a_dead_process_come_first_once_more_and_then_fail():
    scheduler = Scheduler(20 * SECOND)
    failures: list[str] = []
    lost = piece("a", 1.0, failures)
    for name in "ab":
        scheduler.begin(name)
    scheduler.add(lost, 0.0)
    batch = scheduler.take(1.0)[0]
    for attempt in range(1, ATTEMPTS + 1):
        assert batch == [lost]
        assert lost.attempts == attempt
        scheduler.lost(batch)
        batch = scheduler.take(1.0)[0]
    assert not batch
    assert len(failures) == 1


def test_what_waits_of_a_request_that_has_gone_is_forgotten():
    scheduler = Scheduler(20 * SECOND)
    for name in "ab":
        scheduler.begin(name)
        scheduler.add(piece(name, 1.0), 0.0)
    scheduler.end("a")
    assert [one.request for batch in drained(scheduler) for one in batch] == ["b"]
    gone = piece("a", 1.0)
    scheduler.lost([gone])
    assert scheduler.waiting == 0
