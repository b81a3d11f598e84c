import math
from dataclasses import replace
from pathlib import Path

import pytest

from wav2vec2.decode.presets import PAPER_PRESETS, Preset, Tuned, fingerprint, load_preset, write_preset
from wav2vec2.decode.search import SearchOptions
from wav2vec2.errors import UserError

# The paper, tables 7 (pre-trained on LibriSpeech) and 8 (LibriVox): weight and word insertion score.
PAPER = {
    "ls-10min": ((3.23, -0.26), (1.20, -1.39)),
    "ls-1h": ((2.90, -1.62), (1.15, -2.08)),
    "ls-10h": ((2.46, -0.59), (1.06, -2.32)),
    "ls-100h": ((2.15, -0.52), (0.87, -1.00)),
    "ls-960h": ((1.74, 0.52), (0.92, -0.86)),
    "lv-10min": ((3.86, -1.18), (1.47, -2.82)),
    "lv-1h": ((3.09, -2.33), (1.33, -0.69)),
    "lv-10h": ((2.12, -0.90), (0.94, -1.05)),
    "lv-100h": ((2.15, -0.52), (0.87, -1.00)),
    "lv-960h": ((1.57, -0.64), (0.90, -0.31)),
}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_presets_give_the_papers_scores(name: str) -> None:
    assert sorted(PAPER_PRESETS) == sorted(f"paper-{one}-{kind}" for one in PAPER for kind in ("4gram", "transformer"))
    (weight, word_score), transformer_scores = PAPER[name]
    ngram, transformer = (load_preset(f"paper-{name}-{kind}") for kind in ("4gram", "transformer"))
    # weight * log10 p = lm_weight * ln p
    assert ngram.search.lm_weight * math.log(0.1) == pytest.approx(weight * math.log10(0.1), abs=1e-5)
    assert (ngram.search.word_score, ngram.search.beam) == (word_score, 1500)
    assert (transformer.search.lm_weight, transformer.search.word_score) == transformer_scores
    assert transformer.search.beam == 500
    for preset, decoder in ((ngram, "lexicon"), (transformer, "beam")):  # ours asks the Transformer in batches
        assert replace(preset, search=SearchOptions()) == Preset(decoder)
        assert replace(preset.search, beam=50, lm_weight=0.87, word_score=-1.0) == SearchOptions()


def test_a_file_is_read_back_with_its_paths(tmp_path: Path) -> None:
    inside, outside = tmp_path / "kept" / "lm" / "words.arpa", tmp_path / "lexicon.txt"
    inside.parent.mkdir(parents=True)
    inside.write_text("model")
    search = SearchOptions(beam=7, lm_weight=0.25, unknown_score=-math.inf, merge="logadd")
    tuned = Tuned("model", "manifest", "dev", 3, 0.25, 0.5, 128, "tpe", 0, 500)
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


def test_a_fingerprint_covers_size_name_and_both_ends_of_a_file(tmp_path: Path) -> None:
    megabyte = 1 << 20
    content = bytearray(3 * megabyte)
    path = tmp_path / "lm" / "words.bin"
    path.parent.mkdir()

    def printed(place: int | None = None, length: int = 3 * megabyte) -> tuple[str, str]:
        changed = content.copy()
        if place is not None:
            changed[place] = 1
        path.write_bytes(changed[:length])
        return fingerprint(path), fingerprint(path.parent)

    whole = printed()
    assert len(set(whole)) == 2
    for place in (0, megabyte - 1, 2 * megabyte, 3 * megabyte - 1):
        assert all(new != old for new, old in zip(printed(place), whole, strict=True))
    assert printed(3 * megabyte // 2) == whole  # the middle is not read: files may have many gigabytes
    assert all(new != old for new, old in zip(printed(None, 3 * megabyte - 1), whole, strict=True))
    assert printed(5, 6) != printed(None, 6)
    alone, folder = printed()
    path = path.rename(path.with_name("other.bin"))
    assert fingerprint(path) == alone
    assert fingerprint(path.parent) != folder


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
