import math
from dataclasses import replace
from pathlib import Path

import pytest

from wav2vec2.decode.presets import PAPER_PRESETS, Preset, Tuned, load_preset, write_preset
from wav2vec2.decode.search import SearchOptions
from wav2vec2.errors import UserError


def test_the_papers_presets_give_the_papers_scores() -> None:
    assert len(PAPER_PRESETS) == 20
    # The paper: 3.23 * log10 p = lm_weight * ln p.
    preset = load_preset("paper-ls-10min-4gram").search
    assert preset.lm_weight * math.log(0.1) == pytest.approx(3.23 * math.log10(0.1), abs=1e-5)
    assert (preset.word_score, preset.beam) == (-0.26, 1500)
    transformer = load_preset("paper-lv-1h-transformer").search
    assert (transformer.lm_weight, transformer.word_score, transformer.beam) == (1.33, -0.69, 500)


def test_a_file_is_read_back_with_its_paths(tmp_path: Path) -> None:
    inside, outside = tmp_path / "kept" / "lm" / "words.arpa", tmp_path / "lexicon.txt"
    inside.parent.mkdir(parents=True)
    inside.write_text("model")
    search = SearchOptions(beam=7, lm_weight=0.25, unknown_score=-math.inf, merge="logadd")
    tuned = Tuned("model", "manifest", "dev", 3, 0.25, 128, "tpe", 0, 500)
    preset = Preset("beam", str(inside), "", "fold", str(outside), search=search, tuned=tuned)
    path = tmp_path / "kept" / "preset.toml"
    write_preset(preset, path)
    text = path.read_text(encoding="utf-8")
    assert 'lm = "lm/words.arpa"' in text
    assert f'lexicon = "{outside}"' in text
    read = load_preset(path)
    assert replace(read, lm_print="") == preset
    (tmp_path / "kept").rename(tmp_path / "moved")
    assert load_preset(tmp_path / "moved" / "preset.toml").lm == str(tmp_path / "moved" / "lm" / "words.arpa")
    (tmp_path / "moved" / "lm" / "words.arpa").write_text("other")
    with pytest.raises(UserError, match=r"words\.arpa: .*was tuned with another language model"):
        load_preset(tmp_path / "moved" / "preset.toml")
    (tmp_path / "moved" / "lm" / "words.arpa").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        load_preset(tmp_path / "moved" / "preset.toml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("decoder = 'best'", "choose one of"),
        ("[search]\nbeams = 3", "did you mean 'search.beam'"),
        ("[search]\nbeam = 0", "at least 1"),
        ("[search]\nlm_weight = nan", "finite"),
        ("[search", "cannot be read as TOML"),
    ],
)
def test_broken_files_are_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "preset.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=reason) as caught:
        load_preset(path)
    assert str(path) in str(caught.value)


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean paper-ls-10min-4gram"):
        load_preset("paper-ls-10min-4-gram")
    with pytest.raises(UserError, match="did you mean paper-ls-10min-4gram"):
        load_preset("paper-ls-10m-4gram")
    with pytest.raises(UserError, match="names are paper-ls-10min-4gram"):
        load_preset("xyz")
