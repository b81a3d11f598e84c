"""docs/scaling.md holds what scripts/scaling.py prints, and the formulas are what they say."""

import pytest
from scripts import scaling


def test_the_page_is_up_to_date() -> None:
    page = scaling.PAGE.read_text(encoding="utf-8")
    assert scaling.filled(page) == page, "run python scripts/scaling.py --write"


def test_an_update_is_bound_by_what_takes_longest() -> None:
    large = scaling.MODELS[1]
    alone = scaling.update(large, scaling.H100, 1)
    assert (alone.exchange, alone.bound) == (0.0, "computing")
    eight = scaling.update(large, scaling.H100, 8)
    # 7/8 of 317 M float32 gradients there and back at 450 GB/s
    assert eight.exchange == pytest.approx(2 * 7 / 8 * 317_390_592 * 4 / 450e9)
    assert eight.compute == pytest.approx(alone.compute / 8)
    slow = scaling.Gpu("slow network", 798e12, 3.35e12, 450e9, 5e9)
    assert scaling.update(large, slow, 64).bound == "the network"
    assert scaling.update(large, scaling.H100, 512).bound.startswith("the batch")


def test_sharded_weights_are_gathered_for_each_pass() -> None:
    large = scaling.MODELS[2]
    assert large.sharded
    one = scaling.update(large, scaling.H100, 64)
    passes = 10_240 / 64 / 80
    assert one.passes == passes
    assert one.exchange == pytest.approx(63 / 64 * large.parameters * (4 * passes + 4) / 400e9)
    assert one.optimiser == pytest.approx(28 * large.parameters / 64 / 3.35e12)
