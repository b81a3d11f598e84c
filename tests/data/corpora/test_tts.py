"""Facts: LJSpeech's README (metadata.csv, three fields and pipes), M-AILABS' and CSS10's layout as Coqui TTS's
formatters and CSS10's README describe them, LibriTTS and VCTK as lhotse's recipes read them."""

from pathlib import Path

import pytest
from tests.data.corpora.test_pairs import layout
from tests.data.made_up_speech import voice, write

from wav2vec2.data.corpora.tts import scan_libritts, scan_pipes, scan_vctk
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.layouts import PrepareLjSpeech, run
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

LJ = (
    'LJ001-0001|Printing, in the only sense, "so to say"|Printing, in the only sense, "so to say"\n'
    "LJ001-0002|in 1450|in fourteen fifty\nLJ001-0003|no normalised text|\n"
)


def utterances(items: object) -> list[Utterance]:
    found = list(items)  # type: ignore[call-overload]
    assert all(isinstance(item, Utterance) for item in found), found
    return found


def test_ljspeech(tmp_path: Path) -> None:
    root = layout(tmp_path / "LJSpeech-1.1", {"metadata.csv": LJ})
    for number in (1, 2, 3):
        write(root / "wavs" / f"LJ001-000{number}.wav", voice(0.3, seed=number), 22_050)
    manifest = Manifest.open(run(PrepareLjSpeech(root=root, out=tmp_path / "out", workers=1)))
    assert [(row.id, row.text, row.speaker) for row in manifest] == [
        ("LJ001-0001", 'Printing, in the only sense, "so to say"', ""),
        ("LJ001-0002", "in fourteen fifty", ""),
        ("LJ001-0003", "no normalised text", ""),
    ]
    assert [row.text for row in utterances(scan_pipes(root, text="raw"))][1] == "in 1450"


def test_m_ailabs_has_speakers_and_languages(tmp_path: Path) -> None:
    files = {}
    for part in ("female/eva_k/buch", "mix/buch"):
        files[f"de_DE/by_book/{part}/metadata.csv"] = f"{part[:3]}_01|Am 3. Mai war es|Am dritten Mai war es\n"
        files[f"de_DE/by_book/{part}/wavs/{part[:3]}_01.wav"] = ""
    found = utterances(scan_pipes(layout(tmp_path, files)))
    assert [(row.id, row.speaker, row.language, row.text) for row in found] == [
        ("de_DE/by_book/female/eva_k/buch/fem_01", "eva_k", "de", "Am dritten Mai war es"),
        ("de_DE/by_book/mix/buch/mix_01", "", "de", "Am dritten Mai war es"),
    ]
    assert all(Path(row.path).exists() for row in found)


@pytest.mark.parametrize(
    ("table", "line", "expected"),
    [
        (
            "transcript.txt",
            "meian/a.wav|医者は探りを 入れた|医者 は 探り を 入れ た|4.56",
            ("meian/a", "医者 は 探り を 入れ た", ""),
        ),
        ("transcript.txt", "meian/a.wav|医者は探り|医者は探りを|4.56", ("meian/a", "医者は探りを", "")),
        ("metadata_train.csv", "wavs/a.wav|he said so|speaker7", ("wavs/a", "he said so", "speaker7")),
        ("metadata.txt", "wavs/a.wav|76|he said so", ("wavs/a", "he said so", "76")),
        ("metadata.csv", "he said so|a.wav", ("a", "he said so", "")),
    ],
)
def test_css10_and_file_lists_of_other_trainers(
    tmp_path: Path, table: str, line: str, expected: tuple[str, str, str]
) -> None:
    layout(tmp_path, {table: f"{line}\n", "wavs/a.wav": "", "meian/a.wav": ""})
    (row,) = utterances(scan_pipes(tmp_path))
    assert (row.id, row.text, row.speaker) == expected
    assert Path(row.path).exists()
    assert row.split == ("train" if "train" in table else "")


def test_coqui_has_a_header_and_broken_rows_are_counted(tmp_path: Path) -> None:
    layout(tmp_path / "c", {"metadata.csv": "audio_file|text|speaker_name\nwavs/a.wav|hello there|ann\n"})
    (row,) = utterances(scan_pipes(tmp_path / "c"))
    assert (row.text, row.speaker, row.path) == ("hello there", "ann", str(tmp_path / "c" / "wavs" / "a.wav"))
    layout(tmp_path / "d", {"metadata.csv": "a|one text\nlost\n|no name\n"})
    found = list(scan_pipes(tmp_path / "d"))
    assert [getattr(item, "reason", "") for item in found] == ["", "bad table row", "bad table row"]
    with pytest.raises(UserError, match=r"holds no metadata.csv or transcript.txt with pipes"):
        list(scan_pipes(layout(tmp_path / "e", {"metadata.csv": "file_name,text\n"})))


def test_parts_of_a_table_take_its_place(tmp_path: Path) -> None:
    """Coqui's examples split metadata.csv of LJSpeech into metadata_train.csv and metadata_val.csv beside it."""
    first, second, third = LJ.splitlines(keepends=True)
    files = {"metadata.csv": LJ, "metadata_train.csv": first + second, "metadata_val.csv": third}
    found = utterances(scan_pipes(layout(tmp_path, files)))
    assert [row.split for row in found] == ["train", "train", "valid"]


def test_libritts(tmp_path: Path) -> None:
    folder = "train-clean-100/103/1240"
    files = {
        f"{folder}/103_1240_000000_000001.wav": "",
        f"{folder}/103_1240_000000_000001.normalized.txt": "Chapter one.",
        f"{folder}/103_1240_000000_000001.original.txt": "Chapter 1.",
        f"{folder}/103_1240_000000_000002.wav": "",
        f"{folder}/103_1240_000000_000003.wav": "",
        f"{folder}/103_1240_000000_000004.wav": "",
        f"{folder}/103_1240_000000_000004.normalized.txt": "x" * (1 << 21),
        f"{folder}/103_1240.trans.tsv": "103_1240_000000_000003\tIn 3.\tIn three.\n",
    }
    root = layout(tmp_path / "LibriTTS", files)
    found = list(scan_libritts(root))
    assert [(row.id, row.text, row.split, row.speaker) for row in found if isinstance(row, Utterance)] == [
        ("103_1240_000000_000001", "Chapter one.", "train-clean-100", "103"),
        ("103_1240_000000_000003", "In three.", "train-clean-100", "103"),
    ]
    refused = [item.reason for item in found if isinstance(item, Rejection)]
    assert refused == ["audio without transcript", "bad transcript"]
    raw = [row.text for row in scan_libritts(root, text="raw") if isinstance(row, Utterance)]
    assert raw == ["Chapter 1.", "In 3."]
    with pytest.raises(UserError, match=r"has no \*.normalized.txt"):
        list(scan_libritts(layout(tmp_path / "x", {"a.wav": ""})))


def test_vctk(tmp_path: Path) -> None:
    files = {f"wav48_silence_trimmed/p225/p225_001_mic{number}.flac": "" for number in (1, 2)}
    files |= {"wav48_silence_trimmed/p315/p315_001_mic1.flac": "", "txt/p225/p225_001.txt": "Please call Stella.\n"}
    root = layout(tmp_path / "VCTK-Corpus-0.92", files | {"speaker-info.txt": "ID  AGE  GENDER  ACCENTS\n"})
    found = list(scan_vctk(root))
    assert isinstance(found[0], Utterance)
    assert (found[0].id, found[0].text, found[0].speaker) == ("p225_001", "Please call Stella.", "p225")
    assert isinstance(found[1], Rejection)  # the texts of p315 are lost
    ids = [item.id for item in scan_vctk(root, microphone="both") if isinstance(item, Utterance)]
    assert ids == ["p225_001", "p225_001_mic2"]
    old = layout(tmp_path / "VCTK-Corpus", {"wav48/p225/p225_001.wav": "", "txt/p225/p225_001.txt": "Please"})
    assert [row.id for row in utterances(scan_vctk(old))] == ["p225_001"]
    with pytest.raises(UserError, match="has no folders txt and wav48"):
        list(scan_vctk(tmp_path))
