import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.made_up_speech import voice, write

from wav2vec2.cli import main
from wav2vec2.data.corpora.librilight import LONG_PAUSE, scan_librilight, voice_pieces
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.decode import Rules
from wav2vec2.data.prepare.journal import chunks
from wav2vec2.data.prepare.published import PrepareLibriLight, PrepareLimited, run
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError


def chapter(folder: Path, stem: str, activity: object, seconds: float = 6.0) -> Path:
    write(folder / f"{stem}.flac", voice(seconds, seed=len(stem)))
    metadata = {"speaker": folder.parent.name, "book_meta": {"id": "319"}, "snr": 5.4, "voice_activity": activity}
    (folder / f"{stem}.json").write_text(json.dumps(metadata))
    return folder / f"{stem}.flac"


def prepared(root: Path, **options: object) -> Manifest:
    options = {"target_seconds": 3.0, "valid_percent": 0.0, **options}
    return Manifest.open(run(PrepareLibriLight(root=root, out=root.parent / "out", workers=1, **options)))  # type: ignore[arg-type]


def rejected(root: Path) -> dict[str, str]:
    lines = (root.parent / "out" / "rejected.jsonl").read_text().splitlines()
    return {item["id"]: item["reason"] for item in map(json.loads, lines)}


def test_stretches_are_joined_up_to_the_target(tmp_path: Path) -> None:
    root = tmp_path / "librilight"
    book = root / "small" / "960" / "history_of_holland"
    path = chapter(book, "ch_01", [[0.4, 1.9], [2.1, 3.2], [3.5, 5.0], [5.2, 5.9]])
    manifest = prepared(root)
    assert [(row.id, row.start, row.samples) for row in manifest] == [
        ("960/history_of_holland/ch_01_0000", 6_400, 44_800),
        ("960/history_of_holland/ch_01_0001", 56_000, 38_400),
    ]
    row = manifest.utterance(0)
    assert (row.path, row.speaker, row.source, row.language, row.text) == (str(path), "960", "small", "en", None)


def test_a_long_pause_ends_a_piece_but_a_lone_word_is_joined() -> None:
    assert voice_pieces([(0.0, 3.0), (4.5, 8.0)], 30.0) == [(0.0, 3.0), (4.5, 8.0)]
    assert voice_pieces([(0.0, 0.5), (2.0, 8.0)], 30.0) == [(0.0, 8.0)]
    assert voice_pieces([(0.0, 50.0), (50.2, 51.5)], 30.0) == [(0.0, 50.0), (50.2, 51.5)]
    assert voice_pieces([], 30.0) == []


@given(st.lists(st.floats(0.05, 20.0), max_size=40), st.floats(1.0, 60.0))
def test_pieces_cover_all_speech_in_order_within_the_target(durations: list[float], target: float) -> None:
    times = [sum(durations[:count]) for count in range(len(durations) + 1)]
    activity = [(times[i], times[i + 1]) for i in range(0, len(durations) - 1, 2)]
    pieces = voice_pieces(activity, target)
    for begin, end in activity:
        assert sum(first <= begin and end <= last for first, last in pieces) == 1
    assert all(last <= first for (_, last), (first, _) in pairwise(pieces))
    assert all(end - begin <= target or (begin, end) in activity for begin, end in pieces)
    for (begin, last), (first, end) in pairwise(pieces):
        assert end - begin > target or first - last > LONG_PAUSE


def test_broken_metadata_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "small"
    book = root / "7" / "book"
    chapter(book, "good", [[0.0, 2.0], [2.2, 6.4]])  # the last stretch is said to end after the file does
    for name, activity in (
        ("order", [[1.0, 2.0], [0.5, 3.0]]), ("text", [["0", 2.0]]), ("flat", [1.0, 2.0]), ("empty", []),
        ("none", None), ("late", [[0.0, 2.0], [9.0, 12.0]]),
    ):  # fmt: skip
        chapter(book, name, activity)
    chapter(book, "json", [])
    (book / "json.json").write_text("{")
    write(book / "alone.flac", voice(1.0))
    (book / "ghost.json").write_text("{}")
    chapter(book, "cut", [[0.0, 2.0]])
    (book / "cut.flac").write_bytes(b"fLaC")
    manifest = prepared(root, target_seconds=60.0)
    assert {row.id: row.samples for row in manifest} == {"7/book/good_0000": 96_000, "7/book/late_0000": 32_000}
    reasons = rejected(root)
    assert {name.split("/")[-1]: reason for name, reason in reasons.items() if reason != "unreadable"} == {
        **dict.fromkeys(("order", "text", "flat", "none", "json"), "broken metadata"),
        "empty": "no speech", "alone": "audio without metadata", "ghost": "metadata without audio",
        "late_0001": "cut short",
    }  # fmt: skip
    assert "7/book/cut" in reasons


def test_subsets_and_a_folder_that_is_something_else(tmp_path: Path) -> None:
    root = tmp_path / "librilight"
    for subset in ("small", "medium"):
        chapter(root / subset / "1" / subset, "c", [[0.0, 2.0]])
    assert {row.source for row in prepared(root)} == {"small", "medium"}
    assert {row.source for row in prepared(root, subsets="medium")} == {"medium"}
    with pytest.raises(UserError, match="large: is not a folder"):
        prepared(root, subsets="large")
    write(tmp_path / "other" / "a.flac", voice(0.5))
    with pytest.raises(UserError, match="is it a folder of Libri-light"):
        list(scan_librilight(tmp_path / "other"))
    with pytest.raises(UserError, match="--target-seconds 0: must be above 0"):
        prepared(root, target_seconds=0.0)


def test_speakers_are_split_and_long_pieces_can_be_cut_again(tmp_path: Path) -> None:
    root = tmp_path / "small"
    for speaker in range(10):
        chapter(root / str(speaker) / "b", f"c{speaker}", [[0.5, 5.5]])
    manifest = prepared(root, valid_percent=50.0, segment=True, max_seconds=2.0)
    homes = {row.speaker: {other.split for other in manifest if other.speaker == row.speaker} for row in manifest}
    assert sorted({split for splits in homes.values() for split in splits}) == ["train", "valid"]
    assert all(len(splits) == 1 for splits in homes.values())
    assert all(row.samples <= 32_000 and row.start >= 8_000 for row in manifest)
    assert all(row.start + row.samples <= 88_000 for row in manifest)


def test_many_pieces_of_one_long_file_share_a_journal_file(tmp_path: Path) -> None:
    path = tmp_path / "book.flac"
    path.write_bytes(b"0")
    with path.open("r+b") as file:
        file.truncate(100 << 20)
    pieces = [Utterance(f"p{n}", str(path), start=n * 480_000, samples=480_000) for n in range(64)]
    assert len(list(chunks(pieces, 64, Rules(), tmp_path))) == 4
    assert not any(isinstance(piece, Rejection) for piece in pieces)


def limited_tree(root: Path) -> Path:
    """librispeech_finetuning with one utterance a folder; the chapter's number says which it is."""
    for number, folder in enumerate([*(f"1h/{fold}" for fold in range(6)), "9h"]):
        for kind in ("clean", "other"):
            speaker, chapter = 100 + number, number + 10 * (kind == "other")
            name = f"{speaker}-{chapter}-0000"
            place = root / folder / kind / str(speaker) / str(chapter)
            write(place / f"{name}.flac", voice(0.3, seed=chapter))
            (place / f"{speaker}-{chapter}.trans.txt").write_text(f"{name} WORDS OF {folder.upper()}\n")
    (root / "phones").mkdir()
    return root


def limited(root: Path, out: Path, **options: object) -> Manifest:
    return Manifest.open(run(PrepareLimited(root=root, out=out, workers=1, **options)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "count", "source"), [("10min", 2, "limited-10min-3"), ("1h", 12, "limited-1h"), ("10h", 14, "limited-10h")]
)
def test_limited_sizes(tmp_path: Path, size: str, count: int, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = limited_tree(tmp_path / "librispeech_finetuning")
    manifest = limited(tmp_path, tmp_path / "out", size=size, fold=3)
    assert len(manifest) == count
    assert {(row.split, row.source, row.language) for row in manifest} == {("train", source, "en")}
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["train", str(count)]
    if size == "10min":
        assert [(row.id, row.speaker, row.text) for row in manifest] == [
            ("103-3-0000", "103", "WORDS OF 1H/3"),
            ("103-13-0000", "103", "WORDS OF 1H/3"),
        ]
        assert manifest.ids == limited(root, tmp_path / "again", size=size, fold=3).ids


def test_a_missing_fold_and_a_wrong_one(tmp_path: Path) -> None:
    root = limited_tree(tmp_path / "librispeech_finetuning")
    with pytest.raises(UserError, match="--fold 6: the ten-minute sets are 0 to 5"):
        limited(root, tmp_path / "out", size="10min", fold=6)
    (root / "9h").rename(root / "nine")
    with pytest.raises(UserError, match=r"9h/clean: is not there: .* or --download"):
        limited(root, tmp_path / "out", size="10h")
    assert len(limited(root, tmp_path / "out", size="1h")) == 12


@pytest.mark.parametrize("line", ["limited x --size 10m", "mls x --training 10m"])
def test_the_old_spelling_of_ten_minutes_is_one_line_with_the_new(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", *line.split()]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "'10m'" in said
    assert "'10min'" in said
