import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from wav2vec2.data import manifest as module
from wav2vec2.data import manifest_cache
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, record_batch, write_manifest
from wav2vec2.errors import UserError
from wav2vec2.output_file import writing


def rows(count: int, prefix: str = "u") -> list[Utterance]:
    splits = ("train", "dev", "test")
    return [
        Utterance(
            f"{prefix}{number}",
            f"/audio/{number}.flac",
            samples=100 + number,
            sample_rate=16_000,
            text=text,
            speaker=str(number % 5),
            split=splits[number % 3],
            language="en",
            source="s",
        )
        for number, text in zip(range(count), ["words", None] * count, strict=False)
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write_manifest(iter(rows(10)), tmp_path / "m.parquet")
    manifest = Manifest.open(path)
    assert list(manifest) == rows(10)
    assert manifest.utterance(-1) == rows(10)[-1]
    assert manifest.samples.dtype == np.int64
    assert manifest.samples.tolist() == list(range(100, 110))
    with pytest.raises(IndexError):
        manifest.utterance(10)


def test_selection_by_split_index_and_id(tmp_path: Path) -> None:
    manifest = Manifest.open(write_manifest(rows(30), tmp_path / "m.parquet"), split="dev+test")
    assert len(manifest) == 20
    chosen = manifest.select([3, 1]).select(np.array([1]))
    assert chosen.ids == [manifest.ids[1]]
    assert chosen.samples.tolist() == [manifest.samples[1]]
    assert manifest.with_ids({"u4", "u2"}).ids == ["u2", "u4"]
    assert [batch.num_rows for batch in manifest.batches()] == [20]
    with pytest.raises(UserError, match="'u3'"):
        manifest.with_ids({"u3"})
    with pytest.raises(UserError, match="no split 'valid': choose among dev, test"):
        manifest.with_split("valid")


def test_relative_paths_start_at_the_manifest(tmp_path: Path) -> None:
    paths = ["shard.tar", "/rooted.wav", "s3://bucket/a.tar"]
    rows_of = [Utterance(str(number), path, samples=5) for number, path in enumerate(paths)]
    write_manifest(rows_of, tmp_path / "m.parquet")
    assert [row.path for row in Manifest.open(tmp_path / "m.parquet")] == [f"{tmp_path}/shard.tar", *paths[1:]]


def test_a_folder_of_parts_is_one_manifest_and_a_missing_part_is_named(tmp_path: Path) -> None:
    for part in (1, 2, 3):
        write_manifest(rows(4, f"p{part}-"), tmp_path / f"manifest-{part:03d}-of-003.parquet")
    assert len(Manifest.open(tmp_path)) == len(Manifest.open(tmp_path / "manifest-*.parquet")) == 12
    (tmp_path / "manifest-002-of-003.parquet").unlink()
    with pytest.raises(UserError, match=r"part 2 of 3 is missing.*--part 2/3"):
        Manifest.open(tmp_path)
    write_manifest(rows(1), tmp_path / "manifest.parquet")
    with pytest.raises(UserError, match="different runs"):
        Manifest.open(tmp_path)


def test_large_manifests_are_memory_mapped_and_pickle_as_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_cache, "ROWS_IN_MEMORY", 100)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_manifest(rows(5_000), tmp_path / "m.parquet")
    manifest = Manifest.open(path, "train")
    assert len(list((tmp_path / "cache").rglob("*.arrow"))) == 1
    frozen = pickle.dumps(manifest.select([5]))
    assert len(frozen) < 5_000
    assert pickle.loads(frozen).utterance(0) == rows(5_000)[15]
    write_manifest(rows(200), path)
    os.utime(path, (1, 1))
    assert len(Manifest.open(path)) == 200


def test_what_is_no_manifest_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("nothing")
    for path in (tmp_path / "a.parquet", tmp_path / "none.parquet", tmp_path / "*.arrow"):
        with pytest.raises(UserError):
            Manifest.open(path)


def test_an_empty_manifest(tmp_path: Path) -> None:
    manifest = Manifest.open(write_manifest([], tmp_path / "m.parquet"))
    assert len(manifest) == 0
    assert manifest.samples.shape == (0,)
    assert manifest.ids == []


def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path: Path) -> None:
    path = write_manifest(rows(3), tmp_path / "m.parquet")
    with (
        pytest.raises(UserError, match=r"m\.parquet: cannot be written \(no space left on the disk\): free"),
        writing(path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert len(Manifest.open(path)) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["m.parquet"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which refuses every write")
def test_arrow_reports_a_full_device_as_such() -> None:
    import pyarrow.parquet as pq

    from wav2vec2.data.utterance import SCHEMA
    from wav2vec2.output_file import write_error

    with pytest.raises(OSError) as caught, pq.ParquetWriter("/dev/full", SCHEMA) as writer:  # noqa: PT011
        writer.write_table(SCHEMA.empty_table())
    assert "no space left on the disk" in str(write_error(Path("x"), caught.value))


@pytest.mark.parametrize("samples", [0, -1, 1 << 40])
def test_a_row_of_impossible_length_is_named(tmp_path: Path, samples: int) -> None:
    path = write_manifest([Utterance("a", "/a.wav", samples=samples)], tmp_path / "m.parquet")
    with pytest.raises(UserError, match=rf"m\.parquet: a row has an impossible length, {samples} samples"):
        Manifest.open(path)


@pytest.mark.parametrize("start", [-1, 1 << 40])
def test_a_row_with_an_impossible_start_is_named(tmp_path: Path, start: int) -> None:
    path = write_manifest([Utterance("a", "/a.wav", samples=16, start=start)], tmp_path / "m.parquet")
    with pytest.raises(UserError, match=rf"m\.parquet: a row has an impossible start, sample {start}"):
        Manifest.open(path)


def pieces(*sizes: int) -> Manifest:
    """Rows u0, u1, ... in record batches of these sizes."""
    every, ends = rows(sum(sizes)), np.cumsum(sizes)
    return Manifest([record_batch(every[end - size : end]) for size, end in zip(sizes, ends, strict=True)])


@pytest.mark.parametrize("sizes", [(5, 1, 4), (0, 3, 0, 7), (10,), ()])
def test_rows_are_found_across_record_batches(sizes: tuple[int, ...]) -> None:
    manifest, expected = pieces(*sizes), rows(sum(sizes))
    assert [manifest.utterance(index) for index in range(len(expected))] == expected
    assert [manifest.utterance(-1 - index) for index in range(len(expected))] == expected[::-1]
    assert manifest.samples.tolist() == [row.samples for row in expected]
    assert manifest.ids == [row.id for row in expected]
    for outside in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError, match=f"row {outside} of a manifest of {len(expected)}"):
            manifest.utterance(outside)


def test_a_selection_of_a_selection_keeps_its_order_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_PER_GROUP", 3)
    chosen = pieces(4, 3, 3).select([9, 0, 5, 5, 2, 7, 1]).select(np.array([6, 0, 2, 3, 5]))
    expected = [rows(10)[index] for index in (1, 9, 5, 5, 7)]
    assert list(chosen) == expected
    assert chosen.samples.tolist() == [row.samples for row in expected]
    assert chosen.column("text").to_pylist() == [row.text for row in expected]
    batches = list(chosen.batches())
    assert [batch.num_rows for batch in batches] == [3, 2]
    assert [name for batch in batches for name in batch.column("id").to_pylist()] == [row.id for row in expected]
    assert [batch.num_rows for batch in pieces(4, 3, 3).batches()] == [4, 3, 3]


def test_several_splits_and_lists_of_ids() -> None:
    manifest = pieces(7, 8)
    assert manifest.with_split("test + train").ids == [row.id for row in rows(15) if row.split != "dev"]
    assert manifest.with_split("dev").with_ids({"u13", "u1"}).ids == ["u1", "u13"]
    with pytest.raises(UserError, match=r"lacks 2 of the 3 ids asked for, such as 'u2'"):
        manifest.with_split("dev").with_ids({"u4", "u3", "u2"})
    with pytest.raises(UserError, match="no split 'valid'"):
        manifest.with_split("dev+valid")
    twice = Manifest([record_batch([*rows(2), rows(1)[0]])])
    assert twice.with_ids({"u0", "u1"}).ids == ["u0", "u1", "u0"]


def test_rows_are_written_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    from wav2vec2.data import utterance

    monkeypatch.setattr(utterance, "ROWS_PER_GROUP", 4)
    for count, groups in ((8, [4, 4]), (9, [4, 4, 1]), (3, [3])):
        path = write_manifest(iter(rows(count)), tmp_path / "m.parquet")
        assert list(Manifest.open(path)) == rows(count)
        layout = pq.ParquetFile(path).metadata
        assert [layout.row_group(number).num_rows for number in range(layout.num_row_groups)] == groups


def test_paths_of_several_folders_and_parts_in_order(tmp_path: Path) -> None:
    for part in (2, 1):
        rows_of = [Utterance(f"{part}{n}", f"sub/{n}.wav", samples=9) for n in range(2)]
        write_manifest(rows_of, tmp_path / "out" / f"manifest-{part:03d}-of-002.parquet")
    manifest = Manifest.open(tmp_path / "out")
    assert manifest.ids == ["10", "11", "20", "21"]
    assert {row.path for row in manifest} == {f"{tmp_path}/out/sub/{n}.wav" for n in range(2)}
    for drive in ("C:/a.wav", "http://host/a.wav"):
        write_manifest([Utterance("a", drive, samples=9)], tmp_path / "m.parquet")
        assert Manifest.open(tmp_path / "m.parquet").utterance(0).path == drive
    write_manifest(rows(1), tmp_path / "out" / "manifest-001-of-003.parquet")
    with pytest.raises(UserError, match="different runs"):
        Manifest.open(tmp_path / "out")


def test_the_longest_and_shortest_rows_are_accepted(tmp_path: Path) -> None:
    limits = [Utterance("a", "/a", samples=1), Utterance("b", "/b", start=1 << 36, samples=1 << 36)]
    assert list(Manifest.open(write_manifest(limits, tmp_path / "m.parquet"))) == limits
    for wrong in (Utterance("c", "/c", samples=(1 << 36) + 1), Utterance("c", "/c", start=(1 << 36) + 1, samples=1)):
        with pytest.raises(UserError, match="a row has an impossible"):
            Manifest.open(write_manifest([*limits, wrong], tmp_path / "m.parquet"))


def test_a_file_that_lacks_a_column_or_a_value_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = pa.Table.from_batches([record_batch(rows(3))])
    pq.write_table(whole.drop_columns(["speaker"]), tmp_path / "m.parquet")
    with pytest.raises(UserError, match=r"m\.parquet: lacks the column 'speaker'"):
        Manifest.open(tmp_path / "m.parquet")
    holes = pa.array(["x", None, "y"])
    loose = pa.table({name: holes if name == "split" else whole.column(name) for name in whole.column_names})
    pq.write_table(loose, tmp_path / "m.parquet")
    with pytest.raises(UserError, match=r"a row has no value in column 'split'"):
        Manifest.open(tmp_path / "m.parquet")
    with pa.OSFile(str(tmp_path / "m.arrow"), "wb") as sink, pa.ipc.new_file(sink, whole.schema) as writer:
        writer.write_table(whole)
    assert list(Manifest.open(tmp_path / "m.arrow")) == rows(3)
    (tmp_path / "bad.arrow").write_bytes(b"no")
    with pytest.raises(UserError, match=r"bad\.arrow: is not an Arrow manifest"):
        Manifest.open(tmp_path / "bad.arrow")


def test_only_large_manifests_go_to_the_cache_and_a_changed_file_goes_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_cache, "ROWS_IN_MEMORY", 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_manifest(rows(10), tmp_path / "m.parquet")
    assert len(Manifest.open(path)) == 10
    assert not (tmp_path / "cache").exists()
    write_manifest(rows(11), path)
    assert list(Manifest.open(path)) == list(Manifest.open(path)) == rows(11)
    assert len(list((tmp_path / "cache").rglob("*.arrow"))) == 1
    os.utime(path, (1, 1))
    assert list(Manifest.open(path)) == rows(11)
    assert len(list((tmp_path / "cache").rglob("*.arrow"))) == 2
