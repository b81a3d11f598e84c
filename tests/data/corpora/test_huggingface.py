"""Facts: Hugging Face's pages "Create an audio dataset" and "Audio Dataset" (metadata.csv, .jsonl or .parquet with
file_name or *_file_name, a folder per split) and the Parquet files that push_to_hub writes: a struct of bytes and path
named audio, data/train-00000-of-00005.parquet; the converter's default/train/0000.parquet; omnilingual's lists of int8.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.corpora.test_pairs import layout
from tests.data.made_up_speech import voice, write

from wav2vec2.data.corpora import huggingface
from wav2vec2.data.corpora.huggingface import scan_audio_folder, split_of
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.layouts import PrepareHuggingFace, run
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.errors import UserError

AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encoded(folder: Path, seed: int, suffix: str = "flac", seconds: float = 0.3) -> bytes:
    return write(folder / f"source-{seed}.{suffix}", voice(seconds, seed=seed)).read_bytes()


def parquet(path: Path, columns: dict[str, list[Any]], kind: pa.DataType = AUDIO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: pa.array(values, type=kind if name == "audio" else None) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), path)
    return path


def test_parquet_files_with_audio_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = [encoded(tmp_path / "x", seed) for seed in range(4)]
    data = tmp_path / "corpus" / "data"
    for part, (first, second) in (("train-00000-of-00002", (0, 1)), ("train-00001-of-00002", (2, 3))):
        cells = [{"bytes": sound[first], "path": "audio.flac"}, {"bytes": sound[second], "path": "audio.flac"}]
        texts = {"sentence": [f"text {first}", f"text {second}"], "speaker_id": [0, 7]}
        parquet(data / f"{part}.parquet", {"audio": cells, **texts})
    cells = [{"bytes": None, "path": None}, {"bytes": sound[0], "path": None}]
    parquet(data / "validation-00000-of-00001.parquet", {"audio": cells, "sentence": ["lost", "there"]})
    options = PrepareHuggingFace(root=tmp_path / "corpus", out=tmp_path / "out", workers=1)
    manifest = Manifest.open(run(options))
    assert [(row.split, row.text, row.speaker) for row in manifest] == [
        ("train", "text 0", "0"), ("train", "text 1", "7"), ("train", "text 2", "0"), ("train", "text 3", "7"),
        ("valid", "there", ""),
    ]  # fmt: skip
    assert len(set(manifest.ids)) == 5
    assert all(len(read_utterance(row)) == 4_800 for row in manifest)
    assert "has no audio in the Parquet file" in (tmp_path / "out" / "rejected.jsonl").read_text()
    archives = sorted((tmp_path / "out" / "audio").glob("*.tar"))
    assert archives[0].name == "data-train-00000-of-00002.tar"
    assert archives[0].read_bytes().find(sound[0]) > 0

    # Once unpacked, nothing is read again, and one file that has changed is the only one unpacked anew.
    copied: list[Path] = []
    real = huggingface._copied
    monkeypatch.setattr(huggingface, "_copied", lambda file, *rest: copied.append(file) or real(file, *rest))
    assert list(Manifest.open(run(options))) == list(manifest)
    assert copied == []
    archives[1].unlink()
    assert list(Manifest.open(run(options))) == list(manifest)
    assert [path.name for path in copied] == ["train-00001-of-00002.parquet"]
    assert not list((tmp_path / "out" / "audio").glob(".*"))


def test_columns_of_audio(tmp_path: Path) -> None:
    sound = encoded(tmp_path / "x", 1)
    plain = parquet(
        tmp_path / "a" / "default" / "test" / "0000.parquet", {"audio": [sound], "text": ["t"]}, pa.binary()
    )
    numbers = [byte - 256 if byte > 127 else byte for byte in sound]
    integers = {"audio": [numbers], "transcription": ["t"]}
    listed = parquet(tmp_path / "b" / "train.parquet", integers, pa.list_(pa.int8()))
    for root, split in ((plain, "test"), (tmp_path / "a", "test"), (listed, "train")):
        options = PrepareHuggingFace(root=root, out=tmp_path / "out", workers=1)
        (row,) = Manifest.open(run(options))
        assert (row.text, len(read_utterance(row))) == ("t", 4_800)
        assert root == plain or row.split == split
    cells = [{"bytes": sound, "path": "a.flac"}]
    two = pa.table({"clean": pa.array(cells, AUDIO), "noisy": pa.array(cells, AUDIO), "text": ["t"]})
    (tmp_path / "c").mkdir()
    pq.write_table(two, tmp_path / "c" / "train.parquet")
    options = PrepareHuggingFace(root=tmp_path / "c", out=tmp_path / "out", workers=1)
    with pytest.raises(UserError, match="several columns of audio, 'clean', 'noisy': choose one by --audio-column"):
        run(options)


def test_no_transcripts_in_parquet_is_an_error_that_names_the_columns(tmp_path: Path) -> None:
    cells = [{"bytes": encoded(tmp_path / "x", 1), "path": None}]
    parquet(tmp_path / "c" / "train.parquet", {"audio": cells, "caption": ["a few words there"], "n": [3]})
    options = PrepareHuggingFace(root=tmp_path / "c", out=tmp_path / "out", workers=1)
    with pytest.raises(UserError, match="columns may hold one: 'caption'"):
        run(options)
    assert [row.text for row in Manifest.open(run(replace(options, text_column="caption")))] == ["a few words there"]
    assert [row.text for row in Manifest.open(run(replace(options, text_column="none")))] == [None]
    with pytest.raises(UserError, match="has no column of audio"):
        run(replace(options, audio_column="nonsense"))
    (tmp_path / "c" / "train.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        run(options)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("column", ["file_name", "audio_file_name"])
def test_audio_folders(tmp_path: Path, suffix: str, column: str) -> None:
    for split in ("train", "validation"):
        layout(tmp_path / split, {"audio/1.wav": "", "2.flac": "", "3.mp3": ""})
        rows = [("audio/1.wav", f'{split} "one"', "ann"), ("2.flac", "two, too", "ben")]
        if suffix == "csv":
            lines = "".join(f'{name},"{text.replace(chr(34), chr(34) * 2)}",{who}\n' for name, text, who in rows)
            layout(tmp_path / split, {"metadata.csv": f"{column},transcription,speaker_id\n{lines}"})
        elif suffix == "jsonl":
            line = '{{"{}": "{}", "transcription": {}, "speaker_id": "{}"}}\n'
            text = "".join(line.format(column, n, '"' + t.replace('"', '\\"') + '"', who) for n, t, who in rows)
            layout(tmp_path / split, {"metadata.jsonl": text})
        else:
            names, texts, who = (list(cells) for cells in zip(*rows, strict=True))
            table = pa.table({column: names, "transcription": texts, "speaker_id": who})
            pq.write_table(table, tmp_path / split / "metadata.parquet")
    found = list(scan_audio_folder(tmp_path))
    assert [(r.id, r.text, r.speaker, r.split) for r in found if isinstance(r, Utterance)] == [
        (f"{split}/{name}", text, who, short)
        for split, short in (("train", "train"), ("validation", "valid"))
        for name, text, who in (("audio/1", f'{split} "one"', "ann"), ("2", "two, too", "ben"))
    ]
    assert [item.id for item in found if isinstance(item, Rejection)] == ["train/3.mp3", "validation/3.mp3"]


def test_one_metadata_file_for_several_splits(tmp_path: Path) -> None:
    layout(tmp_path, {"data/train/1.wav": "", "data/test/1.wav": ""})
    layout(tmp_path, {"metadata.csv": "file_name,text\ndata/train/1.wav,one\ndata/test/1.wav,other\n"})
    found = [item for item in scan_audio_folder(tmp_path) if isinstance(item, Utterance)]
    assert [(row.id, row.split) for row in found] == [("data/train/1", "train"), ("data/test/1", "test")]
    with pytest.raises(UserError, match=r"holds none of metadata.csv"):
        list(scan_audio_folder(tmp_path / "data"))


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-00000-of-00005.parquet", "train"),
        ("data/validation-00000-of-00001-0a1b2c.parquet", "valid"),
        ("clean/train.100-00000-of-00014.parquet", "train"),
        ("default/test/0000.parquet", "test"),
        ("default/partial-train/0000.parquet", "train"),
        ("dev.parquet", "valid"),
        ("corpus=x/split=train/language=pl_Latn/part-0.parquet", "train"),
        ("constest/0000.parquet", ""),
    ],
)
def test_splits_of_names(path: str, split: str) -> None:
    assert split_of(Path(path)) == split
