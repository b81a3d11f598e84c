from pathlib import Path

import pytest

from wav2vec2.config import load_recipe
from wav2vec2.errors import UserError
from wav2vec2.pipeline.recipe import CONFIGS, command_of
from wav2vec2.pipeline.recipes import RecipesOptions, run
from wav2vec2.recipe_files import find_recipe, packaged_recipes, recipe_folder


def test_every_packaged_recipe_is_listed_once_below_its_command_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    run(RecipesOptions())
    listed: dict[str, str] = {}
    command = ""
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("wav2vec2 "):
            command = line.removeprefix("wav2vec2 ").partition(" RECIPE")[0]
        elif line.startswith("  "):
            name, *words = line.split()
            assert words, name
            assert len(line) <= 130
            listed[name] = command
    files = [file.relative_to(recipe_folder()).with_suffix("") for file in recipe_folder().rglob("*.toml")]
    assert sorted(listed) == sorted(map(str, files))
    for name, command in listed.items():
        first = Path(name).name.split("_")[0]
        assert first not in ("pretrain", "finetune", "lm") or command.startswith(first)


@pytest.mark.parametrize("name", ["pretrain_small_mfcc", "finetune_timit.toml", "lm_char_small", "ablation/edges_05"])
def test_a_printed_recipe_holds_every_value_and_reads_back(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(RecipesOptions(name))
    printed = tmp_path / "printed.toml"
    printed.write_text(capsys.readouterr().out)
    config = CONFIGS[command_of(printed)]
    assert "extends" not in printed.read_text()
    assert load_recipe(printed, config) == load_recipe(find_recipe(name), config)


def test_a_file_of_the_user_comes_before_a_packaged_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("pretrain_tiny.toml").parent == recipe_folder()
    Path("pretrain_tiny.toml").touch()
    assert find_recipe("pretrain_tiny.toml") == Path("pretrain_tiny.toml")
    assert "pretrain_base" in packaged_recipes()


def test_a_recipe_that_is_not_there_or_that_no_command_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such recipe; give a \.toml file, or a name from"):
        run(RecipesOptions("nowhere"))
    (tmp_path / "odd.toml").write_text("[zebra]\nstripes = 3\n")
    with pytest.raises(UserError, match="unknown key 'zebra'"):
        run(RecipesOptions(str(tmp_path / "odd.toml")))
