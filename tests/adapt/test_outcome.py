"""What is said of a recogniser that writes nothing, or nothing right."""

from typing import Any

import pytest

from wav2vec2.adapt.card import model_card
from wav2vec2.adapt.outcome import Outcome, Rate


def outcome(main: str = "wer", **rates: Rate) -> Outcome:
    """An outcome whose greedy output on test has these rates."""
    row: dict[str, Any] = {"no LM": rates, "4-gram": dict.fromkeys(rates, Rate(0.9, 0.8, 0.95))}
    return Outcome({"valid": row, "test": row}, main, ("no LM", "4-gram"), "4-gram", {}, {"updates": 330}, {})


EMPTY = Rate(1.0, 1.0, 1.0, 1.0)


def test_empty_output_is_told_in_words_with_what_helps():
    said = outcome(wer=EMPTY, cer=EMPTY).failure("scratch")
    assert "100 % of the words of people whom it has not heard are wrong. It writes next to nothing." in said
    assert "more updates of fine-tuning than 330 (--updates 1200" in said
    assert "--from facebook/wav2vec2-xls-r-300m" in said
    assert "one like it (--from)" in outcome(wer=EMPTY, cer=EMPTY).failure("facebook/mms-300m")
    card = model_card("mine", "scratch", "mit", outcome(wer=EMPTY, cer=EMPTY), text="text", commands=(), data="data")
    assert f"**{said}**" in card
    assert card.index(said) < card.index("## Use")


@pytest.mark.parametrize(
    ("main", "rates", "useless"),
    [
        ("wer", {"wer": Rate(0.985, 0.98, 0.99, 0.1), "cer": Rate(0.7, 0.6, 0.8, 0.1)}, True),
        ("wer", {"wer": Rate(0.97, 0.9, 1.0, 0.2), "cer": Rate(0.6, 0.5, 0.7, 0.1)}, False),
        ("cer", {"cer": Rate(0.92, 0.9, 0.95, 0.1), "wer": Rate(1.0, 1.0, 1.0, 0.0)}, True),
        ("cer", {"cer": Rate(0.6, 0.5, 0.7, 0.1), "wer": Rate(1.0, 1.0, 1.0, 0.0)}, False),  # words without spaces
        ("per", {"per": Rate(0.4, 0.3, 0.5, 0.1)}, False),
    ],
)
def test_nothing_is_said_of_one_that_gets_some_of_it_right(main, rates, useless):
    said = outcome(main, **rates).failure("scratch")
    assert bool(said) is useless
    assert "next to nothing" not in said
    card = model_card("mine", "scratch", "mit", outcome(main, **rates), text="text", commands=(), data="data")
    assert ("no usable recogniser" in card) is useless
