from pathlib import Path

import pytest
from tests.experiment.made_up_speech_tree import write_tree

from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError
from wav2vec2.experiment.choose import choose_speech
from wav2vec2.pipeline.stage import read_values


def manifest(folder: Path, splits: tuple[str, ...] = ("train-a", "train-b", "dev", "test-clean", "test-other")) -> str:
    rows = [
        Utterance(
            f"{split}-{n:03d}", f"/x/{n}.wav", samples=16_000 * (2 + n % 9), text="A", speaker=str(n), split=split
        )
        for split in splits
        for n in range(60)
    ]
    return str(write_manifest(rows, folder / "m.parquet"))


def choose(folder: Path, **changes: object) -> dict[str, object]:
    for tier, count in (("1h", 40), ("10min", 10)):
        (folder / f"{tier}.txt").write_text("".join(f"train-a-{n:03d}\n" for n in range(count)))
    settings: dict[str, object] = {
        "manifest": changes.get("manifest") or manifest(folder),
        "train": "",
        "dev": "",
        "tests": "",
        "tiers": ["1h", "10min", "all"],
        "lists": [str(folder / "1h.txt"), str(folder / "10min.txt")],
        "train_seconds": 0.0,
        "dev_seconds": 0.0,
        "test_seconds": 0.0,
        "hold_out": 12,
    }
    choose_speech(folder / "out", **(settings | changes))
    return read_values(folder / "out")


def test_everything_by_default(tmp_path):
    values = choose(tmp_path)
    assert values["train_splits"] == "train-a+train-b"
    assert values["test_splits"] == "test-clean+test-other"
    assert values["hold_out"] == 12
    assert len(Manifest.open(tmp_path / "out" / "manifest.parquet")) == 300
    assert len((tmp_path / "out" / "labels" / "10min.txt").read_text().split()) == 10
    assert values["hours_10min"] < values["hours_1h"] < values["hours_all"]


def test_a_slice_keeps_the_shortest_list_first_and_is_the_same_each_time(tmp_path):
    values = choose(tmp_path, train_seconds=100.0, dev_seconds=30.0)
    kept = Manifest.open(tmp_path / "out" / "manifest.parquet", "train-a")
    ids = kept.ids
    assert float(kept.samples.sum()) <= 100 * 16_000
    assert {f"train-a-{n:03d}" for n in range(10)} <= set(ids)
    assert len((tmp_path / "out" / "labels" / "1h.txt").read_text().split()) > 10
    choose(tmp_path, train_seconds=100.0, dev_seconds=30.0)
    assert Manifest.open(tmp_path / "out" / "manifest.parquet", "train-a").ids == ids
    assert values["hold_out"] <= 12


def test_mistakes_name_the_option(tmp_path):
    with pytest.raises(UserError, match=r"has no split 'training'.*--train-splits"):
        choose(tmp_path, train="training")
    with pytest.raises(UserError, match=r"no split whose name begins with 'test'.*--test-splits"):
        choose(tmp_path, manifest=manifest(tmp_path, ("train", "dev")))
    (tmp_path / "other.txt").write_text("nobody\n")
    with pytest.raises(UserError, match=r"labels '1h': none of its 1 ids is in split"):
        choose(tmp_path, lists=[str(tmp_path / "other.txt"), str(tmp_path / "10min.txt")])


def test_the_made_up_tree_has_what_the_other_tests_need(tmp_path):
    root = write_tree(tmp_path / "tree")
    assert len(list(root.rglob("*.flac"))) == 42
