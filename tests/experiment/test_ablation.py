from dataclasses import replace

import pytest
from tests.experiment.smallest_models import smallest

from wav2vec2.config import load_recipe
from wav2vec2.errors import UserError
from wav2vec2.experiment import ablation
from wav2vec2.experiment.paper import ABLATION, TABLE_4
from wav2vec2.pipeline.recipe import Training
from wav2vec2.recipe_files import recipe_folder
from wav2vec2.train.pretrain.command import PretrainConfig


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


def test_the_papers_numbers_stand_in_the_headers_of_the_recipes():
    for name, number in ABLATION.items():
        header = (recipe_folder() / "ablation" / f"{name}.toml").read_text().splitlines()[0]
        assert f"{number:.2f}" in header, name


@pytest.mark.usefixtures("unseen_figures")
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


def test_without_text_only_options_that_exist_are_proposed(tree, tmp_path):
    with pytest.raises(UserError, match=r"no text for the ngram .*\(--ngram\)$"):
        ablation.plan(ablation.AblationOptions(speech=tree, out=tmp_path / "out"))
