"""What a user's recordings and transcripts are."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2vec2.adapt.sources import find_sources, is_list_of_ids
from wav2vec2.errors import UserError
from wav2vec2.pipeline.stage import File


def audio(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(8000), 16_000)
    return path


def words(found) -> list[str]:
    return [str(word.path if isinstance(word, File) else word) for word in found]


def test_a_folder_and_a_table_with_paths_from_either_place(tmp_path):
    audio(tmp_path / "rec/a/1.wav")
    table = tmp_path / "table.csv"
    table.write_text("path,text\na/1.wav,hello\n")
    found = find_sources(str(tmp_path / "rec"), table)
    assert words(found.recordings)[:3] == ["prepare", "folder", str(tmp_path / "rec")]
    assert words(found.table)[-2:] == ["--audio-root", str(tmp_path / "rec")]
    table.write_text("path,text\nrec/a/1.wav,hello\n")
    assert "--audio-root" not in words(find_sources(str(tmp_path / "rec"), table).table)
    inside = tmp_path / "rec/transcripts.tsv"
    inside.write_text("path\ttext\na\\1.wav\thello\n")  # a table written on Windows
    assert "--audio-root" not in words(find_sources(str(tmp_path / "rec"), inside).table)


def release(root: Path) -> Path:
    for name, clip in (("train", "c1"), ("dev", "c2"), ("test", "c3"), ("mine", "c1")):
        audio(root / f"fr/clips/{clip}.wav")
        (root / f"fr/{name}.tsv").write_text(f"client_id\tpath\tsentence\tlocale\ns{clip}\t{clip}.mp3\tBonjour.\tfr\n")
    return root


def test_a_release_of_common_voice_with_a_list_of_ids_or_a_table_of_its_own(tmp_path):
    root = release(tmp_path / "cv")
    ids = tmp_path / "ids.txt"
    ids.write_text("c1\n")
    found = find_sources(str(root), ids)
    assert words(found.recordings)[1:5] == ["commonvoice", str(root), "--tables", "train,dev,test"]
    assert found.ids == ids
    assert found.table == ()
    assert find_sources(str(root), root / "fr/train.tsv").ids is None
    own = find_sources(str(root / "fr"), root / "fr/mine.tsv")
    assert words(own.recordings)[4] == "train,dev,test,mine"
    assert own.ids == root / "fr/mine.tsv"
    outside = tmp_path / "outside.csv"
    outside.write_text("path,text\nfr/clips/c1.wav,bonjour\n")
    assert words(find_sources(str(root), outside).recordings)[1] == "folder"


def test_a_manifest_and_a_corpus_that_brings_its_transcripts(tmp_path):
    found = find_sources(str(tmp_path / "m.parquet"), None)
    assert found.manifest == str(tmp_path / "m.parquet")
    audio(tmp_path / "pairs/a.wav")
    (tmp_path / "pairs/a.txt").write_text("hello")
    assert words(find_sources(str(tmp_path / "pairs"), None).recordings)[:2] == ["prepare", "auto"]
    ids = tmp_path / "ids.txt"
    ids.write_text("a\n")
    audio(tmp_path / "bare/a.wav")
    with pytest.raises(UserError, match="is a list of ids, but"):
        find_sources(str(tmp_path / "bare"), ids)


def test_lists_and_tables_are_told_apart(tmp_path):
    file = tmp_path / "x.txt"
    for content, is_list in (
        ("a\nb\n", True),
        ("\ufeffa\r\n", True),
        ("a\tb\n", False),
        ("path,text\n", False),
        ("", False),
    ):
        file.write_text(content, encoding="utf-8")
        assert is_list_of_ids(file) == is_list, content
