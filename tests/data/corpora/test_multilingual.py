import json
from pathlib import Path

import pytest
from tests.data.made_up_speech import voice, write

from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.published import PrepareCommonVoice, PrepareFleurs, PrepareMls, run
from wav2vec2.errors import UserError

CV_HEADER = "client_id\tpath\tsentence\tup_votes\tlocale"


def reasons(out: Path) -> list[tuple[str, str]]:
    items = map(json.loads, (out / "rejected.jsonl").read_text().splitlines())
    return sorted((item["reason"], item["message"]) for item in items)


def common_voice_tree(folder: Path) -> Path:
    """A language with two clips a table; validated repeats them and adds clips of a new and a held-out speaker."""
    number = 0
    tables: dict[str, list[str]] = {}
    for table, speaker in (("train", "anna"), ("dev", "ben"), ("test", "cleo")):
        for _ in range(2):
            number += 1
            write(folder / "clips" / f"cv_{number}.mp3", voice(0.4, seed=number), 32_000)
            tables.setdefault(table, []).append(f'{speaker}\tcv_{number}.mp3\tSie sagte "{number}"\t2\tde')
    for name in ("cv_7", "cv_8"):
        write(folder / "clips" / f"{name}.mp3", voice(0.4, seed=9), 32_000)
    tables["validated"] = [row for rows in tables.values() for row in rows]
    tables["validated"] += ["dora\tcv_7.mp3\tneu\t2\tde", "ben\tcv_8.mp3\tneu\t2\tde"]
    for table, rows in tables.items():
        (folder / f"{table}.tsv").write_text("\n".join([CV_HEADER, *rows]) + "\n", encoding="utf-8")
    return folder


def common_voice(root: Path, out: Path, **options: object) -> Manifest:
    return Manifest.open(run(PrepareCommonVoice(root=root, out=out, workers=1, **options)))  # type: ignore[arg-type]


def test_common_voice_keeps_splits_speakers_and_quotation_marks(tmp_path: Path) -> None:
    folder = common_voice_tree(tmp_path / "cv-corpus" / "de")
    for root in (folder, folder.parent):
        manifest = common_voice(root, tmp_path / "out")
        assert [(row.id, row.speaker, row.split, row.language) for row in manifest] == [
            ("de/cv_1", "anna", "train", "de"), ("de/cv_2", "anna", "train", "de"),
            ("de/cv_3", "ben", "dev", "de"), ("de/cv_4", "ben", "dev", "de"),
            ("de/cv_5", "cleo", "test", "de"), ("de/cv_6", "cleo", "test", "de"),
        ]  # fmt: skip
        assert manifest.utterance(0).text == 'Sie sagte "1"'
        assert manifest.utterance(0).sample_rate == 32_000


def test_common_voice_validated_adds_no_speaker_of_dev_and_test(tmp_path: Path) -> None:
    folder = common_voice_tree(tmp_path / "de")
    manifest = common_voice(folder, tmp_path / "out", tables="train,dev,test,validated")
    assert {row.id for row in manifest if row.split == "validated"} == {"de/cv_7"}
    assert [reason for reason, _ in reasons(tmp_path / "out")] == ["speaker held out"]


def test_common_voice_broken_rows_and_folders(tmp_path: Path) -> None:
    folder = common_voice_tree(tmp_path / "de")
    with (folder / "train.tsv").open("ab") as table:
        table.write(b"anna\tcv_9.mp3\n\nanna\tlost\tweg\t1\tde\nanna\t\tleer\t1\tde\nanna\tcv_7.mp3\t\t1\tde\n")
        table.write(b"eva\tcv_8.mp3\t\xff\xfe\t1\tde\n")
    assert len(common_voice(folder, tmp_path / "out")) == 6
    found = reasons(tmp_path / "out")
    assert [reason for reason, _ in found] == [
        "bad table row",
        "bad table row",
        "missing",
        "no words",
        "unknown characters",
    ]
    assert "train.tsv, line 4: has 2 columns instead of 5" in found[0][1]
    assert "train.tsv, line 7: column 'path' is empty" in found[1][1]
    assert "lost.mp3: does not exist" in found[2][1]
    with pytest.raises(UserError, match=r"other.tsv: is not there: give --tables of dev, test, train, validated"):
        common_voice(folder, tmp_path / "out", tables="other")
    (folder / "dev.tsv").write_text("speaker\tfile\n")
    with pytest.raises(UserError, match=r"dev.tsv: has no column 'client_id' in its first line"):
        common_voice(folder, tmp_path / "out")
    with pytest.raises(UserError, match="you accept its terms on its site"):
        common_voice(tmp_path / "none", tmp_path / "out")
    with pytest.raises(UserError, match="--tables: names no table"):
        common_voice(folder, tmp_path / "out", tables=",")


def mls_tree(folder: Path, suffix: str = ".flac") -> Path:
    for split, speaker in (("train", 11), ("dev", 12), ("test", 13)):
        lines = []
        for number in range(4 if split == "train" else 1):
            name = f"{speaker}_{speaker * 7}_{number:06d}"
            write(
                folder / split / "audio" / str(speaker) / str(speaker * 7) / f"{name}{suffix}", voice(0.3, seed=number)
            )
            lines.append(f"{name}\tzażółć {split}")
        (folder / split / "transcripts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for fold in range(6):
        handles = folder / "train" / "limited_supervised" / "1hr" / str(fold) / "handles.txt"
        handles.parent.mkdir(parents=True)
        handles.write_text(f"11_77_{fold % 2:06d}\n")
    nine = folder / "train" / "limited_supervised" / "9hr" / "handles.txt"
    nine.parent.mkdir(parents=True)
    nine.write_text("11_77_000002\n11_77_999999\n")
    return folder


def mls(root: Path, out: Path, **options: object) -> Manifest:
    return Manifest.open(run(PrepareMls(root=root, out=out, workers=1, **options)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "suffix"), [("mls_polish", ".flac"), ("mls_polish_opus", ".ogg")])
def test_mls_splits_and_language(tmp_path: Path, name: str, suffix: str) -> None:
    mls_tree(tmp_path / "mls" / name, suffix)
    manifest = mls(tmp_path / "mls", tmp_path / "out")
    assert {(row.split, row.speaker) for row in manifest} == {("train", "11"), ("dev", "12"), ("test", "13")}
    assert {(row.language, row.source) for row in manifest} == {("pl", name)}
    assert manifest.utterance(0).text == "zażółć train"


def test_mls_limited_sets(tmp_path: Path) -> None:
    root = mls_tree(tmp_path / "mls_polish")

    def train(**options: object) -> list[str]:
        return [row.id for row in mls(root, tmp_path / "out", **options) if row.split == "train"]

    assert train(training="10min", fold=1) == ["11_77_000001"]
    assert train(training="1h") == ["11_77_000000", "11_77_000001"]
    assert train(training="10h") == ["11_77_000000", "11_77_000001", "11_77_000002"]
    assert reasons(tmp_path / "out") == [
        (
            "audio without transcript",
            f"{root}/train/transcripts.txt: has no line for 11_77_999999, which limited_supervised lists",
        )
    ]
    with pytest.raises(UserError, match="--fold 6"):
        train(training="10min", fold=6)
    (root / "train" / "limited_supervised" / "9hr" / "handles.txt").unlink()
    with pytest.raises(UserError, match=r"9hr/handles.txt: cannot be read"):
        train(training="10h")


def test_mls_broken_lines(tmp_path: Path) -> None:
    root = mls_tree(tmp_path / "mls_polish")
    with (root / "dev" / "transcripts.txt").open("a") as lines:
        lines.write("12_84_000001 no tab\n\nx\ty\n12_84_000009\tlost\n")
    assert len(mls(root, tmp_path / "out")) == 6
    assert [reason for reason, _ in reasons(tmp_path / "out")] == ["bad table row", "bad table row", "missing"]
    with pytest.raises(UserError, match="holds no language of MLS"):
        mls(tmp_path / "none", tmp_path / "out")


def fleurs_tree(folder: Path) -> Path:
    for number, split in enumerate(("train", "dev", "test")):
        name = f"{number}00.wav"
        write(folder / "audio" / split / name, voice(0.3, seed=number))
        row = [str(number), name, 'Ala ma "kota".', "ala ma kota", "a l a |", "4800", "FEMALE"]
        (folder / f"{split}.tsv").write_text("\t".join(row) + "\n", encoding="utf-8")
    return folder


def test_fleurs(tmp_path: Path) -> None:
    folder = fleurs_tree(tmp_path / "pl_pl")
    with (folder / "dev.tsv").open("a") as table:
        table.write("9\tbroken\n10\tlost.wav\tRaw\traw\tr\t1\tMALE\n")

    def rows(root: Path, **options: object) -> Manifest:
        return Manifest.open(run(PrepareFleurs(root=root, out=tmp_path / "out", workers=1, **options)))  # type: ignore[arg-type]

    manifest = rows(tmp_path)
    assert [(row.id, row.split, row.language, row.text, row.speaker) for row in manifest] == [
        ("pl_pl/train/000", "train", "pl", "ala ma kota", ""),
        ("pl_pl/dev/100", "dev", "pl", "ala ma kota", ""),
        ("pl_pl/test/200", "test", "pl", "ala ma kota", ""),
    ]
    found = reasons(tmp_path / "out")
    assert [reason for reason, _ in found] == ["bad table row", "missing"]
    assert "dev.tsv, line 2: has 2 columns instead of 4" in found[0][1]
    assert rows(folder, transcription="raw", language="pl-PL").utterance(0).text == 'Ala ma "kota".'
    (folder / "audio" / "dev").rename(folder / "dev")
    assert len(rows(folder)) == 3
    with pytest.raises(UserError, match="holds no language of FLEURS"):
        rows(tmp_path / "none")
