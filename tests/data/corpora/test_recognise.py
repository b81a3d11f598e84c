"""`prepare auto` on a small copy of every layout; the facts about them are those of the tests of each."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.corpora.test_pairs import layout
from tests.data.corpora.timit_tree import timit_tree
from tests.data.made_up_speech import librispeech_tree, voice, write

from wav2vec2.cli import main
from wav2vec2.data.corpora.multilingual import scan_voxpopuli
from wav2vec2.data.corpora.recognise import LOOKED_FOR, recognise
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.command import PrepareFolder, run
from wav2vec2.data.prepare.layouts import PrepareAuto, run_auto
from wav2vec2.data.utterance import Utterance
from wav2vec2.errors import UserError

CV = "client_id\tpath\tsentence\tlocale\n"
VOX = "id\traw_text\tnormalized_text\tspeaker_id\tsplit\tgender\tis_gold_transcript\taccent\n"
LAYOUTS: dict[str, dict[str, str]] = {
    "librispeech": {
        "dev-clean/84/121123/84-121123.trans.txt": "84-121123-0000 GO\n",
        "dev-clean/84/121123/84-121123-0000.flac": "",
    },
    "limited": {
        "1h/0/clean/3526/175658/3526-175658.trans.txt": "x",
        "1h/0/clean/3526/175658/3526-175658-0000.flac": "",
        "9h/x": "",
    },
    "librilight": {
        "small/100/book_64kb/part_01.flac": "",
        "small/100/book_64kb/part_01.json": '{"voice_activity": []}',
    },
    "timit": {
        "TRAIN/DR1/FCJF0/SI648.PHN": "0 1 h#",
        "TRAIN/DR1/FCJF0/SI648.WAV": "",
        "TRAIN/DR1/FCJF0/SI648.TXT": "0 1 x",
        "DOC/README.DOC": "",
    },
    "commonvoice": {"fr/train.tsv": CV, "fr/clips/a.mp3": "", "fr/reported.tsv": "sentence\n", "de/x": ""},
    "mls": {
        "mls_polish/train/transcripts.txt": "1_2_3\tx\n",
        "mls_polish/train/audio/1/2/1_2_3.flac": "",
        "mls_polish/dev/transcripts.txt": "",
    },
    "fleurs": {"pl_pl/train.tsv": "12\t1.wav\tA b.\ta b\t9\tMALE\n", "pl_pl/audio/train/1.wav": "", "en_us/x": ""},
    "voxpopuli": {
        "transcribed_data/en/asr_train.tsv": VOX,
        "transcribed_data/en/2013/2013-x-0.ogg": "",
        "raw_audios/original/2013/x.ogg": "",
    },
    "libritts": {
        "dev-clean/84/121123/84_121123_000007_000001.wav": "",
        "dev-clean/84/121123/84_121123_000007_000001.normalized.txt": "Go",
        "SPEAKERS.txt": "",
    },
    "vctk": {
        "wav48_silence_trimmed/p225/p225_001_mic1.flac": "",
        "txt/p225/p225_001.txt": "Please",
        "speaker-info.txt": "",
    },
    "aishell": {
        "data_aishell/transcript/aishell_transcript_v0.8.txt": "a b",
        "data_aishell/wav/train/S0002/a.wav": "",
        "resource_aishell/lexicon.txt": "",
    },
    "stm": {"legacy/train/stm/A.stm": "", "legacy/train/sph/A.sph": "", "legacy/README": ""},
    "kaldi": {"data/train/wav.scp": "a a.wav\n", "data/train/text": "a x\n", "wav/a.wav": ""},
    "lhotse": {"librispeech_cuts_dev.jsonl.gz": "", "x.wav": ""},
    "ljspeech": {"metadata.csv": "LJ001-0001|a b|a b\n", "wavs/LJ001-0001.wav": "", "README": ""},
    "fairseq": {"train.tsv": "/data/audio\na.flac\t16000\n", "train.ltr": "A |\n"},
    "huggingface": {"train/metadata.jsonl": '{"file_name": "1.wav", "text": "x"}\n', "train/1.wav": "", "test/x": ""},
    "table": {"train.csv": "wav_filename,wav_filesize,transcript\na.wav,3,x\n", "a.wav": "", "README.md": ""},
    "pairs": {"x/a.wav": "", "x/a.txt": "hello", "y/b.wav": "", "y/b.srt": "1"},
    "folder": {"x/a.wav": "", "y/b.mp3": "", "notes.txt": "about"},
}


@pytest.mark.parametrize("command", LAYOUTS)
def test_every_layout_is_recognised_by_a_file_that_it_names(tmp_path: Path, command: str) -> None:
    root = layout(tmp_path / "corpus", LAYOUTS[command])
    found = recognise(root)
    assert found.command == command
    assert found.sources[0].is_relative_to(root)
    assert found.why
    # One folder around everything, as an archive unpacks, changes nothing.
    assert recognise(tmp_path).command == command


def test_a_single_split_is_not_taken_for_an_archive_s_own_folder(tmp_path: Path) -> None:
    tree = librispeech_tree(tmp_path / "a" / "LibriSpeech", splits=("dev-clean",), speakers=1)
    for root in (tmp_path / "a", tree):
        out = tmp_path / f"out-{root.name}"
        manifest = Manifest.open(run_auto(PrepareAuto(root=root, out=out, workers=1)))
        assert {(row.split, row.speaker) for row in manifest} == {("dev-clean", "1")}
    write(tmp_path / "b" / "test" / "1.wav", voice(0.3))
    layout(tmp_path / "b", {"test/metadata.csv": "file_name,text\n1.wav,one\n"})
    manifest = Manifest.open(run_auto(PrepareAuto(root=tmp_path / "b", out=tmp_path / "out", workers=1)))
    assert [row.split for row in manifest] == ["test"]


def test_single_files(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    sound = pa.array([{"bytes": b"x", "path": "a"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"audio": sound}), tmp_path / "x" / "train.parquet")
    layout(tmp_path / "x", {"t.tsv": "path\ttext\n", "f.tsv": "/x\na.wav\t1\n", "metadata.csv": "a|b\n", "a.stm": ""})
    layout(tmp_path / "x", {"cuts.jsonl": json.dumps({"id": "1", "supervisions": []}), "wav.scp": ""})
    kinds = {path.name: recognise(path).command for path in (tmp_path / "x").iterdir()}
    assert kinds == {
        "train.parquet": "huggingface", "t.tsv": "table", "f.tsv": "fairseq", "metadata.csv": "ljspeech",
        "a.stm": "stm", "cuts.jsonl": "lhotse", "wav.scp": "kaldi",
    }  # fmt: skip


def test_a_json_file_over_many_lines_is_a_table(tmp_path: Path) -> None:
    entries = {"u1": {"length": 1.0, "wav": "{data_root}/a.wav", "words": "X"}}
    layout(tmp_path, {"train.json": json.dumps(entries, indent=2), "x/a.wav": "", "config.json": '{"rate": 16000}'})
    found = recognise(tmp_path)
    assert (found.command, found.sources) == ("table", (tmp_path / "train.json",))


def test_nothing_known_several_and_missing(tmp_path: Path) -> None:
    layout(tmp_path / "none", {"a.pdf": "", "b.docx": ""})
    with pytest.raises(UserError, match="looked for: LibriSpeech, Libri-light") as caught:
        recognise(tmp_path / "none")
    assert LOOKED_FOR in str(caught.value)
    layout(tmp_path / "both", LAYOUTS["kaldi"] | LAYOUTS["lhotse"])
    with pytest.raises(UserError, match=r"several layouts fit: kaldi \(has data/train/wav.scp\); lhotse \(has "):
        recognise(tmp_path / "both")
    layout(tmp_path / "general", {"t.csv": "path,text\na.wav,x\n", "a.wav": "", "a.txt": "x"})
    with pytest.raises(UserError, match=r"several layouts fit: table .*; pairs"):
        recognise(tmp_path / "general")
    with pytest.raises(UserError, match="does not exist"):
        recognise(tmp_path / "nowhere")


def test_auto_says_what_it_found_and_prepares_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = librispeech_tree(tmp_path / "libri")
    arguments = ["--out", str(tmp_path / "out"), "--workers", "1", "--language", "en"]
    assert main(["prepare", "auto", str(tree), *arguments]) == 0
    said = capsys.readouterr().out
    assert said.startswith("recognised: has dev/4/1/4-1.trans.txt: read as by 'wav2vec2 prepare librispeech ")
    manifest = Manifest.open(tmp_path / "out")
    assert {(row.split, row.language) for row in manifest} == {("train", "en"), ("dev", "en")}
    tree = timit_tree(tmp_path / "timit")
    manifest = Manifest.open(run_auto(PrepareAuto(root=tree, out=tmp_path / "phones", workers=1)))
    assert "sil" in str(manifest.utterance(0).text)
    assert main(["prepare", "auto", str(tmp_path / "phones" / "nothing")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_voxpopuli(tmp_path: Path) -> None:
    row = "2013-x-0\tMr. President!\tmr president\t{}\ttrain\tmale\tTrue\tNone\n"
    files = {"en/asr_train.tsv": VOX + row.format("123") + row.format("None").replace("x-0", "x-1")}
    root = layout(tmp_path / "transcribed_data", files | {"en/2013/2013-x-0.ogg": ""})
    for top in (root, root / "en", tmp_path):
        found = [item for item in scan_voxpopuli(top) if isinstance(item, Utterance)]
        assert [(item.id, item.text, item.speaker, item.language, item.split) for item in found] == [
            ("2013-x-0", "mr president", "123", "en", "train"),
            ("2013-x-1", "mr president", "", "en", "train"),
        ]
        assert found[0].path == str(root / "en" / "2013" / "2013-x-0.ogg")
    assert next(scan_voxpopuli(root, transcription="raw")).text == "Mr. President!"  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"has no asr_train.tsv"):
        list(scan_voxpopuli(tmp_path / "transcribed_data" / "en" / "2013"))


@pytest.mark.parametrize(
    ("path", "speaker"),
    [
        ("wav48_silence_trimmed/p225/p225_001_mic1.flac", "p225"),
        ("legacy/train/sph/AlGore_2009.flac", ""),
        ("unlabelled_data/en/2009/a_0.flac", ""),
        ("raw_audios/en/2009/a.flac", ""),
        ("anna/train/1.flac", "anna"),
    ],
)
def test_the_speaker_of_a_folder_is_no_folder_of_the_corpus(
    tmp_path: Path, path: str, speaker: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "corpus" / path, voice(0.3))
    layout(tmp_path / "corpus", {"txt/p225/p225_001.txt": "Please"} if "p225" in path else {})
    manifest = Manifest.open(run(PrepareFolder(root=tmp_path / "corpus", out=tmp_path / "out", workers=1)))
    assert [row.speaker for row in manifest] == [speaker]
    advice = "'wav2vec2 prepare vctk' would read its transcripts"
    assert (advice in capsys.readouterr().out) == ("p225" in path)


def test_help_lists_every_layout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "--help"]) == 0
    said = capsys.readouterr().out
    for name in LAYOUTS:
        assert f"prepare {name} " in said
    assert "prepare auto" in said
