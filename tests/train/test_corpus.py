"""Training data: what is opened, held out, left out and said about it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.tiny_run import open_corpus

from wav2vec2.data.batch_plan import BatchPlan
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.mixing import Groups
from wav2vec2.data.sampler import Position
from wav2vec2.data.utterance import write_manifest
from wav2vec2.errors import UserError
from wav2vec2.train.corpus import _used, open_manifest, plan_corpus, read_ids
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.finetune.curriculum import CurriculumConfig
from wav2vec2.train.finetune.edges import EdgeConfig, with_edges
from wav2vec2.train.options import BatchConfig

SIZES = {"batch_samples": 48_000, "max_samples": 19_200, "min_samples": 8_000, "seed": 1}
ALONE = Ranks(0, 1, torch.device("cpu"))
BATCH = BatchConfig(seconds=3.0, micro_seconds=1.5, min_seconds=0.55, max_seconds=1.2, workers=0)


def test_a_manifest_that_is_missing_or_empty_is_one_line(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(UserError, match=r"data\.manifest is not set: give a manifest"):
        open_manifest("", "", "data.manifest")
    with pytest.raises(UserError, match=r"split 'none'"):
        open_manifest(str(corpus), "none", "data.manifest")
    assert len(open_manifest(str(corpus), "dev", "data.manifest")) == 2
    assert len(open_manifest(str(corpus), "", "data.manifest")) == 12


def test_ids_are_lines(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("a\n b \n\nc")
    assert read_ids(str(tmp_path / "ids.txt")) == {"a", "b", "c"}
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
    for name in ("bad.txt", "none.txt"):
        with pytest.raises(UserError, match="cannot be read as a list of utterance ids"):
            read_ids(str(tmp_path / name))


def test_short_and_long_utterances_are_left_out_or_cropped_and_counted(tmp_path: Path) -> None:
    manifest = open_corpus(tmp_path)  # 0.5 to 1.27 s, 0.069 s apart
    left = plan_corpus(manifest, BATCH, ALONE, seed=1, crop=False, epsilon=None)
    assert left.lines[0].startswith(
        "training speech: 10 utterances, 0.00 h an epoch (about 3 updates of 3 s over 1 process)"
    )
    assert left.lines[1:] == [
        "utterances left out: 1 shorter than 0.55 s (batch.min_seconds)",
        "utterances left out: 1 longer than 1.2 s (batch.max_seconds)",
    ]
    cropped = plan_corpus(manifest, BATCH, ALONE, seed=1, crop=True, epsilon=None)
    assert "11 utterances" in cropped.lines[0]
    assert len(cropped.lines) == 2
    longest = max(int(batch.lengths.max()) for batch in next(cropped.loader.updates(Position())).micro_batches)
    assert longest <= 1.2 * 16_000
    two = plan_corpus(manifest, BATCH, Ranks(1, 2, torch.device("cpu")), seed=1, crop=True, epsilon=None)
    assert "over 2 processes" in two.lines[0]
    assert (two.loader.rank, two.loader.world, two.loader.pin_memory) == (1, 2, False)


def test_the_fingerprint_is_one_of_the_lengths(tmp_path: Path) -> None:
    def fingerprint(count: int) -> str:
        manifest = open_corpus(tmp_path / str(count), count)
        return plan_corpus(manifest, BATCH, ALONE, seed=1, crop=True, epsilon=None).fingerprint

    assert fingerprint(11) == fingerprint(11) != fingerprint(12)


@pytest.mark.parametrize(("share", "updates", "first"), [(0.5, 6, 3), (0.0, 6, 0), (0.05, 6, 0), (0.5, 0, 0)])
def test_a_curriculum_takes_its_share_of_the_updates(share: float, updates: int, first: int, tmp_path: Path) -> None:
    found = plan_corpus(
        open_corpus(tmp_path),
        BATCH,
        ALONE,
        seed=1,
        crop=False,
        epsilon=None,
        curriculum=CurriculumConfig(share=share, seconds=0.8, epochs=1e3),
        updates=updates,
    )
    said = [line for line in found.lines if "(curriculum)" in line]
    assert len(said) == (first > 0)
    if first:
        assert said == [f"the first {first} updates use only the 4 utterances of at most 0.8 s (curriculum)"]
    plan, position = found.loader.plan, Position()
    longest = []
    for _ in range(first + plan.batches(1)):
        batch = plan.batch(position)
        position = batch.following
        longest.append(int(batch.samples.max()))
    assert max(longest[:first], default=0) <= 0.8 * 16_000 < max(longest[first:])


def test_decoded_audio_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    manifest = open_corpus(tmp_path)
    for keep in (False, True):
        found = plan_corpus(manifest, replace(BATCH, in_memory=keep), ALONE, seed=1, crop=True, epsilon=1e-7)
        assert (found.loader.decoded is not None) == keep
        assert found.loader.epsilon


@pytest.mark.parametrize(("seconds", "most"), [(1.2, 1), (1.9, 2), (3.0, 3)])
def test_a_forward_pass_holds_what_fits_into_its_seconds_with_padding(
    seconds: float, most: int, tmp_path: Path
) -> None:
    found = plan_corpus(
        open_corpus(tmp_path), replace(BATCH, micro_seconds=seconds), ALONE, seed=1, crop=True, epsilon=None
    )
    updates = found.loader.updates(Position())
    batches = [batch for _ in range(8) for batch in next(updates).micro_batches]
    assert max(batch.waveforms.numel() for batch in batches) <= seconds * 16_000
    assert max(len(batch.rows) for batch in batches) == most


def test_balanced_languages_are_said_at_the_start(tmp_path: Path) -> None:
    rows = [replace(row, language="de" if number < 2 else "fr") for number, row in enumerate(open_corpus(tmp_path))]
    manifest = Manifest.open(write_manifest(rows, tmp_path / "m.parquet"))
    for beta, uses in ((1.0, "1"), (0.0, "5.91")):
        groups = Groups.of(manifest, "language", beta)
        corpus = plan_corpus(manifest, BATCH, ALONE, seed=1, crop=True, epsilon=None, groups=groups)
        assert corpus.lines[-3].startswith("mixing: 2 groups")
        assert corpus.lines[-1].startswith("  de: ")
        batches = corpus.loader.plan.walk(Position())
        used = np.concatenate([next(batches).utterances for _ in range(corpus.loader.plan.batches(0))])
        assert corpus.lines[-1].endswith(f"x {uses}")
        assert 0 <= int(np.count_nonzero(used == 1)) - int(float(uses)) <= 1


def test_static_shapes_and_empty_room_are_reported(tmp_path: Path) -> None:
    manifest = open_corpus(tmp_path)
    static = replace(BATCH, buckets=2, multiple=2, micro_seconds=3.0)
    lines = plan_corpus(manifest, static, ALONE, seed=1, crop=True, epsilon=None).lines
    assert re.match(r"static shapes: [12] lengths from [\d.]+ to [\d.]+ s; forward passes filled to ", lines[2])
    on_gpu = Ranks(0, 4, torch.device("cuda"))
    (said,) = _used(BatchPlan(manifest.samples, **SIZES, group_samples=96_000), BATCH, on_gpu)
    assert re.match(r"forward passes are filled to [\d.]+ % of batch.micro_seconds: 0.75 would fit", said)
    assert said.endswith("processes better, and batch.buckets = 8 avoids padding")
    uneven = BatchPlan(manifest.samples, **SIZES, group_samples=48_000, buckets=2, multiple=2)
    assert "work unevenly" in " ".join(_used(uneven, static, replace(on_gpu, world=3)))


def test_edges_are_drawn_where_they_are_asked_for(tmp_path: Path) -> None:
    def planned(share: float) -> tuple[bool, list[str]]:
        plain = plan_corpus(open_corpus(tmp_path), BATCH, ALONE, seed=1, crop=False, epsilon=None)
        found = with_edges(plain, EdgeConfig(share=share, seconds=0.1), seed=1, group_samples=24_000)
        return bool(found.loader.plan.batch(Position()).edges), [line for line in found.lines if "(edges)" in line]

    assert planned(0.0) == (False, [])
    line = "75 % of the ends of utterances get a silence of 0 to 0.1 s, drawn anew every time (edges)"
    assert planned(0.75) == (True, [line])
