from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wav2vec2.config import as_plain, differing_keys, load_recipe, write_toml
from wav2vec2.errors import UserError
from wav2vec2.lm.transformer.network import TransformerNetwork
from wav2vec2.train.finetune.config import FinetuneConfig
from wav2vec2.train.language_model.command import LanguageModelConfig
from wav2vec2.train.options import ModelConfig
from wav2vec2.train.pretrain.command import PretrainConfig

RECIPES = sorted((Path(__file__).resolve().parents[1] / "recipes").glob("*.toml"))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_values_of_a_recipe_replace_defaults_and_nothing_else(tmp_path: Path) -> None:
    config = load_recipe(write(tmp_path / "r.toml", "seed = 7\n[train]\nlr = 1\n"), PretrainConfig)
    assert config.seed == 7
    assert config.train.lr == 1.0
    assert isinstance(config.train.lr, float)
    assert config.masking == PretrainConfig().masking


def test_extends_applies_the_parent_first(tmp_path: Path) -> None:
    write(tmp_path / "parent.toml", "seed = 3\n[train]\nlr = 0.1\nupdates = 5\n")
    child = write(tmp_path / "child.toml", 'extends = "parent.toml"\n[train]\nlr = 0.2\n')
    config = load_recipe(child, PretrainConfig)
    assert (config.seed, config.train.lr, config.train.updates) == (3, 0.2, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1", "unknown key 'sed'; did you mean 'seed'?"),
        ("[train]\nlearning = 1", "unknown key 'train.learning'; valid keys are updates, lr"),
        ("[train]\nupdate = 1", "did you mean 'train.updates'?"),
        ("seed = 'x'", "'seed' must be a whole number, not 'x'"),
        ("seed = true", "'seed' must be a whole number, not True"),
        ("[train]\nlr = '1e-3'", "'train.lr' must be a number, not '1e-3'"),
        ("[train]\nschedule = 'cosine'", "choose one of 'linear', 'tri-stage'"),
        ("[model]\nconv_channels = 5", "'model.conv_channels' must be an array, not 5"),
        ("train = 5", "'train' must be a table"),
        ("extends = 5", "'extends' must be a string"),
        ("extends = 'r.toml'", "extends itself"),
        ("extends = 'other.toml'", "other.toml: no such recipe; give a .toml file, or a name"),
        ("a = [", "cannot be read as TOML"),
    ],
)
def test_every_mistake_is_one_line_that_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "r.toml", text)
    with pytest.raises(UserError) as caught:
        load_recipe(path, PretrainConfig)
    assert message in str(caught.value)
    assert ".toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_in_a_parent_names_the_parent(tmp_path: Path) -> None:
    write(tmp_path / "parent.toml", "sed = 3\n")
    child = write(tmp_path / "child.toml", 'extends = "parent.toml"\n')
    with pytest.raises(UserError, match=r"parent\.toml: unknown key 'sed'"):
        load_recipe(child, PretrainConfig)


def test_a_written_configuration_reads_back_equal(tmp_path: Path) -> None:
    config = PretrainConfig(
        output='a "quoted" ünïcode \\ path', model=ModelConfig(conv_channels=(1, 2), conv_bias=True)
    )
    config = replace(config, train=replace(config.train, eps=1e-12))
    write_toml(config, tmp_path / "c.toml")
    assert load_recipe(tmp_path / "c.toml", PretrainConfig) == config


def test_differing_keys_are_dotted() -> None:
    old, new = PretrainConfig(), PretrainConfig(seed=2, model=ModelConfig(layers=3))
    assert list(differing_keys(as_plain(old), as_plain(new))) == [("seed", 1, 2), ("model.layers", None, 3)]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_shipped_recipes_load_and_build(path: Path) -> None:
    if path.name.startswith("lm_"):
        text = load_recipe(path, LanguageModelConfig)
        with torch.device("meta"):
            TransformerNetwork(text.model, 1000, text.regularization)
        assert text.batch.tokens >= text.batch.micro_tokens
        return
    config = load_recipe(path, PretrainConfig if path.name.startswith("pretrain") else FinetuneConfig)
    config.model.build()
    assert config.batch.seconds >= config.batch.micro_seconds
    assert config.output != "runs/pretrain"


def test_contradicting_sizes_are_a_user_error() -> None:
    with pytest.raises(UserError, match="multiple of heads"):
        ModelConfig(heads=7).build()
    with pytest.raises(UserError, match="no architecture 'huge'"):
        ModelConfig(architecture="huge").build()


def test_the_former_name_of_a_recipe_leads_to_its_present_one(tmp_path: Path) -> None:
    for name in ("base_10min", "base_10h", "base_100h", "large_10min"):
        write(tmp_path / f"finetune_{name}.toml", "")
    with pytest.raises(UserError, match=r"no such recipe; did you mean finetune_base_10min.toml\?"):
        load_recipe(tmp_path / "finetune_base_10m.toml", PretrainConfig)
