"""Which utterances are held out: a matter of their ids alone, at any size."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wav2vec2.data import hold_out as module
from wav2vec2.data import manifest_cache
from wav2vec2.data.hold_out import hashed, hold_out
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, record_batch, write_manifest
from wav2vec2.errors import UserError

IDS = [f"speaker-{number % 7}-{number:05d}" for number in range(300)]


def manifest(ids: list[str]) -> Manifest:
    rows = [Utterance(id=name, path=f"{name}.wav", samples=16_000) for name in ids]
    return Manifest([record_batch(rows[first : first + 70]) for first in range(0, len(rows), 70)])


@pytest.mark.parametrize("large", [300, 100])
def test_held_out_utterances_depend_on_ids_alone_and_avoid_a_list(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", large)
    avoid = set(IDS[::3])
    rest, held = hold_out(manifest(IDS), 40, avoid)
    assert len(held) == 40
    assert not avoid & set(held.ids)
    assert sorted(rest.ids + held.ids) == sorted(IDS)
    backwards = manifest(IDS).select(range(len(IDS) - 1, -1, -1))
    assert set(hold_out(backwards, 40, avoid)[1].ids) == set(held.ids)
    assert set(hold_out(manifest(IDS), 20, avoid)[1].ids) < set(held.ids)
    assert len(hold_out(manifest(IDS), 199, avoid)[0]) == 101
    assert len(hold_out(manifest(IDS), 0, avoid)[1]) == 0
    with pytest.raises(UserError, match="200 of 200 usable utterances; hold out fewer"):
        hold_out(manifest(IDS), 200, avoid)


@given(st.lists(st.integers(0, 299), max_size=60), st.booleans())
def test_a_column_in_pieces_is_the_column(rows: list[int], ordered: bool) -> None:
    chosen = manifest(IDS).select(sorted(rows) if ordered else rows)
    assert [name for piece in chosen.column_pieces("id") for name in piece.to_pylist()] == chosen.ids
    assert [name for piece in manifest(IDS).column_pieces("id") for name in piece.to_pylist()] == IDS


def test_sha_256_chooses_where_it_always_did_and_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = sorted((hashlib.sha256(name.encode()).digest(), name) for name in IDS)
    expected = {name for _, name in digests[:25]}
    assert set(hold_out(manifest(IDS), 25, set())[1].ids) == expected
    monkeypatch.setattr(module, "LARGE", 100)
    assert set(hold_out(manifest(IDS), 25, set(), "sha256")[1].ids) == expected
    assert set(hold_out(manifest(IDS), 25, set())[1].ids) != expected


@given(st.lists(st.text(max_size=20), min_size=1, max_size=30), st.integers(0, 29))
def test_a_hash_is_one_of_the_id_wherever_it_stands(ids: list[str], first: int) -> None:
    column = pa.array(ids, type=pa.string())
    together = hashed(column)
    assert together.tolist() == [int(hashed(pa.array([name]))[0]) for name in ids]
    assert hashed(column.slice(first)).tolist() == together[first:].tolist()
    assert len(set(together.tolist())) == len(set(ids))


def test_hashes_are_spread_evenly() -> None:
    hashes = hashed(pa.array([f"{number:08d}" for number in range(20_000)]))
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(0) - 0.5).max() < 0.02
    assert len(np.unique(hashes)) == 20_000
    assert hashed(pa.array([], type=pa.string())).tolist() == []


def test_ids_of_a_file_are_those_in_memory(tmp_path: Path) -> None:
    path = write_manifest(manifest(IDS), tmp_path / "m.parquet")
    assert hold_out(Manifest.open(path), 30, set())[1].ids == hold_out(manifest(IDS), 30, set())[1].ids


def test_one_process_of_a_machine_chooses_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 100)
    monkeypatch.setattr(manifest_cache, "ROWS_IN_MEMORY", 100)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = write_manifest(manifest(IDS), tmp_path / "m.parquet")
    expected = hold_out(manifest(IDS), 30, set())[1].ids
    assert hold_out(Manifest.open(path), 30, set())[1].ids == expected
    calls: list[int] = []
    choose = module._smallest_hashes
    monkeypatch.setattr(module, "_smallest_hashes", lambda *given: (calls.append(1), choose(*given))[1])
    assert hold_out(Manifest.open(path), 30, set())[1].ids == expected
    assert not calls
    (file,) = tmp_path.glob("wav2vec2-plans-*/held-*.npy")
    file.write_bytes(file.read_bytes()[:-8])
    assert hold_out(Manifest.open(path), 30, set())[1].ids == expected
    assert hold_out(Manifest.open(path), 30, set(expected[:5]))[1].ids != expected
    assert hold_out(Manifest.open(path).select(range(200)), 30, set())[1].ids != expected
    assert len(calls) == 3
