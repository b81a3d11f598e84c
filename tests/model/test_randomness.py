"""Random numbers are functions of their coordinates: the same on host and device, alone and in a batch."""

import torch

from wav2vec2.model.randomness import Draw, Purpose, hash_int, hash_tensor, uniform


def test_the_hash_is_the_same_for_integers_and_tensors_and_uniform() -> None:
    counters = torch.arange(100_000)
    words = hash_tensor(7, Purpose.GUMBEL, 3, counters)
    assert words[:50].tolist() == [hash_int(7, int(Purpose.GUMBEL), 3, i) for i in range(50)]
    assert torch.equal(words, hash_tensor(7, Purpose.GUMBEL, torch.tensor(3), counters))
    values = uniform(words)
    assert values.min() > 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.005
    serial = torch.corrcoef(torch.stack([values[:-1], values[1:]]))[0, 1]
    assert serial.abs() < 0.01


def test_the_hash_does_not_change() -> None:
    """Runs resume with the masks, distractors and noise that they began with."""
    assert hash_int(0) == 1684164658
    assert hash_int(1, 2, 3) == 2120372186
    assert Draw(1, 2, torch.tensor([3])).words(Purpose.NEGATIVES, 2).tolist() == [[2001686246, 3461897548]]


def test_uniform_never_gives_0_or_1() -> None:
    ends = uniform(torch.tensor([0, 2**32 - 1]))
    assert ends.min() > 0
    assert ends.max() < 1


def test_an_utterance_s_words_are_its_own_and_differ_by_coordinate() -> None:
    draw = Draw(1, 2, torch.tensor([4, 9, 2]))
    words = draw.words(Purpose.GUMBEL, 5, 3)
    assert words.shape == (3, 5, 3)
    alone = Draw(1, 2, torch.tensor([9]))
    assert torch.equal(alone.words(Purpose.GUMBEL, 5, 3)[0], words[1])
    assert torch.equal(alone.words_at(Purpose.GUMBEL, torch.arange(15).view(1, 5, 3))[0], words[1])
    assert draw.words(Purpose.GUMBEL).shape == (3,)
    others = [
        Draw(2, 2, draw.rows).words(Purpose.GUMBEL, 5, 3),
        Draw(1, 3, draw.rows).words(Purpose.GUMBEL, 5, 3),
        draw.words(Purpose.NEGATIVES, 5, 3),
    ]
    everything = torch.cat([words, *others]).flatten()
    assert len(everything.unique()) == len(everything)


def test_a_seed_beyond_32_bits_counts_whole() -> None:
    assert hash_int(1) != hash_int(1 + (1 << 32))
