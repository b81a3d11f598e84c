"""A model's vocabulary survives every format: symbols, blank, word separator, unit and text normalisation."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.checkpoints.made_up_models import BLANK_LAST, STANDARD, make
from tests.small_models import GROUP

import wav2vec2
from wav2vec2.checkpoints.convert import write
from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

FORMATS = ("huggingface", "fairseq", "fairseq2", "torchaudio")
GERMAN = TextNormalization(
    "lower",
    "names",
    "remove",
    ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
)
SPECIALS = STANDARD.symbols[:4]
VOCABULARIES = {
    "normalised letters": replace(STANDARD, normalization=GERMAN),
    "blank last": replace(BLANK_LAST, normalization=TextNormalization("lower")),
    # From the symbols alone these three would be taken for characters, for phones, and for characters again.
    "phones of one letter": Vocabulary((*SPECIALS, "a", "e", "k"), word_separator=None, unit="whitespace"),
    "characters and a digraph": Vocabulary((*SPECIALS, "a", "ch"), word_separator=None, normalization=GERMAN),
    "phones with a bar": Vocabulary((*SPECIALS, "|", "a", "t"), word_separator=None, unit="whitespace"),
    "another separator": Vocabulary((*SPECIALS, "\u2581", "a", "b"), word_separator="\u2581"),
}


@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.parametrize("source", FORMATS)
def test_every_conversion_keeps_the_vocabulary(source: str, name: str, tmp_path: Path) -> None:
    expected = VOCABULARIES[name]
    write(make("ctc", GROUP, expected), tmp_path / "source", source)
    loaded = wav2vec2.load(tmp_path / "source")
    assert loaded.vocabulary == expected if source == "huggingface" else kept(loaded.vocabulary) == kept(expected)
    for target in FORMATS:
        write(loaded, tmp_path / target, target)
        again = wav2vec2.load(tmp_path / target)
        assert (target, kept(again.vocabulary)) == (target, kept(expected))
        assert again.blank == again.vocabulary.blank
        if target == "huggingface":
            assert (again.vocabulary, again.blank) == (loaded.vocabulary, loaded.blank)


def kept(vocabulary: Vocabulary) -> tuple[object, ...]:
    """What every format keeps; other tools place and name blank, unknown and sentence marks in their own way."""
    special = {vocabulary.blank, vocabulary.unknown}
    plain = [s for i, s in enumerate(vocabulary.symbols) if i not in special and s not in SPECIALS]
    return plain, vocabulary.unit, vocabulary.word_separator, vocabulary.normalization


def test_nine_names_of_digits_are_refused_with_the_file(tmp_path: Path) -> None:
    write(make("ctc", GROUP, VOCABULARIES["normalised letters"]), tmp_path, "huggingface")
    path = tmp_path / "tokenizer_config.json"
    path.write_text(path.read_text().replace('"null",', ""))
    with pytest.raises(UserError, match=r"tokenizer_config\.json: .*digit_names needs ten names"):
        wav2vec2.load(tmp_path)


@pytest.mark.parametrize("source", FORMATS)
def test_damaged_text_rules_are_one_clear_line(source: str, tmp_path: Path) -> None:
    write(make("ctc", GROUP, VOCABULARIES["normalised letters"]), tmp_path, source)
    files = {"huggingface": "tokenizer_config.json", "fairseq2": "model.yaml", "torchaudio": "model.json"}
    if source == "fairseq":
        import torch

        content = torch.load(tmp_path / "checkpoint.pt")
        content["wav2vec2_text"]["normalization"]["case"] = "shouted"
        torch.save(content, tmp_path / "checkpoint.pt")
    else:
        path = tmp_path / files[source]
        path.write_text(path.read_text().replace('"lower"', '"shouted"'))
        assert json.loads(path.read_text())
    with pytest.raises(UserError, match="'case' is 'shouted'") as caught:
        wav2vec2.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_the_blank_of_a_model_without_a_vocabulary_is_kept(tmp_path: Path) -> None:
    wav2vec2.save(Wav2Vec2ForCTC(GROUP, 6, blank=5), tmp_path)
    again = wav2vec2.load(tmp_path)
    assert (again.vocabulary, again.blank) == (None, 5)
