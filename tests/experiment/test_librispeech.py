import json
from dataclasses import replace

import pytest
from tests.experiment.smallest_models import smallest

from wav2vec2.config import load_recipe
from wav2vec2.errors import UserError
from wav2vec2.experiment import librispeech
from wav2vec2.experiment.cell import Cell, UtteranceErrors
from wav2vec2.experiment.paper import WER
from wav2vec2.experiment.tables import librispeech_tables
from wav2vec2.pipeline.recipe import Training
from wav2vec2.recipe_files import recipe_folder
from wav2vec2.text.error_rate import ErrorCounts
from wav2vec2.train.pretrain.command import PretrainConfig


def test_table_1_at_the_papers_scale(tree):
    options = librispeech.Table1Options(
        speech=tree, lm_text=(tree / "text.txt",), scale="paper", librilight=tree, limited=tree
    )
    whole = librispeech.plan(options, "table1")
    scored = [stage.name for stage in whole.stages if stage.name.startswith("score-transformer-")]
    assert scored == [
        f"score-transformer-{tier}-{model}" for tier in ("10min", "1h", "10h", "100h") for model in options.models
    ]
    for model in options.models:
        trials = [stage for stage in whole.stages if stage.name.startswith(f"trial-10min-{model}-")]
        found = {(stage.work.config().train.lr, stage.work.config().seed) for stage in trials}
        assert found == {(lr, seed) for lr in (2e-5, 3e-5) for seed in (1, 2, 3)}
        recipe = load_recipe(recipe_folder() / f"pretrain_{model}.toml", PretrainConfig)
        config = whole.by_name[f"pretrain-{model}"].work.config()
        for section in ("model", "regularization", "masking", "loss", "batch"):
            assert getattr(config, section) == getattr(recipe, section)
        assert config.train == recipe.train
    words = whole.by_name["try-1h-large-lr2e-05-s2"].work.words
    assert words[words.index("--beam") + 1] == 50
    assert words[words.index("--lm-weight") + 1] == pytest.approx(2 / 2.302585, abs=1e-5)
    assert words[words.index("--word-score") + 1] == -1.0
    tuned = whole.by_name["tune-ngram-1h-large"].work.words
    assert words[words.index("--decoder") + 1] == tuned[tuned.index("--decoder") + 1] == "lexicon"  # the paper's search
    assert (tuned[tuned.index("--trials") + 1], tuned[tuned.index("--beam") + 1]) == (128, 500)
    tuned = whole.by_name["tune-transformer-1h-large"].work.words
    assert (tuned[tuned.index("--decoder") + 1], tuned[tuned.index("--beam") + 1]) == ("beam", 50)
    decoded = whole.by_name["evaluate-transformer-1h-large"].work.words
    assert decoded[decoded.index("--beam") + 1] == 500
    tuned = [stage for stage in whole.stages if isinstance(stage.work, Training) and "1h" in stage.name]
    assert tuned
    assert {stage.work.config().curriculum.share for stage in tuned} == {0.0}
    weights = librispeech.plan(replace(options, paper_weights=True), "table1")
    assert "paper-lv-1h-4gram" in weights.by_name["evaluate-1h-large_lv60k"].work.words
    assert "tune-ngram-1h-base" not in weights.by_name


def test_table_2_at_the_papers_scale(tree):
    adopted = (f"pretrain-large_lv60k={tree}",)
    options = librispeech.Table2Options(speech=tree, lm_text=(tree / "text.txt",), scale="paper", adopt=adopted)
    whole = librispeech.plan(options, "table2")
    scratch = whole.by_name["finetune-960h-scratch"].work.config()
    assert (scratch.init, scratch.model.build().layers, scratch.train.updates) == ("scratch", 24, 320_000)
    assert scratch.regularization.feature_grad_mult == 1.0
    with pytest.raises(UserError, match="give --librilight"):
        librispeech.plan(replace(options, adopt=()), "table2")
    with pytest.raises(UserError, match="the paper has no row '1h scratch'"):
        librispeech.plan(replace(options, amounts=("1h",)), "table2")


@pytest.mark.usefixtures("unseen_figures")
def test_table_1_runs(tree, tmp_path, capsys):
    changes = {"models": ("base",), "amounts": ("10min",), "lms": ("greedy", "ngram"), "seeds": (1,)}
    options = librispeech.Table1Options(**smallest(tmp_path / "out", tree, **changes))
    librispeech.run(options)
    shown = capsys.readouterr().out
    assert "complete: 1 of 1 rows scored" in shown
    row = next(line for line in shown.splitlines() if line.startswith("10min") and "4-gram" in line)
    assert " 9.1 " in row + " "
    whole = librispeech.plan(options, "table1")
    values = json.loads((whole.folder("finetune-10min-base") / "values.json").read_text())
    assert set(values["tried"]) == {"lr 2e-05, seed 1", "lr 3e-05, seed 1"}
    for trial, rate in zip(("lr2e-05", "lr3e-05"), values["tried"].values(), strict=True):
        report = json.loads((whole.folder(f"try-10min-base-{trial}-s1") / "evaluation.json").read_text())
        assert rate == pytest.approx(report["wer"]["rate"], abs=1e-6)


def test_the_fold_of_ten_minutes_is_a_choice(tree):
    options = librispeech.Table1Options(
        speech=tree,
        lm_text=(tree / "text.txt",),
        scale="paper",
        limited=tree,
        models=("base",),
        amounts=("10min", "1h"),
    )
    first, third = (librispeech.plan(replace(options, fold=fold), "table1") for fold in (0, 3))
    assert list(third.by_name["prepare-10min"].work.words)[-4:-2] == ["--fold", 3]
    names = [stage.name for stage in first.stages]
    changed = {name for name in names if first.identity(name) != third.identity(name)}
    assert "finetune-10min-base" in changed
    assert not any("1h" in name for name in changed)
    with pytest.raises(UserError, match="--fold 6: must be from 0 to 5"):
        librispeech.plan(replace(options, fold=6), "table1")


def test_the_table_of_librispeech_has_a_column_beside_each_of_the_papers():
    counts = ErrorCounts(substitutions=3, reference=10)
    splits = ("dev-clean", "dev-other", "test-clean", "test-other")
    rows = tuple(UtteranceErrors(split, "s", split, counts, counts) for split in splits)
    cells = {("1h-base", "ngram"): Cell("1h-base", "ngram", "4-gram", {}, rows)}
    (table,) = librispeech_tables(cells, ("1h",), ("base",), ("greedy", "ngram"))
    assert table.header[3:5] == ("dev-clean", "paper")
    row = table.rows[1]
    assert [float(value) for value in row[4::2]] == list(WER["1h", "base"].ngram)
    assert row[3].startswith("30.0 [")
    assert table.rows[0][3] == "-"
