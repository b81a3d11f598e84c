"""Tables as other people's tools write them: their columns, separators, encodings and quotation marks.

Facts: pandas' to_csv (QUOTE_MINIMAL by default), Excel's "Unicode text" (UTF-16) and its `sep=;`, Common Voice's own
tables (nothing quoted), DeepSpeech's and Coqui STT's importers (wav_filename, wav_filesize, transcript), SpeechBrain's
recipes (csv ID, duration, wav, spk_id, wrd; json by id; start and stop in samples), fairseq's S2T tables (id, audio,
n_frames, tgt_text, speaker), VoxPopuli's and FLEURS' columns on the hub.
"""

import csv
import gzip
import json
import re
from pathlib import Path

import pytest
from tests.data.made_up_speech import voice, write

from wav2vec2.cli import main
from wav2vec2.data.corpora.fairseq import scan_fairseq
from wav2vec2.data.corpora.table import TableOptions, scan_table
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.command import PrepareFolder, PrepareTable, run
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError


def rows(table: Path, **options: str) -> list[Utterance]:
    found = list(scan_table(table, options=TableOptions(**options)))  # type: ignore[arg-type]
    assert all(isinstance(item, Utterance) for item in found), found
    return [item for item in found if isinstance(item, Utterance)]


def saved(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("path,transcription", "transcription"),
        ("path,sentence", "sentence"),
        ("file_name,raw_text,normalized_text", "normalized_text"),
        ("audio_path,transcription,raw_transcription", "transcription"),
        ("id,audio,n_frames,tgt_text,speaker", "tgt_text"),
        ("id,audio,n_frames,tgt_text,speaker,src_text", "src_text"),
        ("wav_filename,wav_filesize,transcript", "transcript"),
        ("ID,duration,wav,spk_id,wrd", "wrd"),
        ("FileID,Speaker,Transcription,AudioPath", "Transcription"),
        ("audio_file|text|speaker_name|emotion_name", "text"),
    ],
)
def test_the_column_of_transcripts_by_its_usual_names(tmp_path: Path, header: str, taken: str) -> None:
    mark = "|" if "|" in header else ","
    names = header.split(mark)
    paths = ("path", "file_name", "audio", "audio_path", "wav_filename", "wav", "AudioPath", "audio_file")
    cells = ["a.wav" if name in paths else "3" if name == "duration" else f"the {name}" for name in names]
    (row,) = rows(saved(tmp_path / "t.csv", f"{header}\n{mark.join(cells)}\n"))
    assert (row.path, row.text) == (str(tmp_path / "a.wav"), f"the {taken}")


def test_text_that_no_known_column_holds_is_an_error_that_names_the_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = saved(tmp_path / "t.csv", "path,utterance_label,votes\na.wav,hello there,2\n")
    with pytest.raises(UserError, match="'utterance_label': name the right one by --text-column, or leave them out"):
        rows(table)
    assert rows(table, text="utterance_label")[0].text == "hello there"
    assert rows(table, text="none")[0].text is None
    table = saved(tmp_path / "u.csv", "path,was gesagt wird\na.wav,das ist ein ganzer Satz\n")
    with pytest.raises(UserError, match="'was gesagt wird'"):
        rows(table)
    assert rows(saved(tmp_path / "v.csv", "path,votes,accent\na.wav,2,Scottish\n"))[0].text is None
    assert rows(saved(tmp_path / "x.csv", "path,label,transcript_id\na.wav,3,77\n"))[0].text is None
    with pytest.raises(UserError, match=r"has no column 'nonsense': choose among 'path', 'votes', 'accent'"):
        rows(tmp_path / "v.csv", text="nonsense")
    empty = saved(tmp_path / "w.csv", "path,text,prompt\na.wav,,what did you say\n")
    with pytest.raises(UserError, match="columns may hold one: 'text', 'prompt'"):
        rows(empty)
    assert main(["prepare", "table", str(table), "--out", str(tmp_path / "out")]) == 2
    assert "--text-column" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("quoting", "quoted"), [(csv.QUOTE_MINIMAL, 2), (csv.QUOTE_ALL, 8), (csv.QUOTE_NONNUMERIC, 8), (csv.QUOTE_NONE, 0)]
)
def test_quotation_marks_of_a_tsv_go_only_if_a_csv_writer_put_them(tmp_path: Path, quoting: int, quoted: int) -> None:
    texts = ['Sie sagte "ja"', '"Nein", sagte er', "ohne", '"Alles in Marken."']
    with (tmp_path / "t.tsv").open("w", newline="") as file:
        if quoting == csv.QUOTE_NONE:
            file.write("\n".join(["path\tsentence", *(f"{n}.wav\t{text}" for n, text in enumerate(texts))]) + "\n")
        else:
            writer = csv.writer(file, delimiter="\t", quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
            writer.writerows([["path", "sentence"], *([f"{n}.wav", text] for n, text in enumerate(texts))])
    assert [row.text for row in rows(tmp_path / "t.tsv")] == texts
    assert sum(cell.startswith('"') for cell in (tmp_path / "t.tsv").read_text().split()) >= quoted


def test_one_stray_mark_does_not_swallow_the_rows_after_it(tmp_path: Path) -> None:
    table = saved(
        tmp_path / "t.csv", 'path,text\na.wav,"never closed\nb.wav,"two ""marks"""\nc.wav,"over\ntwo lines"\n'
    )
    assert [row.text for row in rows(table)] == ["never closed", 'two "marks"', "over\ntwo lines"]
    table = saved(tmp_path / "t.tsv", 'path\ttext\na.wav\t"offen\nb.wav\t"""zu"""\nc.wav\t"""auch"" zu"\n')
    assert [row.text for row in rows(table)] == ["offen", '"zu"', '"auch" zu']


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", [";", "\t", ","])
def test_encodings_separators_and_line_ends(tmp_path: Path, encoding: str, mark: str) -> None:
    text = f"path{mark}text\na.wav{mark}größer 大\n"
    for end in ("\n", "\r\n", "\r"):
        table = saved(tmp_path / "t.txt", text.replace("\n", end), encoding)
        assert [row.text for row in rows(table)] == ["größer 大"]
    assert rows(saved(tmp_path / "t.csv", "sep=;\npath;text\na.wav;x, y\n", encoding))[0].text == "x, y"


def test_a_row_with_an_unquoted_comma_is_rejected_not_cut(tmp_path: Path) -> None:
    found = list(scan_table(saved(tmp_path / "t.csv", "path,text\na.wav,well, yes\nb.wav,good,\n")))
    assert isinstance(found[0], Rejection)
    assert "line 2: has 3 columns instead of 2: enclose a text with a separator in quotation marks" in found[0].message
    assert isinstance(found[1], Utterance)


def test_tables_of_speechbrain(tmp_path: Path) -> None:
    write(tmp_path / "corpus" / "a.wav", voice(2.0, rate=8_000), 8_000)
    entry = {"wav": "{data_root}/a.wav", "length": 2.0, "words": "HELLO", "spk_id": "7"}
    piece = {"wav": {"file": "{data_root}/a.wav", "start": 4_000, "stop": 12_000}, "words": "LO"}
    table = saved(tmp_path / "train.json", json.dumps({"utt1": entry, "utt2": piece}, indent=2))
    for text in (table.read_text(), json.dumps({"utt1": entry, "utt2": piece})):
        found = list(scan_table(saved(table, text), options=TableOptions(root=tmp_path / "corpus")))
        assert [(row.id, row.start, row.samples, row.text, row.speaker) for row in found] == [  # type: ignore[union-attr]
            ("utt1", 0, -1, "HELLO", "7"), ("utt2", 8_000, 16_000, "LO", ""),
        ]  # fmt: skip
    table = saved(tmp_path / "t.csv", "ID, duration, wav, start, stop, wrd\nu, 2, corpus/a.wav, 4000, 12000, LO\n")
    assert [(row.start, row.samples, row.text) for row in rows(table)] == [(8_000, 16_000, " LO")]


def test_several_tables_are_splits_and_clips_converted_since_are_found(tmp_path: Path) -> None:
    for name in ("train", "dev"):
        write(tmp_path / "wav" / f"{name}.wav", voice(0.3))
        saved(tmp_path / f"{name}.csv", f"wav_filename,wav_filesize,transcript\nwav/{name}.mp3,9,{name} text\n")
    tables = (tmp_path / "train.csv", tmp_path / "dev.csv")
    manifest = Manifest.open(run(PrepareTable(tables=tables, out=tmp_path / "out", workers=1)))
    assert [(row.split, row.text, Path(row.path).name) for row in manifest] == [
        ("train", "train text", "train.wav"),
        ("dev", "dev text", "dev.wav"),
    ]


def test_tables_in_several_folders_keep_their_rows_apart(tmp_path: Path) -> None:
    for part in ("a", "b"):
        write(tmp_path / part / "1.wav", voice(0.3))
        saved(tmp_path / part / "train.csv", "path,text\n1.wav,x\n")
    tables = (tmp_path / "a" / "train.csv", tmp_path / "b" / "train.csv")
    manifest = Manifest.open(run(PrepareTable(tables=tables, out=tmp_path / "out", workers=1)))
    assert manifest.ids == ["a/1", "b/1"]


def test_paths_of_windows_and_transcripts_as_lists_of_words(tmp_path: Path) -> None:
    write(tmp_path / "wavs" / "a.wav", voice(0.3))
    assert rows(saved(tmp_path / "t.csv", "path,text\nwavs\\a.wav,x\n"))[0].path == str(tmp_path / "wavs" / "a.wav")
    for words in (["good", "day"], [{"word": "good", "start": 0}, {"word": "day", "start": 1}]):
        table = saved(tmp_path / "t.jsonl", json.dumps({"path": "a.wav", "words": words}))
        assert rows(table)[0].text == "good day"
    (item,) = scan_table(saved(tmp_path / "t.jsonl", json.dumps({"path": "a.wav", "text": {"a": 1}})))
    assert isinstance(item, Rejection)
    assert "is no transcript" in item.message


def test_a_piece_may_end_a_little_after_its_recording(tmp_path: Path) -> None:
    """As Kaldi's extract-segments, which allows half a second, and as the last cue of most subtitles."""
    write(tmp_path / "a.wav", voice(2.0))
    saved(tmp_path / "t.csv", "path,start,end,text\na.wav,1,2.4,x\na.wav,1,2.6,y\na.wav,2.1,2.4,z\n")
    options = PrepareTable(tables=(tmp_path / "t.csv",), out=tmp_path / "out", workers=1)
    assert [(row.text, row.start, row.samples) for row in Manifest.open(run(options))] == [("x", 16_000, 16_000)]


def test_slices_of_archives_and_packed_tables(tmp_path: Path) -> None:
    table = tmp_path / "asr.tsv.gz"
    table.write_bytes(gzip.compress(b"id\taudio\tn_frames\ttgt_text\nu\tfbank.zip:12:34\t5\thello\n"))
    (row,) = rows(table)
    assert (row.id, row.path, row.offset, row.size, row.text) == ("u", str(tmp_path / "fbank.zip"), 12, 34, "hello")


def test_json_lines_with_a_broken_line_go_on(tmp_path: Path) -> None:
    good = json.dumps({"audio_filepath": "a.wav", "text": "x", "offset": 1, "duration": 2})
    found = list(scan_table(saved(tmp_path / "t.json", f"{good}\n{{\n[1]\n{good}\n")))
    assert [type(item).__name__ for item in found] == ["Utterance", "Rejection", "Rejection", "Utterance"]
    assert isinstance(found[0], Utterance)
    assert (found[0].start, found[0].samples) == (16_000, 32_000)
    by_column = json.dumps({"path": {"0": "a.wav"}, "text": {"0": "x"}})  # pandas' to_json
    for text in (
        by_column,
        json.dumps([{"path": "a.wav", "text": "x"}]),
        json.dumps({"data": [{"path": "a.wav", "text": "x"}]}),
    ):
        assert rows(saved(tmp_path / "u.json", text))[0].text == "x"
    with pytest.raises(UserError, match="wav2vec2 prepare lhotse"):
        rows(saved(tmp_path / "v.jsonl", json.dumps({"id": "1", "recording_id": "1", "supervisions": []})))


def test_a_wav_beside_an_mp3_of_the_same_name_has_an_id_of_its_own(tmp_path: Path) -> None:
    for name in ("a.mp3", "a.wav", "b.wav"):
        write(tmp_path / "speech" / name, voice(0.3), 16_000)
    manifest = Manifest.open(run(PrepareFolder(root=tmp_path / "speech", out=tmp_path / "out", workers=1)))
    assert [(row.id, Path(row.path).name) for row in manifest] == [
        ("a", "a.mp3"),
        ("a.wav", "a.wav"),
        ("b", "b.wav"),
    ]
    assert (tmp_path / "out" / "rejected.jsonl").read_text() == ""


def test_phones_beside_a_fairseq_manifest(tmp_path: Path) -> None:
    saved(tmp_path / "train.tsv", "/x\na.wav\t1\n")
    saved(tmp_path / "train.phn", "h# sh iy h#\n")
    (row,) = scan_fairseq([tmp_path / "train.tsv"])
    assert isinstance(row, Utterance)
    assert row.text == "h# sh iy h#"
    saved(tmp_path / "train.wrd", "she\n")
    texts = [item.text for kind in ("auto", "phn") for item in scan_fairseq([tmp_path], labels=kind)]  # type: ignore
    assert texts == ["she", "h# sh iy h#"]
    with pytest.raises(UserError, match=r"has no train.ltr beside it"):
        list(scan_fairseq([tmp_path], labels="ltr"))


def test_a_table_that_is_not_utf8_stops_before_anything_is_written(tmp_path: Path) -> None:
    lines = [f"{n}.wav,caf\u00e9 {n}" if n % 4 else f"{n}.wav,plain {n}" for n in range(48)]
    table = saved(tmp_path / "t.csv", "path,text\n" + "\n".join(lines) + "\n", "latin-1")
    with pytest.raises(UserError, match=r"t\.csv: 36 of 48 rows are not UTF-8 \(line 3 'caf.*save it as UTF-8.*iconv"):
        run(PrepareTable(tables=(table,), out=tmp_path / "data"))
    assert not (tmp_path / "data" / "manifest.parquet").exists()


def test_one_bad_byte_in_a_long_table_rejects_one_row(tmp_path: Path) -> None:
    good = "".join(f"{n}.wav,word {n}\n" for n in range(60)).encode()
    table = tmp_path / "t.csv"
    table.write_bytes(b"path,text\n" + good + b"x.wav,caf\xe9\n")
    found = [row for row in scan_table(table) if isinstance(row, Utterance)]
    assert [row.text for row in found if "\ufffd" in (row.text or "")] == ["caf\ufffd"]


def test_each_kind_of_bad_row_has_its_count_and_three_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.wav", voice(0.3))
    missing = "".join(f"C:\\speech\\missing{n}.wav,word\n" for n in range(5))
    commas = "".join(f"a.wav,one, two {n}\n" for n in range(4))
    content = f'path,text\na.wav,"over\ntwo lines"\n{missing}{commas},x\na.wav,\n'
    run(PrepareTable(tables=(saved(tmp_path / "t.csv", content),), out=tmp_path / "data", valid_percent=0))
    printed = capsys.readouterr().out
    kinds = [line.split() for line in printed.splitlines() if re.match(r" {4,9}\S", line)]
    assert [kind[0] for kind in kinds] == ["5", "5"]
    assert len(re.findall(r"missing\d", printed)) == 3
    assert "note: 1 utterance without a transcript, such as a" in printed
    assert printed.count("instead of 2: enclose") == 3
