"""Recordings with a text each. Layouts as users have them: beside each other, in sibling folders, with subtitles (the
SubRip and WebVTT timings of the W3C's WebVTT standard and of VLC's description of SubRip)."""

import json
from pathlib import Path

import pytest
from tests.data.made_up_speech import voice, write

from wav2vec2.data.corpora.pairs import scan_pairs
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.layouts import PreparePairs, run
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError


def layout(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def texts(root: Path, **options: str) -> dict[str, str | None]:
    return {row.id: row.text for row in scan_pairs(root, **options) if isinstance(row, Utterance)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("audio", "text"),
    [
        ("a.wav", "a.txt"),
        ("x/a.MP3", "x/a.lab"),
        ("wavs/a.wav", "txt/a.txt"),
        ("wavs/p225/a.flac", "txt/p225/a.txt"),
        ("p225/wav/a.wav", "p225/lab/a.lab"),
        ("audio/a.wav", "a.txt"),
        ("a.wav", "transcripts/a.txt"),
    ],
)
def test_texts_beside_recordings_and_in_sibling_folders(tmp_path: Path, audio: str, text: str) -> None:
    layout(tmp_path, {audio: "", text: "\ufeffhello\nthere \n"})
    identity = audio.rsplit(".", 1)[0]
    assert texts(tmp_path) == {identity: "hello there"}


def test_equal_names_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    files = {f"{kind}/{who}/001.{end}": who for kind, end in (("wav", "wav"), ("txt", "txt")) for who in ("p1", "p2")}
    assert texts(layout(tmp_path, files)) == {"wav/p1/001": "p1", "wav/p2/001": "p2"}
    rows = [row for row in scan_pairs(tmp_path) if isinstance(row, Utterance)]
    assert {row.speaker for row in rows} == {"p1", "p2"}
    layout(
        tmp_path, {"txt2/p1/001.txt": "another", "wav/p1/002.wav": "", "txt/p1/003.txt": "", "txt/p1/README.txt": ""}
    )
    found = {item.id: item.reason for item in scan_pairs(tmp_path) if isinstance(item, Rejection)}
    assert found == {
        "wav/p1/001": "audio without transcript",
        "wav/p1/002": "audio without transcript",
        "003": "transcript without audio",
    }


def test_subtitles_become_pieces(tmp_path: Path) -> None:
    write(tmp_path / "talk" / "a.wav", voice(6.0))
    subtitles = (
        "1\n00:00:00,500 --> 00:00:02,000\n<i>Hello</i>\nthere.\n\n"
        "2\n00:00:02,000 --> 00:00:04,250\n{\\an8}How are you?\n\n3\n00:00:05,000 --> 00:00:04,000\nbackwards\n"
    )
    (tmp_path / "talk" / "a.srt").write_text(subtitles.replace("\n", "\r\n"), encoding="utf-8-sig")
    (tmp_path / "talk" / "a.txt").write_text("Hello there. How are you?")
    manifest = Manifest.open(run(PreparePairs(root=tmp_path / "talk", out=tmp_path / "out", workers=1)))
    assert [(row.id, row.start, row.samples, row.text) for row in manifest] == [
        ("a-8000-32000", 8_000, 24_000, "Hello there."),
        ("a-32000-68000", 32_000, 36_000, "How are you?"),
    ]
    (rejected,) = (json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines())
    assert "cue 3 ends before it begins" in rejected["message"]
    assert texts(tmp_path / "talk", text="txt") == {"a": "Hello there. How are you?"}
    (tmp_path / "talk" / "a.srt").unlink()
    (tmp_path / "talk" / "a.vtt").write_text(
        "WEBVTT\n\nNOTE x\n\n00:01.000 --> 00:02.500 align:start\n<v Ann>Yes</v>\n"
    )
    assert texts(tmp_path / "talk") == {"a-16000-40000": "Yes"}


def test_one_bad_text_does_not_stop_the_rest_and_none_is_an_error(tmp_path: Path) -> None:
    layout(
        tmp_path / "x",
        {"a.wav": "", "a.srt": "no cues", "b.wav": "", "b.txt": "x" * (1 << 21), "c.wav": "", "c.txt": "c"},
    )
    found = list(scan_pairs(tmp_path / "x"))
    assert [getattr(item, "reason", "") for item in found] == ["bad transcript", "bad transcript", ""]
    layout(tmp_path / "y", {"a.wav": "", "b.txt": ""})
    with pytest.raises(UserError, match="no recording has a text of its own name"):
        list(scan_pairs(tmp_path / "y"))
    with pytest.raises(UserError, match="is not a folder"):
        list(scan_pairs(tmp_path / "z"))
