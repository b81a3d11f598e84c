from pathlib import Path

import pytest
from tests.report.run_logs import finetuning_records, pretraining_records, write_run

from wav2vec2.errors import UserError
from wav2vec2.report.run_log import differing_settings, read_run, read_runs


def test_series_in_the_order_of_updates_each_once_as_it_was_last(tmp_path: Path) -> None:
    records = pretraining_records(3)
    again = {**records[1], "accuracy": 0.5}  # the run went on from update 10: update 20 came twice
    run = read_run(write_run(tmp_path / "run", [*records, again]))
    updates, values = run.series("train", "accuracy")
    assert updates.tolist() == [10, 20, 30]
    assert values.tolist() == [0.01, 0.5, 0.03]
    assert run.series("train", "no such number")[0].size == 0
    assert run.last("validation", "contrastive") == 4.4


def test_kind_and_end(tmp_path: Path) -> None:
    pretraining = read_run(write_run(tmp_path / "p", pretraining_records()))
    finetuning = read_run(write_run(tmp_path / "f", finetuning_records()) / "log.jsonl")
    language = read_run(write_run(tmp_path / "l", [{"kind": "train", "update": 1, "loss": 2.0, "perplexity": 7.4}]))
    assert [run.kind for run in (pretraining, finetuning, language)] == [
        "pre-training",
        "fine-tuning",
        "language model",
    ]
    assert (pretraining.stopped, finetuning.stopped, finetuning.name) == ("done", "", "f")
    records = pretraining_records()
    gone_on = read_run(write_run(tmp_path / "on", [*records[:2], records[-1], records[2]]))
    assert gone_on.stopped == ""


def test_a_line_cut_at_the_end_is_left_out_and_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", pretraining_records(2)[:2])
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"kind": "train", "upda')
    run = read_run(folder)
    assert run.cut
    assert list(run.train) == [10, 20]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no training record yet"),
        ('{"kind": "validation", "update": 1}\n', "has no training record yet"),
        ('{"kind": "tra\n{"kind": "train", "update": 1}\n', "line 1 is not a record"),
        ('[1, 2]\n{"kind": "train", "update": 1}\n', "line 1 is not a record"),
        ("\x00\xff\n\x00\n", "line 1 is not a record"),
    ],
)
def test_damaged_logs_are_named(tmp_path: Path, content: str, message: str) -> None:
    folder = write_run(tmp_path / "run", [])
    (folder / "log.jsonl").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=message) as error:
        read_run(folder)
    assert str(folder) in str(error.value)


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is not a run"):
        read_run(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00")
    with pytest.raises(UserError, match="is not a run"):
        read_run(tmp_path / "model.safetensors")


def test_folders_of_one_name_are_told_apart_and_a_run_counts_once(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / name / "run", pretraining_records(1)) for name in ("a", "b")]
    paths.append(write_run(tmp_path / "other", pretraining_records(1)))
    assert [run.name for run in read_runs([*paths, paths[0]])] == ["a/run", "b/run", "other"]


def test_settings_that_differ(tmp_path: Path) -> None:
    configs = (
        'output = "a"\n[train]\nlr = 0.1\nupdates = 9\n',
        'output = "b"\nseed = 2\n[train]\nlr = 0.2\nupdates = 9\n',
    )
    folders = [write_run(tmp_path / str(n), pretraining_records(1), config) for n, config in enumerate(configs)]
    rows = differing_settings(read_runs(folders))
    assert rows == [("train.lr", ["0.1", "0.2"]), ("seed", ["(default)", "2"])]
