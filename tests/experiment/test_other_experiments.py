"""The other experiments: their plans at the paper's scale, and each run at the smallest."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.data.corpora.timit_tree import timit_tree
from tests.experiment.made_up_speech_tree import write_tree
from tests.experiment.smallest_models import run_here, smallest

from wav2vec2.config import load_recipe
from wav2vec2.errors import UserError
from wav2vec2.experiment import ablation, librispeech, timit
from wav2vec2.experiment.cell import Cell, UtteranceErrors, read_cell
from wav2vec2.experiment.paper import ABLATION, TABLE_4, WER
from wav2vec2.experiment.tables import librispeech_tables
from wav2vec2.pipeline.recipe import Training, recipe_folder
from wav2vec2.text.error_rate import ErrorCounts
from wav2vec2.train.pretrain.command import PretrainConfig


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", run_here)
    root = write_tree(tmp_path / "tree")
    for name in ("10min", "10h"):
        (root / f"labels-{name}.txt").write_text((root / "labels-1h.txt").read_text())
    return root


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
    assert (tuned[tuned.index("--trials") + 1], tuned[tuned.index("--beam") + 1]) == (128, 500)
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


def test_ablations_change_what_their_recipes_change(tree, tmp_path):
    options = ablation.AblationOptions(
        speech=tree, lm_text=(tree / "text.txt",), variants=("all",), out=tmp_path / "out"
    )
    names = ablation.variants(options)
    assert names[0] == "baseline"
    assert set(TABLE_4) <= set(names)
    whole = ablation.plan(options)
    small = load_recipe(recipe_folder() / "pretrain_small.toml", PretrainConfig)
    for name in names:
        work = whole.by_name[f"pretrain-{name}"].work
        assert isinstance(work, Training)
        config, theirs = work.config(), load_recipe(recipe_folder() / "ablation" / f"{name}.toml", PretrainConfig)
        assert config.train.updates == small.train.updates
        assert config.model.architecture == "small"
        assert config.variant == theirs.variant
        assert config.masking == theirs.masking
        for key in ("codebook_groups", "codebook_entries", "negatives", "pos_conv_kernel", "conv_kernels"):
            assert getattr(config.model, key) == getattr(theirs.model, key)
        assert config.loss.diversity_weight == theirs.loss.diversity_weight
    assert "pretrain-baseline" in whole.by_name["pretrain-units_kmeans"].needs
    assert "pretrain-baseline" not in whole.by_name["pretrain-units_mfcc"].needs
    paper = ablation.plan(replace(options, scale="paper", variants=tuple(TABLE_4), limited=tree))
    assert paper.by_name["pretrain-continuous_targets"].work.config().train.updates == 250_000
    assert paper.by_name["finetune-baseline-s1"].work.config().train.updates == 60_000
    with pytest.raises(UserError, match="--variants nothing: no such recipe"):
        ablation.plan(replace(options, variants=("nothing",)))


def test_ablations_at_the_papers_scale_are_the_papers(tree, tmp_path, capsys):
    """10 hours of Libri-light's labels and three seeds, unless the options say otherwise."""
    options = ablation.AblationOptions(
        speech=tree, lm_text=(tree / "text.txt",), scale="paper", limited=tree, out=tmp_path / "out", dry_run=True
    )
    ablation.run(options)
    lines = capsys.readouterr().out.splitlines()
    stages = {line.split("]", 1)[1].split()[0]: lines[n + 1] for n, line in enumerate(lines) if line.startswith("[")}
    assert f"prepare limited {tree.resolve()} --size 10h" in stages["prepare-10h"]
    tuned = [name for name in stages if name.startswith("finetune-")]
    assert tuned == [f"finetune-{name}-s{seed}" for seed in (1, 2, 3) for name in TABLE_4]
    assert all("/prepare-10h-" in stages[name] for name in tuned)
    config = ablation.plan(options).by_name["finetune-baseline-s3"].work.config()
    assert (config.seed, config.train.updates, config.data.split) == (3, 60_000, "")
    listed = replace(options, limited=None)
    assert "labels/10h.txt" in str(ablation.plan(listed).by_name["finetune-baseline-s1"].work.settings["data.labels"])
    (tree / "labels-10h.txt").unlink()
    with pytest.raises(UserError, match=r"no list .* of '10h'; give --limited FOLDER .* or --labels 10h=FILE"):
        ablation.plan(listed)
    small = ablation.plan(replace(options, scale="small", limited=None))
    assert [name for name in small.by_name if name.startswith("finetune-baseline")] == ["finetune-baseline-s1"]
    assert "labels/1h.txt" in str(small.by_name["finetune-baseline-s1"].work.settings["data.labels"])


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
    changed = {name for name in first.identities if first.identities[name] != third.identities[name]}
    assert "finetune-10min-base" in changed
    assert not any("1h" in name for name in changed)
    with pytest.raises(UserError, match="--fold 6: must be from 0 to 5"):
        librispeech.plan(replace(options, fold=6), "table1")


def test_the_papers_numbers_stand_in_the_headers_of_the_recipes():
    for name, number in ABLATION.items():
        header = (recipe_folder() / "ablation" / f"{name}.toml").read_text().splitlines()[0]
        assert f"{number:.2f}" in header, name


def test_ablations_run(tree, tmp_path, capsys):
    changes = {"variants": ("baseline", "continuous_targets")}
    options = ablation.AblationOptions(**smallest(tmp_path / "out", tree, **changes))
    ablation.run(options)
    shown = capsys.readouterr().out
    assert "complete: 2 of 2 rows scored" in shown
    row = [line for line in shown.splitlines() if line.startswith("continuous_targets")][-1]
    assert "8.58" in row
    assert "[" in row
    assert "same order" in shown
    assert "Does the paper's order hold?" in (options.out / "report.md").read_text()


def test_timit_runs_and_its_error_rate_is_the_counted_one(tree, tmp_path, capsys):
    root = timit_tree(tmp_path / "timit")
    options = timit.TimitOptions(**smallest(tmp_path / "out", tree, speech=None, lm_text=(), timit=root))
    options = replace(options, set=(*options.set, "pretrain:batch.min_seconds=0.1"))
    timit.run(options)
    shown = capsys.readouterr().out
    assert "Phone error rate in percent on 39 phones" in shown
    assert "8.3" in shown
    whole = timit.plan(options)
    report = json.loads((whole.folder("evaluate-timit-s1") / "evaluation.json").read_text())
    cell = read_cell(options.out / "results" / "timit-s1-greedy.json")
    assert cell.splits() == ("dev", "test")
    counts = cell.score("wer").counts
    assert counts.errors / counts.reference == pytest.approx(report["table"]["all"]["no LM"]["per"]["rate"])
    with pytest.raises(UserError, match="TIMIT is licensed"):
        timit.plan(replace(options, timit=None))
    with pytest.raises(UserError, match="is not a folder"):
        timit.plan(replace(options, timit=tmp_path / "none"))


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
