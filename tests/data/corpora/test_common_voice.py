"""Facts: the archives' structure and columns in the READMEs of common-voice/cv-dataset (scripted and spontaneous
speech), the URLs in the hub's loading script of mozilla-foundation/common_voice_11_0 (transcript/LANG/SPLIT.tsv and
audio/LANG/SPLIT/LANG_SPLIT_N.tar), and delta releases, which have no train, dev and test.
"""

import tarfile
from pathlib import Path

import pytest
from tests.data.corpora.test_pairs import layout
from tests.data.made_up_speech import voice, write

from wav2vec2.data.corpora.common_voice import scan_common_voice
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.published import PrepareCommonVoice, run
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.errors import UserError

HEADER = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment\n"


def table(*rows: tuple[str, str, str]) -> str:
    return HEADER + "".join(f"{who}\t{clip}\t{text}\t2\t0\t\t\t\tfr\t\n" for who, clip, text in rows)


def test_as_the_hub_has_it(tmp_path: Path) -> None:
    root = tmp_path / "common_voice_11_0"
    for split in ("train", "dev", "test"):
        clip = f"common_voice_fr_{split}.mp3"
        layout(
            root,
            {f"transcript/fr/{split}.tsv": table((f"s-{split}", clip, f"dit {split}"), ("x", f"lost{split}.mp3", "x"))},
        )
        write(tmp_path / clip, voice(0.5), 32_000)
        archive = root / "audio" / "fr" / split / f"fr_{split}_0.tar"
        archive.parent.mkdir(parents=True)
        with tarfile.open(archive, "w") as tar:
            write(tmp_path / "other.mp3", voice(0.3), 32_000)
            tar.add(tmp_path / "other.mp3", f"fr_{split}_0/other.mp3")
            tar.add(tmp_path / clip, f"fr_{split}_0/{clip}")
    manifest = Manifest.open(run(PrepareCommonVoice(root=root, out=tmp_path / "out", workers=1)))
    assert [(row.id, row.text, row.split, row.speaker, row.language) for row in manifest] == [
        (f"fr/common_voice_fr_{split}", f"dit {split}", split, f"s-{split}", "fr") for split in ("train", "dev", "test")
    ]
    first = manifest.utterance(0)
    assert first.path.endswith("fr_train_0.tar")
    assert len(read_utterance(first)) == first.samples
    reasons = [item.reason for item in scan_common_voice(root) if isinstance(item, Rejection)]
    assert reasons == ["missing"] * 3
    archive.write_bytes(archive.read_bytes()[:700])
    with pytest.raises(UserError, match=r"is not a whole tar archive"):
        list(scan_common_voice(root))


def test_hub_archives_that_were_unpacked(tmp_path: Path) -> None:
    files = {f"transcript/fr/{split}.tsv": table(("s", f"{split}.mp3", "dit")) for split in ("train", "dev", "test")}
    files |= {f"audio/fr/{split}/fr_{split}_0/{split}.mp3": "" for split in ("train", "dev", "test")}
    found = list(scan_common_voice(layout(tmp_path, files)))
    assert all(isinstance(row, Utterance) and row.offset == -1 and Path(row.path).exists() for row in found)


def test_clips_converted_to_wav_are_found(tmp_path: Path) -> None:
    files = {f"fr/{split}.tsv": table(("s", f"{split}.mp3", "dit")) for split in ("train", "dev", "test")}
    layout(tmp_path, files | {f"fr/clips/{split}.wav": "" for split in ("train", "dev", "test")})
    found = list(scan_common_voice(tmp_path))
    assert [Path(row.path).name for row in found] == ["train.wav", "dev.wav", "test.wav"]
    assert [row.id for row in found] == ["fr/train", "fr/dev", "fr/test"]


def test_a_delta_release_is_told_which_of_its_files_are_tables(tmp_path: Path) -> None:
    files = {f"fr/{name}.tsv": table(("s", "a.mp3", "dit")) for name in ("validated", "other", "invalidated")}
    files |= {"fr/reported.tsv": "sentence\tsentence_id\tlocale\treason\n", "fr/clips/a.mp3": ""}
    files |= {"fr/clip_durations.tsv": "clip\tduration[ms]\na.mp3\t900\n"}
    layout(tmp_path, files)
    with pytest.raises(UserError, match=r"a delta release .*: give --tables of invalidated, other, validated, or"):
        list(scan_common_voice(tmp_path))
    assert [row.id for row in scan_common_voice(tmp_path, tables=["validated"])] == ["fr/a"]


def test_spontaneous_speech(tmp_path: Path) -> None:
    names = "client_id\taudio_id\taudio_file\tduration_ms\tprompt_id\tprompt\ttranscription\tvotes\tlanguage\tsplit"
    rows = "".join(
        f"s{n}\t{n}\tspontaneous-speech-ttj-{n}.mp3\t900\t1\tWhat now?\tanswer {n}\t2\tRutoro\t{split}\n"
        for n, split in enumerate(("train", "dev", "test", "unassigned"))
    )
    root = layout(tmp_path / "sps-corpus-1.0-2025-09-05-ttj", {"ss-corpus-ttj.tsv": f"{names}\n{rows}"})
    layout(root, {"ss-reported-audios-ttj.tsv": "client_id\n", "audios/spontaneous-speech-ttj-0.mp3": ""})
    for top in (root, tmp_path):
        found = [row for row in scan_common_voice(top) if isinstance(row, Utterance)]
        assert [(row.text, row.speaker, row.split, row.language) for row in found] == [
            (f"answer {n}", f"s{n}", split, "ttj") for n, split in enumerate(("train", "dev", "test"))
        ]
        assert Path(found[0].path).exists()
    assert len(list(scan_common_voice(root, tables=["unassigned"]))) == 1


def test_a_table_that_pandas_has_written_again_loses_its_marks(tmp_path: Path) -> None:
    sentences = ('Il dit "oui"', "sans marques")
    files = {f"fr/{split}.tsv": table(("s", f"{split}.mp3", '"Il dit ""oui"""')) for split in ("train", "dev")}
    files |= {"fr/test.tsv": table(("s", "test.mp3", '"Oui", dit-il'), ("s", "u.mp3", sentences[1]))}
    layout(tmp_path, files | {"fr/clips/a.mp3": ""})
    assert [row.text for row in scan_common_voice(tmp_path) if isinstance(row, Utterance)] == [
        sentences[0], sentences[0], '"Oui", dit-il', sentences[1],
    ]  # fmt: skip
