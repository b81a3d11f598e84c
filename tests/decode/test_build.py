import math
import re
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.decode.lexicon.cases import VOCABULARY, emissions, write_arpa

from wav2vec2.cli import main
from wav2vec2.decode import build
from wav2vec2.decode.build import DecodingOptions, build_searches, make_lexicon, rescoring_model
from wav2vec2.decode.presets import Preset, load_preset, write_preset
from wav2vec2.decode.search import SearchOptions, run_searches
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.load import load_language_model
from wav2vec2.lm.ngram.kenlm_file import open_kenlm
from wav2vec2.text.vocabulary import Vocabulary

OTHER = """\\data\\
ngram 1=7

\\1-grams:
-2.0\t<unk>
-99\t<s>
-0.7\t</s>
-1.2\tA
-0.4\tAB
-1.3\tBA
-1.6\tBB

\\end\\
"""


def options(folder: Path, **changes: object) -> DecodingOptions:
    (folder / "other.arpa").write_text(OTHER, encoding="utf-8")
    given = {"lm": write_arpa(folder), "lm_weight": 0.5, "rescore": folder / "other.arpa", "rescore_weight": 0.8}
    return DecodingOptions(**{**given, "rescore_word_score": 0.1, "workers": 0, **changes})  # type: ignore[arg-type]


def sentence(model, words: list[str], share: float | None = None, other=None) -> float:
    """Log-probability of a sentence word by word; with `share`, of the linear mixture of two models."""
    total, histories = 0.0, [model.start(), *([] if other is None else [other.start()])]
    for word in [*words, None]:
        scores = []
        for place, one in enumerate([model, *([] if other is None else [other])]):
            history = np.array([histories[place]])
            if word is None:
                scores.append(float(one.finish(history)[0]))
            else:
                score, following = one.score(history, np.array([one.index(word)]))
                scores.append(float(score[0]))
                histories[place] = int(following[0])
        parts = [1.0] if share is None else [1.0 - share, share]
        total += math.log(sum(part * math.exp(score) for part, score in zip(parts, scores, strict=True)))
    return total


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_rescoring_ranks_by_the_other_model_or_by_the_mixture(tmp_path: Path, share: float) -> None:
    searches = build_searches(options(tmp_path, rescore_share=share, nbest=4), VOCABULARY)
    assert [search.title for search in searches] == [
        "2-gram",
        "Transformer, rescored" if share == 1.0 else "mixture, rescored",
    ]
    (first,), (second,) = run_searches(searches, VOCABULARY, [emissions(12, seed=3)])
    ngram, other = (load_language_model(tmp_path / name) for name in ("words.arpa", "other.arpa"))
    assert len(second) == 4
    for reading in second:
        words = VOCABULARY.decode(reading.ids).split()
        if "CAB" in words:  # the other model lacks it, and the mixture gives it a share of its unknown word
            continue
        expected = sentence(other, words) if share == 1.0 else sentence(ngram, words, share, other)
        assert reading.lm_score == pytest.approx(expected, abs=1e-4)
        assert reading.score == pytest.approx(reading.acoustic_score + 0.8 * expected + 0.1 * len(words), abs=1e-3)
    assert [reading.score for reading in second] == sorted((reading.score for reading in second), reverse=True)
    assert first[0].lm_score == pytest.approx(sentence(ngram, VOCABULARY.decode(first[0].ids).split()), abs=1e-4)


@pytest.mark.parametrize("decoder", ["beam", "lexicon"])
def test_a_mixture_reads_no_model_twice(tmp_path: Path, decoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if decoder == "lexicon":
        pytest.importorskip("flashlight.lib.text.decoder")
    opened = []

    def load(path: str, device: torch.device | None = None) -> LanguageModel:
        opened.append(Path(path).name)
        return load_language_model(path, device)

    monkeypatch.setattr(build, "load_language_model", load)
    chosen = options(tmp_path, rescore_share=0.3, decoder=decoder)
    first, second = build_searches(chosen, VOCABULARY)
    assert sorted(opened) == ["other.arpa", "words.arpa"]
    heard = [emissions(12, seed=seed) for seed in range(3)]
    before = run_searches([first], VOCABULARY, heard)
    mixed = run_searches([first, second], VOCABULARY, heard)
    assert mixed[0] == before[0] == run_searches([first], VOCABULARY, heard)[0]
    alone = build_searches(chosen, VOCABULARY, open_lm=load_language_model)
    assert run_searches(alone, VOCABULARY, heard) == mixed


def test_the_share_is_kept_by_a_preset(tmp_path: Path) -> None:
    chosen = options(tmp_path, rescore_share=0.3).resolve()
    write_preset(chosen, tmp_path / "p.toml")
    assert load_preset(tmp_path / "p.toml").rescore_share == 0.3
    assert type(rescoring_model(chosen)).__name__ == "InterpolatedLM"
    assert type(rescoring_model(replace(chosen, rescore_share=1.0))).__name__ == "NgramModel"
    alone = options(tmp_path, rescore_share=1.0, lm=None, decoder="beam").resolve()
    assert type(rescoring_model(alone)).__name__ == "NgramModel"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rescore_share": 0.0}, "--rescore-share 0: must be above 0"),
        ({"rescore_share": 1.5}, "--rescore-share 1.5"),
        ({"rescore_share": float("nan")}, "--rescore-share nan"),
        ({"rescore_share": 0.5, "lm": None, "decoder": "beam"}, "no model to mix with"),
    ],
)
def test_impossible_mixtures_are_named(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        options(tmp_path, **changes).resolve()


def test_models_over_other_words_cannot_be_mixed(tmp_path: Path) -> None:
    lower = OTHER.replace("A", "a").replace("B", "b")
    chosen = options(tmp_path, rescore_share=0.5)
    (tmp_path / "other.arpa").write_text(lower, encoding="utf-8")
    with pytest.raises(UserError, match="interpolation: the second model knows"):
        build_searches(chosen, Vocabulary(VOCABULARY.symbols, unknown=None))


@pytest.mark.parametrize("decoder", ["beam", "lexicon"])
def test_a_model_in_the_wrong_case_is_named_with_the_option_that_helps(tmp_path: Path, decoder: str) -> None:
    (tmp_path / "lower.arpa").write_text(OTHER.replace("A", "a").replace("B", "b"), encoding="utf-8")
    upper = Vocabulary(VOCABULARY.symbols, unknown=None)
    chosen = DecodingOptions(decoder=decoder, lm=tmp_path / "lower.arpa", workers=0)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"lower\.arpa: its words are not in upper case .* --lm-case fold"):
        build_searches(chosen, upper)


def test_hotwords_choose_our_search_and_are_refused_by_the_others(tmp_path: Path) -> None:
    hotwords = {"CAB": 9.0}
    (search,) = build_searches(DecodingOptions(hotwords=hotwords), VOCABULARY)
    assert search.title == "beam, no LM, hotwords"
    assert DecodingOptions(hotwords=hotwords, lexicon=write_arpa(tmp_path)).resolve().decoder == "beam"
    write_preset(options(tmp_path, decoder="lexicon").resolve(), tmp_path / "p.toml")
    for decoder in ("greedy", "lexicon"):
        with pytest.raises(UserError, match=f"--hotwords: they cannot be used with {decoder} decoding; add --decoder"):
            DecodingOptions(decoder=decoder, hotwords=hotwords, lm=write_arpa(tmp_path)).resolve()  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"--hotwords: preset .*p\.toml chooses lexicon decoding"):
        DecodingOptions(preset=str(tmp_path / "p.toml"), hotwords=hotwords).resolve()


def test_a_rescoring_model_in_the_wrong_case_is_named_at_once_or_folded(tmp_path: Path) -> None:
    upper = Vocabulary(VOCABULARY.symbols, unknown=None)
    chosen = options(tmp_path, lm_case=None, decoder="beam")
    assert chosen.rescore is not None
    chosen.rescore.write_text(OTHER.replace("A", "a").replace("B", "b"), encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.arpa: its words are not in upper case .* --lm-case fold"):
        build_searches(chosen, upper)
    assert len(build_searches(replace(chosen, lm_case="fold"), upper)) == 2


def test_our_search_refuses_a_lexicon_that_spells_words_otherwise(tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("AB\tA B |\nBA\tC A |\n", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"lexicon\.txt: spells 'BA' in symbols other than its letters; choose --decoder lexicon"
    ):
        build_searches(DecodingOptions(decoder="beam", lexicon=lexicon), VOCABULARY)
    lexicon.write_text("AB\tA B |\nBA\tB A |\n", encoding="utf-8")
    (search,) = build_searches(DecodingOptions(decoder="beam", lexicon=lexicon), VOCABULARY)
    (((reading,),),) = run_searches([search], VOCABULARY, [emissions(12, seed=3)])
    assert {*VOCABULARY.decode(reading.ids).split()} <= {"AB", "BA"}


def test_a_lexicon_is_matched_to_the_words_of_its_language_model(tmp_path: Path) -> None:
    upper = Vocabulary(VOCABULARY.symbols, unknown=None)
    lm, lexicon = tmp_path / "lower.arpa", tmp_path / "lexicon.txt"
    lm.write_text(OTHER.replace("A", "a").replace("B", "b"), encoding="utf-8")
    lexicon.write_text("AB\tA B |\nBA\tA A |\nCAB\tC A B |\n", encoding="utf-8")
    chosen = Preset("lexicon", str(lm), lm_case="fold", lexicon=str(lexicon))
    matched = make_lexicon(chosen, upper)
    assert matched.words == ("AB", "BA", "CAB")
    assert matched.lm_words == ("ab", "ba", "CAB")
    assert matched.spellings == ((2, 3), (2, 2), (4, 2, 3))
    assert make_lexicon(replace(chosen, lm=None), upper).lm_words == ("AB", "BA", "CAB")
    assert sorted(make_lexicon(replace(chosen, lexicon=None), upper).lm_words) == ["a", "ab", "ba", "bb"]
    with pytest.raises(UserError, match=r"lower\.arpa: its words are not in the lexicon's case; add --lm-case fold"):
        make_lexicon(replace(chosen, lm_case="keep"), upper)


def test_our_search_is_the_default_where_it_is_as_good(tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    lm = write_arpa(tmp_path)
    lexicon = tmp_path / "lexicon.txt"
    assert DecodingOptions().resolve().decoder == "greedy"
    binary = tmp_path / "lm.bin"
    binary.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n")
    assert DecodingOptions(lm=lm).resolve().decoder == DecodingOptions(lm=tmp_path).resolve().decoder == "beam"
    assert DecodingOptions(lm=binary).resolve().decoder == "lexicon"
    assert DecodingOptions(lm=lm, lexicon=lexicon).resolve().decoder == "lexicon"
    assert DecodingOptions(lm=lm, lexicon=lexicon, decoder="beam").resolve().decoder == "beam"
    assert DecodingOptions(lm=lm, preset="paper-ls-10h-4gram").resolve().decoder == "lexicon"
    assert DecodingOptions(lm=lm, preset="paper-ls-10h-4gram", decoder="beam").resolve().decoder == "beam"


def test_the_default_weight_is_fairseqs_in_natural_logarithms() -> None:
    assert SearchOptions().lm_weight == pytest.approx(2 / math.log(10), abs=5e-3)


def test_help_names_the_defaults_of_a_search(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # one column
    assert main(["transcribe", "--help"]) == 0
    shown = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    for option in fields(SearchOptions):
        found = re.search(rf"--{option.name.replace('_', '-')} .*?\(default: ([^)]*)\)", shown, re.DOTALL)
        assert found is not None
        assert found[1] == (option.default if isinstance(option.default, str) else f"{option.default:g}")


def test_without_flashlight_our_own_search_is_taken_and_what_needs_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("decoder", "decoder.kenlm", "dictionary"):  # as on Python 3.13
        monkeypatch.setitem(sys.modules, f"flashlight.lib.text.{name}", None)
    (tmp_path / "lexicon.txt").write_text("AB\tA B |\n", encoding="utf-8")
    arpa = write_arpa(tmp_path)
    chosen = DecodingOptions(lm=arpa, lexicon=tmp_path / "lexicon.txt")
    assert chosen.resolve().decoder == "beam"
    (search,) = build_searches(chosen, VOCABULARY)
    assert search.decoder is not None
    with pytest.raises(UserError, match=r"not installed \(there is none for Python 3\.13.*choose --decoder beam"):
        build_searches(DecodingOptions(decoder="lexicon", lm=arpa), VOCABULARY)
    with pytest.raises(UserError, match=r"a KenLM binary needs flashlight-text, which is not installed .* ARPA"):
        open_kenlm(str(arpa), ["AB"])
