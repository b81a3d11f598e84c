import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.experiment.made_up_speech_tree import write_tree
from tests.experiment.smallest_models import smallest
from tests.run_here import run_here

from wav2vec2 import cli
from wav2vec2.errors import UserError
from wav2vec2.experiment import low_label
from wav2vec2.experiment.cell import read_cell
from wav2vec2.experiment.low_label import LowLabelOptions, plan
from wav2vec2.pipeline.recipe import Training


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LowLabelOptions:
    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", run_here)
    tree = write_tree(tmp_path / "tree")
    return LowLabelOptions(**smallest(tmp_path / "out", tree, tiers=("1h",)))


def test_the_whole_way_stopped_and_resumed(options, capsys, monkeypatch):
    commands = []

    def stopping(words, **more):
        if words[0] == "tune" and not any("evaluate" in line for line in commands):
            commands.append("evaluate")  # once
            raise KeyboardInterrupt
        commands.append(words[0])
        run_here(words, **more)

    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", stopping)
    with pytest.raises(KeyboardInterrupt):
        low_label.run(options)
    assert "stopped; the same command resumes. partial: 0 of 2 rows scored" in capsys.readouterr().out
    first = list(commands)
    assert first.count("finetune") == 4  # two arms x two learning rates
    low_label.run(replace(options, only=("score-1h-pretrained-s1", "*-1h-pretrained-s1", "lm-*")))
    assert commands[len(first) :].count("finetune") == 0
    partial = capsys.readouterr().out
    assert "partial: 1 of 2 rows scored" in partial
    assert "pre-trained" in partial
    scratch = next(line for line in partial.splitlines() if "from scratch" in line)
    assert scratch.split()[4:] == ["-"] * 6

    low_label.run(options)
    shown = capsys.readouterr().out
    assert "complete: 2 of 2 rows scored" in shown
    assert "paper: BASE, 1h" in shown
    assert re.search(r"1h +no LM +WER +[\d.]+ +[\d.]+ +[+-][\d.]+ \[", shown)
    assert plan(options).needed(plan(options).goals) == []
    _check_results(options)


def _check_results(options: LowLabelOptions) -> None:
    """The cells agree with the reports of the command, and the report has the tables and the figure."""
    whole = plan(options)
    for arm in ("pretrained", "scratch"):
        report = json.loads((whole.folder(f"evaluate-1h-{arm}-s1") / "evaluation.json").read_text())["table"]["all"]
        for lm, column in zip(("greedy", "ngram", "transformer"), report.values(), strict=True):
            cell = read_cell(options.out / "results" / f"1h-{arm}-s1-{lm}.json")
            score = cell.score("wer")
            assert score.counts.errors == sum(column["wer"][k] for k in ("substitutions", "deletions", "insertions"))
            assert cell.splits() == ("test-clean", "test-other")
            assert {one.speaker for one in cell.utterances} == {"6", "7"}
            assert (score.low, score.high) == (
                pytest.approx(column["wer"]["low"]),
                pytest.approx(column["wer"]["high"]),
            )
    html = (options.out / "report.html").read_text()
    assert "data:image/svg+xml" in html
    assert "significantly lower" in html
    assert "Contrastive accuracy, and that of a published run" in html
    assert "Error rate by amount of labels" in (options.out / "report.md").read_text()
    assert (options.out / "label_hours.png").stat().st_size > 1000
    values = json.loads((whole.folder("finetune-1h-scratch-s1") / "values.json").read_text())
    assert values["lr"] in (5e-4, 2e-3)
    assert set(values["tried"]) == {"0.0005", "0.002"}


@pytest.mark.parametrize("scale", ["small", "medium"])
def test_both_arms_differ_in_the_start_alone(options, scale):
    """Same utterances, updates, seed, batches; from scratch nothing is frozen and the dropout is the scale's."""
    whole = plan(replace(options, set=(), scale=scale, learning_rates=(1e-3,), tiers=("1h", "10min", "all")))
    dropouts = {"small": (0.05, 0.05, 0.05), "medium": (0.1, 0.2, 0.1)}[scale]
    updates = {"small": (4000, 1200, 18000), "medium": (4000, 3000, 6000)}[scale]
    for tier, total in zip(("1h", "10min", "all"), updates, strict=True):
        arms = [whole.by_name[f"finetune-{tier}-{arm}-s1"].work for arm in ("pretrained", "scratch")]
        assert all(isinstance(work, Training) for work in arms)
        ours, theirs = (work.config() for work in arms)
        for section in ("data", "batch", "masking", "text", "log", "curriculum"):
            assert getattr(ours, section) == getattr(theirs, section)
        assert ours.train == theirs.train
        assert ours.train.updates == round(total * options.updates_scale)
        assert ours.seed == theirs.seed
        assert ours.curriculum.share == (0.2 if tier == "10min" and scale == "small" else 0.1)
        assert theirs.regularization.feature_grad_mult == 1.0
        assert theirs.freeze.share == 0.0 < ours.freeze.share
        pretrained, few, many = dropouts
        assert theirs.regularization.dropout == (many if tier == "all" else few)
        assert ours.regularization.dropout == pretrained
        assert ours.regularization.feature_grad_mult == (1.0 if scale == "small" or tier == "all" else 0.0)


def test_the_order_of_work(options):
    several = replace(options, set=(), tiers=("1h", "10min", "all"), seeds=(1, 2))
    names = [stage.name for stage in plan(several).stages]
    order = [name for name in names if name.startswith("score-")]
    assert order == plan(several).goals
    assert order[:4] == [
        f"score-{cell}-s1" for cell in ("1h-pretrained", "1h-scratch", "10min-pretrained", "10min-scratch")
    ]
    assert [name.endswith("-s2") for name in order] == [False] * 6 + [True] * 6
    assert names.index("score-1h-scratch-s1") < names.index("finetune-10min-pretrained-s1")
    assert sum(name.startswith("trial-") for name in names) == 4
    single = [stage.name for stage in plan(replace(several, learning_rates=(1e-3,))).stages]
    assert not any("trial" in name for name in single)


@pytest.mark.usefixtures("unseen_figures")
def test_a_pretrained_model_brings_its_sizes(options, tmp_path):
    low_label.run(replace(options, only=("prepare", "speech", "pretrain")))
    model = plan(options).result("pretrain")
    adopted = replace(options, set=(), pretrained=model, scale="small", out=tmp_path / "second")
    whole = plan(adopted)
    assert "pretrain" not in [stage.name for stage in whole.needed(whole.goals)]
    scratch = whole.by_name["trial-1h-scratch-s1-lr0.001"].work.config().model.build()
    assert (scratch.hidden_size, scratch.layers, scratch.conv_channels) == (16, 1, (8,) * 7)
    assert scratch.layer_norm_first
    of_run = plan(replace(adopted, pretrained=model.parent))
    assert of_run.result("pretrain") == model
    assert all(of_run.identity(stage.name) == whole.identity(stage.name) for stage in whole.stages)


def test_mistakes(options, tmp_path):
    for changes, message in (
        ({"lm_text": ()}, "no text for the ngram language model"),
        ({"lm_text": (tmp_path / "none.txt",)}, "no such file"),
        ({"speech": None}, "no speech given: use --speech FOLDER"),
        ({"speech": None, "manifest": tmp_path / "none.parquet"}, "no list of the labelled utterances|does not exist"),
        ({"labels": ("2h=x",)}, "write NAME=FILE"),
        ({"seeds": ()}, "--seeds: give at least one"),
        ({"set": ("pretrain:train.lrr=1",)}, "did you mean 'train.lr'"),
        ({"set": ("train.lr=1",)}, "write STAGE:KEY=VALUE"),
        ({"adopt": ("pretrain",)}, "write STAGE=PATH"),
        ({"updates_scale": 0.0}, "must be above 0"),
        ({"recipes": tmp_path}, "no such recipe"),
    ):
        with pytest.raises(UserError, match=message):
            plan(replace(options, **changes))


def test_dry_run_makes_nothing_and_a_table_shows_what_is_planned(options, capsys):
    low_label.run(replace(options, dry_run=True))
    assert "wav2vec2 pretrain" in capsys.readouterr().out
    assert not options.out.exists()
    low_label.run(replace(options, table=True))
    shown = capsys.readouterr().out
    assert "partial: 0 of 2 rows scored" in shown
    assert shown.count("from scratch") == 1  # planned rows are there
    assert "Stages" in (options.out / "report.md").read_text()


def test_the_command_line(options, capsys):
    words = ["experiment", "low-label", "--speech", str(options.speech), "--lm-text", str(options.lm_text[0])]
    words += ["--out", str(options.out), "--dry-run", "--tiers", "1h", "10min", "--lms", "greedy", "ngram"]
    words += ["--set", "pretrain:train.lr=1e-3", "--set", "*scratch*:train.eps=1e-6", "--seeds", "1", "2"]
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "--train.lr 0.001" in shown
    assert "--train.eps 1e-06" in shown
    assert "score-10min-scratch-s2" in shown
    assert "transformer" not in shown
    assert cli.main([*words, "--adopt", "nothing=x", "--adopt", f"lm-ngram={options.lm_text[0]}"]) == 2
    assert capsys.readouterr().err.startswith("error: --adopt nothing: no such stage")
    assert cli.main(["experiment"]) == 0
    assert "experiment timit" in capsys.readouterr().out
