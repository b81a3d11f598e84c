"""Where long utterances are cropped: even, and a function of seed, epoch and utterance alone."""

import numpy as np

from wav2vec2.data.sampler import crop_starts, scramble


def test_crop_starts_cover_the_inclusive_range_evenly() -> None:
    starts = crop_starts(5, 2, np.arange(30_000), np.full(30_000, 9))
    counts = np.bincount(starts, minlength=10)
    assert len(counts) == 10
    assert (abs(counts - 3000) < 250).all()


def test_crop_starts_are_the_hash_that_they_are_said_to_be() -> None:
    """splitmix64, whose first output for the state 0 is published; then by hand in Python's integers."""
    assert int(scramble(np.zeros(1, np.uint64))[0]) == 0xE220A8397B1DCDAF

    def mixed(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    utterances, room = np.array([0, 1, 2, 14_000_000]), np.array([0, 9, 999, 123_456])
    for seed, epoch in ((0, 0), (1, 0), (0, 1), (-1, 7), (2**40, 3)):
        found = crop_starts(seed, epoch, utterances, room)
        state = mixed(mixed(seed % 2**64) ^ epoch)
        assert found.tolist() == [mixed(state ^ int(u)) % (int(r) + 1) for u, r in zip(utterances, room, strict=True)]


def test_crops_differ_by_seed_epoch_and_utterance() -> None:
    room = np.full(50, 10**6)
    reads = [crop_starts(seed, epoch, np.arange(50), room).tolist() for seed in (1, 2) for epoch in (1, 2)]
    assert len({start for read in reads for start in read}) > 195
    assert crop_starts(1, 1, np.arange(50)[::-1], room).tolist() == reads[0][::-1]
