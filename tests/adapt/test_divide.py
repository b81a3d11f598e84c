"""Which recordings are trained on, chosen by and tested on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from wav2vec2.adapt.divide import DivideOptions, run
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError


def rows(speakers: int, each: int = 2, *, transcribed: int = 99, split: str = "train", seconds: int = 4):
    return [
        Utterance(
            id=f"{split}/s{speaker}-{number}",
            path=f"/audio/{split}/s{speaker}/{number}.wav",
            samples=16_000 * seconds,
            text=f"text {number}" if speaker < transcribed else None,
            speaker=f"{split}-{speaker}",
            split=split,
            language="fr",
        )
        for speaker in range(speakers)
        for number in range(each)
    ]


def divided(tmp_path: Path, utterances, **options):
    manifest = write_manifest(utterances, tmp_path / "all.parquet")
    run(DivideOptions(manifest=str(manifest), out=tmp_path / "out", **options))
    parts: dict[str, list[Utterance]] = {}
    for name in ("transcribed", "untranscribed"):
        for row in Manifest.open(tmp_path / "out" / f"{name}.parquet"):
            parts.setdefault(row.split, []).append(row)
    return parts, json.loads((tmp_path / "out/values.json").read_text())


def test_a_tenth_of_the_speech_is_tested_on_by_speaker(tmp_path):
    parts, values = divided(tmp_path, rows(40, transcribed=30))
    speakers = {name: {row.speaker for row in part} for name, part in parts.items()}
    assert len(speakers["test"]) == len(speakers["valid"]) == 3
    assert sum(map(len, speakers.values())) == len(set().union(*speakers.values())) == 40
    assert len(parts["untranscribed"]) == 20
    assert values["language"] == "fr"
    assert values["train_seconds"] == 24 * 2 * 4
    said = sum(len(row.text) for row in parts["train"])
    assert values["least_rate"] == round(said / (24 * 2 * 4) / 2, 1) > 0
    train = (tmp_path / "out/train.txt").read_text().splitlines()
    assert sorted(train) == sorted(row.text for row in parts["train"])
    again, _ = divided(tmp_path, list(reversed(rows(40, transcribed=30))))
    assert {row.id for row in again["test"]} == {row.id for row in parts["test"]}  # names decide, not the order


def test_official_splits_are_kept_and_a_missing_one_is_carved(tmp_path):
    every = [*rows(10), *rows(3, split="dev"), *rows(4, split="test")]
    parts, values = divided(tmp_path, every)
    assert {row.speaker for row in parts["valid"]} == {"dev-0", "dev-1", "dev-2"}
    assert len(parts["test"]) == 8
    assert "as the source says" in "\n".join(values["lines"])
    parts, _ = divided(tmp_path, [*rows(10), *rows(4, split="test")])
    assert {row.speaker for row in parts["test"]} == {f"test-{number}" for number in range(4)}
    assert {row.speaker for row in parts["valid"]} <= {f"train-{number}" for number in range(10)}


def test_speakers_of_test_are_not_heard_untranscribed(tmp_path, capsys):
    silent = [replace(row, id=f"{row.id}-more", path=f"{row.path}-more", text=None) for row in rows(20)]
    parts, _ = divided(tmp_path, [*rows(20), *silent])
    held = {row.speaker for name in ("valid", "test") for row in parts[name]}
    assert not held & {row.speaker for row in parts["untranscribed"]}
    assert (
        f"untranscribed, left out: {2 * len(held)} utterances of speakers of valid and test" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([""], "by recording (no speaker is known: the error rate of people whom it has not heard will be higher)"),
        (["a", "b"], "by recording (there are 2 speakers: "),
        (["a", "b", "c", ""], "by recording (speakers are known of 15 of 20: "),
    ],
)
def test_without_speakers_recordings_take_their_place_and_it_is_said(tmp_path, names, said, capsys):
    every = [replace(row, speaker=names[number % len(names)]) for number, row in enumerate(rows(10))]
    parts, _ = divided(tmp_path, every)
    assert all(parts[name] for name in ("train", "valid", "test"))
    assert said in capsys.readouterr().out


def test_one_long_recording_is_divided_by_utterance(tmp_path, capsys):
    every = [replace(row, path="/audio/one.wav", speaker="", start=64_000 * n) for n, row in enumerate(rows(10))]
    divided(tmp_path, every)
    assert "by utterance (no speaker is known" in capsys.readouterr().out


def test_one_speaker_with_most_of_the_speech_stays_in_training(tmp_path):
    most = [replace(row, speaker="chief", id=f"c{n}", path=f"/c/{n}") for n, row in enumerate(rows(100))]
    parts, _ = divided(tmp_path, [*most, *rows(5)])
    assert {row.speaker for row in parts["train"]} >= {"chief"}


def test_a_list_of_ids_says_what_is_transcribed_and_dev_and_test_keep_their_texts(tmp_path, capsys):
    every = [*rows(10), *rows(3, split="dev"), *rows(3, split="test")]
    names = tmp_path / "ids.txt"
    names.write_text("\ufeffs0-0\r\ns1-1\r\ntrain/s2-0\r\n", encoding="utf-8")
    parts, _ = divided(tmp_path, every, transcripts=str(names))
    assert {row.id for row in parts["train"]} == {"train/s0-0", "train/s1-1", "train/s2-0"}
    assert len(parts["untranscribed"]) == 17
    assert len(parts["valid"]) == len(parts["test"]) == 6
    assert "3 transcribed recordings" in capsys.readouterr().out
    names.write_text("s0-0\nnobody\nnothing\nnowhere\nno\n")
    with pytest.raises(UserError, match="4 of its 5 ids are in none of the 32 recordings, such as 'no', 'nobody'"):
        divided(tmp_path, every, transcripts=str(names))
    names.write_text("s9-0\n")
    with pytest.raises(UserError, match="1 of its 1 ids have no transcript"):
        divided(tmp_path, rows(10, transcribed=5), transcripts=str(names))


def test_a_table_names_the_transcribed_recordings_and_the_folder_their_speakers(tmp_path):
    folder = [replace(row, text=None) for row in rows(20)]
    table = [replace(row, speaker="", split="train") for row in rows(10)]
    table[0] = replace(table[0], text=None)
    transcripts = write_manifest(table, tmp_path / "table.parquet")
    parts, _ = divided(tmp_path, folder, transcripts=str(transcripts))
    assert len({row.speaker for name in ("train", "valid", "test") for row in parts[name]}) == 10
    paths = [row.path for part in parts.values() for row in part]
    assert len(paths) == len(set(paths))
    assert len(parts["untranscribed"]) + sum(len(parts[name]) for name in ("train", "valid", "test")) <= 40


def test_too_little_and_impossible_options(tmp_path):
    with pytest.raises(UserError, match="are too few to train on, to choose by and to test on"):
        divided(tmp_path, rows(1))
    with pytest.raises(UserError, match="has no transcript"):
        divided(tmp_path, rows(5, transcribed=0))
    with pytest.raises(UserError, match="--held-out-percent 50"):
        divided(tmp_path, rows(5), held_out_percent=50.0)
