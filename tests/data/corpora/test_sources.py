import json
import zipfile
from pathlib import Path

import pytest
from tests.data.made_up_speech import voice, write

from wav2vec2.audio.recordings import AUDIO_SUFFIXES, audio_files
from wav2vec2.data.corpora.fairseq import scan_fairseq
from wav2vec2.data.corpora.folder import scan_folder
from wav2vec2.data.corpora.table import scan_table
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.command import PrepareFairseq, PrepareTable, run
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError


def test_speakers_of_a_folder(tmp_path: Path) -> None:
    for name in ("anna/x/1.wav", "ben/2.OPUS", "carl_3.mp3", "notes.txt", ".hidden/4.wav", "._5.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [item for item in scan_folder(tmp_path) if isinstance(item, Utterance)]
    assert [(item.id, item.speaker) for item in found] == [("carl_3", ""), ("anna/x/1", "anna"), ("ben/2", "ben")]
    by_prefix = {
        item.id: item.speaker for item in scan_folder(tmp_path, speaker="prefix") if isinstance(item, Utterance)
    }
    assert by_prefix["carl_3"] == "carl"
    assert {item.speaker for item in scan_folder(tmp_path, speaker="none") if isinstance(item, Utterance)} == {""}


def test_prepare_and_transcribe_find_the_same_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, suffix in enumerate(sorted(AUDIO_SUFFIXES)):
        (tmp_path / "a" / f"{number % 3}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / f"{number % 3}" / f"{number}{suffix.upper() if number % 2 else suffix}").touch()
    for name in ("b.wav", "a/._b.wav", "a/.hidden/c.wav", "notes.txt", "a/wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    prepared = [item.path for item in scan_folder(tmp_path) if isinstance(item, Utterance)]
    transcribed = [str(path) for path in audio_files([tmp_path])]
    assert sorted(prepared) == sorted(transcribed)
    assert len(prepared) == len(set(prepared)) == len(AUDIO_SUFFIXES) + 1
    assert transcribed == sorted(transcribed, key=Path)
    assert {"m4b", "rf64", "snd", "aifc", "mov", "3gp", "ac3"} <= {path.rsplit(".")[-1].lower() for path in transcribed}
    monkeypatch.chdir(tmp_path.parent)
    assert Path(tmp_path.name, "b.wav") in audio_files([Path(tmp_path.name)])


def test_a_table_in_each_of_its_spellings(tmp_path: Path) -> None:
    header = ["path", "text", "speaker", "split"]
    row = ["a/1.wav", 'say "one", two', "s1", "dev"]
    (tmp_path / "t.tsv").write_text("\t".join(header) + "\n" + "\t".join(row) + "\n")
    (tmp_path / "t.csv").write_text('\ufeffPath,Text,Speaker,Split\r\na/1.wav,"say ""one"", two",s1,dev\r\n')
    named = dict(zip(["audio_filepath", *header[1:]], row, strict=True))
    (tmp_path / "t.jsonl").write_text(json.dumps(named) + "\n\n")
    expected = Utterance(
        "a/1", str(tmp_path / "a/1.wav"), text=row[1], speaker="s1", split="dev", language="en", source="t"
    )
    for name in ("t.tsv", "t.csv", "t.jsonl"):
        assert list(scan_table(tmp_path / name, language="en")) == [expected]


def test_pieces_named_by_a_table(tmp_path: Path) -> None:
    write(tmp_path / "long.wav", voice(3.0))
    (tmp_path / "t.csv").write_text(
        "path,start,end,text\nlong.wav,0.5,1.25,ONE\nlong.wav,2,9,TWO\nlong.wav,2,1,THREE\nlong.wav,x,,FOUR\n,,,\n"
    )
    manifest = Manifest.open(run(PrepareTable(tables=(tmp_path / "t.csv",), out=tmp_path / "out", workers=1)))
    assert [(row.id, row.start, row.samples, row.text) for row in manifest] == [
        ("long-8000-20000", 8_000, 12_000, "ONE")
    ]
    items = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert sorted(item["reason"] for item in items) == ["bad table row"] * 3 + ["cut short"]
    assert any("line 5: start 'x' is not a number" in item["message"] for item in items)


def test_a_table_without_path_or_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("title,text\na,b\n")
    (tmp_path / "t.jsonl").write_text("[1]\n")
    for name, message in (("t.csv", "no column 'path'"), ("t.jsonl", "line 1"), ("none.csv", "cannot be read")):
        with pytest.raises(UserError, match=message):
            list(scan_table(tmp_path / name))


def test_fairseq_lists_with_words_letters_and_archive_slices(tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    for number in range(3):
        write(audio / f"7-1-{number}.flac", voice(0.3, seed=number))
    with zipfile.ZipFile(audio / "a.zip", "w") as archive:
        archive.write(audio / "7-1-2.flac", "7-1-2.flac")
        size = (audio / "7-1-2.flac").stat().st_size
    offset = (audio / "a.zip").read_bytes().index(b"fLaC")
    (tmp_path / "train.tsv").write_text(f"{audio}\n7-1-0.flac\t4800\n7-1-1.flac\t4800\n")
    (tmp_path / "train.ltr").write_text("H E L L O | Y O U |\nA |\n")
    (tmp_path / "valid.tsv").write_text(f"audio\na.zip:{offset}:{size}\t4800\na.zip:9\t1\nnothing\n")
    manifest = Manifest.open(run(PrepareFairseq(manifests=(tmp_path,), out=tmp_path / "out", workers=1)))
    assert [(row.id, row.text, row.split, row.speaker) for row in manifest] == [
        ("7-1-0", "HELLO YOU", "train", "7"),
        ("7-1-1", "A", "train", "7"),
        (f"a-{offset}", None, "valid", ""),
    ]
    assert (manifest.utterance(2).offset, manifest.utterance(2).size, manifest.utterance(2).samples) == (
        offset,
        size,
        4_800,
    )
    messages = [json.loads(line)["message"] for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert "valid.tsv, line 3: 'a.zip:9' is not path:offset:length in bytes" in messages[0]
    assert "valid.tsv, line 4: is not 'path<TAB>samples'" in messages[1]
    (tmp_path / "train.wrd").write_text("HELLO YOU\nB\n")
    assert [item.text for item in scan_fairseq([tmp_path / "train.tsv"]) if not isinstance(item, Rejection)][1] == "B"


@pytest.mark.parametrize(("words", "message"), [("A\n", "only 1 lines"), ("A\nB\nC\n", "more lines")])
def test_fairseq_transcripts_of_another_length(tmp_path: Path, words: str, message: str) -> None:
    (tmp_path / "train.tsv").write_text("/x\na.wav\t1\nb.wav\t1\n")
    (tmp_path / "train.wrd").write_text(words)
    with pytest.raises(UserError, match=message):
        list(scan_fairseq([tmp_path / "train.tsv"]))


def test_what_is_no_fairseq_list(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("path\ttext\n")
    for path in (tmp_path / "a.tsv", tmp_path / "none.tsv", tmp_path / "b"):
        (tmp_path / "b").mkdir(exist_ok=True)
        with pytest.raises(UserError):
            list(scan_fairseq([path]))
