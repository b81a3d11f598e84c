from pathlib import Path

import pytest
from tests.data.made_up_speech import voice, write

from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.published import PrepareLimited, run
from wav2vec2.errors import UserError


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


def prepared(root: Path, out: Path, **options: object) -> Manifest:
    return Manifest.open(run(PrepareLimited(root=root, out=out, workers=1, **options)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "count", "source"), [("10m", 2, "limited-10m-3"), ("1h", 12, "limited-1h"), ("10h", 14, "limited-10h")]
)
def test_sizes(tmp_path: Path, size: str, count: int, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = limited_tree(tmp_path / "librispeech_finetuning")
    manifest = prepared(tmp_path, tmp_path / "out", size=size, fold=3)
    assert len(manifest) == count
    assert {(row.split, row.source, row.language) for row in manifest} == {("train", source, "en")}
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["train", str(count)]
    if size == "10m":
        assert [(row.id, row.speaker, row.text) for row in manifest] == [
            ("103-3-0000", "103", "WORDS OF 1H/3"),
            ("103-13-0000", "103", "WORDS OF 1H/3"),
        ]
        assert manifest.ids == prepared(root, tmp_path / "again", size=size, fold=3).ids


def test_a_missing_fold_and_a_wrong_one(tmp_path: Path) -> None:
    root = limited_tree(tmp_path / "librispeech_finetuning")
    with pytest.raises(UserError, match="--fold 6: the ten-minute sets are 0 to 5"):
        prepared(root, tmp_path / "out", size="10m", fold=6)
    (root / "9h").rename(root / "nine")
    with pytest.raises(UserError, match=r"9h/clean: is not there: .* or --download"):
        prepared(root, tmp_path / "out", size="10h")
    assert len(prepared(root, tmp_path / "out", size="1h")) == 12
