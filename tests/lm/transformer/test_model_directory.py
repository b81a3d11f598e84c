import json
from collections import Counter
from pathlib import Path

import pytest
from tests.lm.transformer.tiny_lm import language_model, uncached

from wav2vec2.errors import UserError
from wav2vec2.lm.transformer.model import TransformerLM
from wav2vec2.lm.transformer.model_directory import TokenVocabulary, tokens_of
from wav2vec2.text.normalize import TextNormalization

COUNTS = Counter({"b": 3, "a": 3, "c": 5, "<unk>": 9, "rare": 1, "</s>": 2, "two": 2})


def test_tokens_are_sorted_by_count_and_then_by_name() -> None:
    built = TokenVocabulary.build(COUNTS, "words", TextNormalization())
    assert built.tokens == ("</s>", "<unk>", "c", "a", "b", "two", "rare")
    assert len(built) == 7
    assert [built.numbers[token] for token in built.tokens] == list(range(7))
    assert TokenVocabulary.build(COUNTS, "words", TextNormalization(), min_count=2).tokens[2:] == ("c", "a", "b", "two")
    only = TokenVocabulary.build(
        COUNTS, "words", TextNormalization(), min_count=9, allowed=["new", "rare", "</s>", "a"]
    )
    assert only.tokens == ("</s>", "<unk>", "a", "rare", "new")
    with pytest.raises(UserError, match="no token occurs 6 times"):
        TokenVocabulary.build(COUNTS, "words", TextNormalization(), min_count=6)


def test_words_and_characters_become_numbers() -> None:
    words = TokenVocabulary(("</s>", "<unk>", "ab", "c"))
    assert words.encode(["c", "x", "ab"]) == [3, 1, 2]
    letters = TokenVocabulary(("</s>", "<unk>", "|", "a", "b"), "characters")
    assert letters.encode(["ab", "xa"]) == [3, 4, 2, 1, 3]
    assert list(tokens_of(["ab", "c"], "characters")) == ["a", "b", "|", "c"]
    assert list(tokens_of(["ab", "c"], "words")) == ["ab", "c"]
    assert letters.encode([]) == []


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    vocabulary = TokenVocabulary(("</s>", "<unk>", "é", "b"), "words", TextNormalization(case="lower"))
    vocabulary.save(tmp_path)
    assert (tmp_path / "tokens.txt").read_text(encoding="utf-8") == "</s>\n<unk>\né\nb\n"
    assert TokenVocabulary.load(tmp_path, "words", TextNormalization(case="lower")) == vocabulary
    (tmp_path / "tokens.txt").write_text("</s>\n<unk>\né\nb", encoding="utf-8")
    assert TokenVocabulary.load(tmp_path, "words", TextNormalization(case="lower")) == vocabulary


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"<unk>\n</s>\na\n", "does not begin with </s> and <unk>"),
        (b"</s>\n<unk>\na\na\n", "has 'a' twice"),
        (b"</s>\n<unk>\n\xff\n", "cannot be read"),
    ],
)
def test_a_broken_list_is_one_line(tmp_path: Path, content: bytes, part: str) -> None:
    (tmp_path / "tokens.txt").write_bytes(content)
    with pytest.raises(UserError, match=part) as caught:
        TokenVocabulary.load(tmp_path, "words", TextNormalization())
    assert str(tmp_path / "tokens.txt") in str(caught.value)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    language_model().save(tmp_path / "lm")
    return tmp_path / "lm"


def test_a_saved_model_is_the_same(saved: Path) -> None:
    lm = TransformerLM.load(saved)
    assert (lm.tokens, lm.unit) == (language_model().tokens, "words")
    assert uncached(lm, [2, 5, 3]) == uncached(language_model(), [2, 5, 3])
    assert sorted(file.name for file in saved.iterdir()) == ["config.json", "model.safetensors", "tokens.txt"]


def test_broken_directories_are_one_line(saved: Path) -> None:
    def said(directory: Path) -> str:
        with pytest.raises(UserError) as caught:
            TransformerLM.load(directory)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such language model" in said(saved / "nowhere")
    config, tokens, weights = ((saved / n) for n in ("config.json", "tokens.txt", "model.safetensors"))
    whole = {file: file.read_bytes() for file in (config, tokens, weights)}
    weights.write_bytes(whole[weights][:-100])
    assert "cut short" in said(saved)
    weights.write_bytes(whole[weights])
    tokens.write_text("</s>\n<unk>\nTHE\n")
    assert "3 tokens, the model has 10" in said(saved)
    tokens.write_text("</s>\n<unk>\nTHE\nTHE\n")
    assert "has 'THE' twice" in said(saved)
    tokens.unlink()
    assert "tokens.txt" in said(saved)
    tokens.write_bytes(whole[tokens])
    changed = json.loads(whole[config])
    changed["sizes"]["layers"] = 2
    config.write_text(json.dumps(changed))
    assert "does not fit" in said(saved)
    config.write_text(json.dumps({"model_type": "wav2vec2"}))
    assert "not a language model" in said(saved)
    config.write_text("{")
    assert "damaged" in said(saved)
    config.unlink()
    assert "has no config.json" in said(saved)
