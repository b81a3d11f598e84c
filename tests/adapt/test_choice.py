"""Numbers of updates from the hours of labels, the encoder and the machine."""

from dataclasses import replace

import pytest

from wav2vec2.adapt.choice import Choice, Facts, Wishes, choose

SMALL = Facts(600.0, 5000.0, True, 6_000_000, False, 36.0, 36.0)
PUBLISHED = Facts(3600.0, 36_000.0, False, 300_000_000, True, 2000.0, 1500.0)


def said(choice: Choice) -> str:
    return "\n".join(choice.lines)


@pytest.mark.parametrize(("labels", "updates"), [(600, 1200), (3600, 3962), (36_000, 18_391), (1, 1200)])
def test_the_rule_goes_through_what_was_measured(labels, updates):
    """Ten minutes of labels for 1,200 updates of 20 s, an hour for 4,000: docs/log.md, 2026-11-26."""
    assert choose(replace(SMALL, labels=float(labels)), Wishes(hours=0)).updates == updates


def test_pretraining_goes_on_with_an_hour_and_is_compared():
    choice = choose(PUBLISHED, Wishes(hours=0))
    assert (choice.pretrain, choice.compare, choice.size) == (True, True, "published")
    assert "kept only if the held-out speakers are recognised better" in said(choice)
    few = choose(replace(PUBLISHED, untranscribed=3000.0), Wishes(hours=0))
    assert (few.pretrain, few.compare) == (False, False)
    assert "0.83 h of untranscribed speech are fewer than 1 h" in said(few)
    assert not choose(PUBLISHED, Wishes(pretrain="never")).pretrain
    always = choose(replace(PUBLISHED, untranscribed=3000.0), Wishes(pretrain="always"))
    assert (always.pretrain, always.compare) == (True, False)
    assert not choose(replace(PUBLISHED, untranscribed=0.0), Wishes(pretrain="always")).pretrain


def test_a_new_encoder_is_pretrained_without_a_comparison():
    choice = choose(SMALL, Wishes(hours=0))
    assert (choice.pretrain, choice.compare, choice.size) == (True, False, "small")
    assert not choose(replace(SMALL, untranscribed=300.0), Wishes()).pretrain


def test_what_takes_too_long_is_cut():
    short = choose(SMALL, Wishes(hours=0.2))
    assert short.expected <= 0.2 * 3600 * 1.01
    assert short.updates >= 200
    assert short.pretrain_updates * short.pretrain_seconds == pytest.approx(0.1 * 3600 * 36, rel=0.01)
    assert "cut to --hours 0.2" in said(short)
    slow = replace(PUBLISHED, accelerated=False, trained=1.0, continued=0.7)
    cut = choose(slow, Wishes(hours=12))
    assert not cut.pretrain
    assert "less than a third of it would fit" in said(cut)
    hopeless = choose(slow, Wishes(hours=1))
    assert hopeless.updates == 200
    assert "warning: 200 updates may be too few" in said(hopeless)
    assert "XLS-R 300M had 70 % WER after 400" in said(hopeless)


def test_few_updates_are_warned_of_in_the_last_line():
    assert "warning" not in said(choose(SMALL, Wishes(hours=0)))
    by_time = choose(SMALL, Wishes(hours=0.2)).lines[-1]
    assert by_time.startswith("warning: 648 updates may be too few for the recogniser to write anything at all")
    assert "give more --hours (1200 updates, about" in by_time
    by_hand = choose(SMALL, Wishes(updates=1199, hours=0)).lines[-1]
    assert "warning: 1199 updates" in by_hand
    assert "give --updates 1200 or more, about" in by_hand
    assert "warning" not in said(choose(SMALL, Wishes(updates=1200, hours=0)))


def test_few_updates_of_adapters_depend_on_what_is_adapted():
    few = Wishes(updates=500, hours=0, way="adapters")
    assert "warning" not in said(choose(replace(PUBLISHED, writes=True), few))
    assert "give --updates 1200 or more" in said(choose(PUBLISHED, few))


def test_numbers_that_the_user_gives_stay():
    choice = choose(SMALL, Wishes(updates=7, pretrain_updates=3, hours=0.0001))
    assert (choice.updates, choice.pretrain_updates, choice.validate_every) == (7, 3, 1)
    assert "(--updates)" in said(choice)


def test_self_training_counts_half_of_the_untranscribed_speech():
    choice = choose(SMALL, Wishes(hours=0, self_training=1))
    assert choice.updates < choice.self_updates
    assert choice.expected > choose(SMALL, Wishes(hours=0)).expected
