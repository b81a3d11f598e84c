import json
from pathlib import Path

import pytest
from tests.data.corpora.timit_tree import SENTENCES, timit_tree, write_sphere, write_utterance

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.audio.read import audio_info, read_audio
from wav2vec2.cli import main
from wav2vec2.data.corpora.timit import CORE_TEST, DEVELOPMENT
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.published import PrepareTimit, run
from wav2vec2.errors import UserError
from wav2vec2.text.phones import fold_text


def prepared(root: Path, **options: object) -> Manifest:
    return Manifest.open(run(PrepareTimit(root=root, out=root.parent / "out", workers=1, **options)))  # type: ignore[arg-type]


def test_the_standard_speakers() -> None:
    assert (len(CORE_TEST), len(DEVELOPMENT), len(CORE_TEST & DEVELOPMENT)) == (24, 50, 0)
    # Two men and a woman of each of the eight dialect regions.
    assert sum(name.startswith("f") for name in CORE_TEST) == 8


@pytest.mark.parametrize("lower", [False, True])
def test_splits_speakers_and_phones(tmp_path: Path, lower: bool, capsys: pytest.CaptureFixture[str]) -> None:
    root = timit_tree(tmp_path / "corpus" / "timit", lower=lower)
    manifest = prepared(root.parent if lower else root)
    splits = {row.speaker: row.split for row in manifest}
    assert splits == {"fcjf0": "train", "marc0": "train", "felc0": "test", "faks0": "dev", "fadg0": "dev"}
    assert len(manifest) == 2 * len(splits)
    texts = {row.id: row.text for row in manifest}
    assert texts["fcjf0_si648"] == "sil ae sil b ih sil t sil sh n sil"
    assert texts["felc0_sx37"] == fold_text(SENTENCES["SX37"])
    assert {(row.language, row.source, row.sample_rate) for row in manifest} == {("en", "timit", 16_000)}
    printed = capsys.readouterr().out
    assert "rejected: none of 10 files" in printed
    assert (
        "this copy of TIMIT is incomplete: train has 4 of 3,696, dev has 4 of 400, test has 2 of 192 utterances"
        in printed
    )
    assert "valid-percent" not in printed


def test_a_copy_without_the_folders_of_the_dialect_regions(tmp_path: Path) -> None:
    root = timit_tree(tmp_path / "timit")
    for region in root.glob("*/DR*"):
        for speaker in region.iterdir():
            speaker.rename(region.parent / speaker.name)
        region.rmdir()
    splits = {row.speaker: row.split for row in prepared(root)}
    assert splits == {"fcjf0": "train", "marc0": "train", "felc0": "test", "faks0": "dev", "fadg0": "dev"}


def test_labels_and_the_complete_test_set(tmp_path: Path) -> None:
    root = timit_tree(tmp_path / "timit")
    assert {row.text for row in prepared(root, labels="61")} == {SENTENCES["SI648"], SENTENCES["SX37"]}
    rows = {row.id: row for row in prepared(root, labels="48", complete_test=True)}
    assert rows["msjs1_si648"].split == "test-rest"
    assert rows["msjs1_si648"].text == "sil ae vcl b ix cl t sil zh en sil"
    assert {row.text for row in prepared(root, labels="words")} == {"she had"}


def test_one_bad_sentence_does_not_stop_the_rest(tmp_path: Path) -> None:
    root = timit_tree(tmp_path / "timit")
    train = root / "TRAIN" / "DR1" / "FCJF0"
    for name in ("SI1", "SI2", "SI3", "SI4", "SI5", "SI6"):
        write_utterance(train, name, SENTENCES["SI648"])
    (train / "SI1.PHN").unlink()
    (train / "SI2.WAV").unlink()
    (train / "SI3.PHN").write_text("0 100 h#\n100 200 schwa\n")
    (train / "SI4.PHN").write_text("0 100 h#\nx 200 b\n")
    (train / "SI5.PHN").write_text("500 900 h#\n100 200 b\n")
    (train / "SI6.PHN").write_text("")
    assert len(prepared(root)) == 10
    found = {
        item["id"]: item for item in map(json.loads, (tmp_path / "out" / "rejected.jsonl").read_text().splitlines())
    }
    assert {name: item["reason"] for name, item in found.items()} == {
        "fcjf0_si1": "audio without transcript", "fcjf0_si2": "transcript without audio",
        **dict.fromkeys(("fcjf0_si3", "fcjf0_si4", "fcjf0_si5", "fcjf0_si6"), "broken labels"),
    }  # fmt: skip
    assert "SI3.PHN: 'schwa' is not a TIMIT phone" in found["fcjf0_si3"]["message"]
    assert "line 2 is not 'begin end label'" in found["fcjf0_si4"]["message"]
    assert "line 2 is out of order" in found["fcjf0_si5"]["message"]


def test_a_sphere_file_is_read_sample_for_sample_and_a_packed_one_is_named(tmp_path: Path) -> None:
    root = timit_tree(tmp_path / "timit")
    path = root / "TRAIN" / "DR1" / "FCJF0" / "SI648.WAV"
    assert (audio_info(path).sample_rate, audio_info(path).samples) == (16_000, 12 * 1_280)
    samples = read_audio(path)
    packed = write_sphere(path.with_name("SI9.WAV"), samples, coding="pcm,embedded-shorten-v2.00")
    packed.with_suffix(".PHN").write_text("0 100 h#\n")
    for read in (read_audio, audio_info):
        with pytest.raises(AudioError, match="compressed with shorten: convert it with 'sph2pipe") as refused:
            read(packed)
        assert "\n" not in str(refused.value)
        with pytest.raises(AudioError, match="compressed with shorten"):
            read(packed.read_bytes())
    assert len(prepared(root)) == 10
    assert '"packed SPHERE"' in (tmp_path / "out" / "rejected.jsonl").read_text()


def test_converted_copies_beside_the_originals_count_once(tmp_path: Path) -> None:
    root = timit_tree(tmp_path / "timit")
    path = root / "TRAIN" / "DR1" / "FCJF0" / "SI648.WAV"
    path.with_name("SI648.WAV.wav").write_bytes(path.read_bytes())
    assert len(prepared(root)) == 10


def test_who_has_no_timit_is_told_what_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for root in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match=r"licensed .LDC93S1.: bring your own copy"):
            prepared(root)
    assert main(["prepare", "timit", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
