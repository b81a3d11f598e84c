from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.small_models import GROUP
from tests.train.tiny_run import finetune_config

from wav2vec2.checkpoints.huggingface.directory import save
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import write_manifest
from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train.finetune.command import run
from wav2vec2.train.finetune.config import FinetuneConfig
from wav2vec2.train.finetune.start import build_model
from wav2vec2.train.finetune.text import TextConfig, normalization_of

Write = Callable[..., Manifest]


@pytest.fixture
def write(labelled_corpus: Path, tmp_path: Path) -> Write:
    row = next(iter(Manifest.open(labelled_corpus)))

    def write(*texts: str, language: str = "") -> Manifest:
        rows = [replace(row, id=f"u{n}", text=text, language=language) for n, text in enumerate(texts)]
        return Manifest.open(write_manifest(rows, tmp_path / "m.parquet"))

    return write


def test_the_language_of_the_manifest_spells_numbers(write: Write) -> None:
    normalization, lines = normalization_of(TextConfig(auto=True), write("J’ai 21 ans!", language="fra"))
    assert normalization("J’ai 21 ans!") == "j'ai vingt et un ans"
    assert lines[0] == "text: script: Latin (100 %); language: French"
    assert "text: digits: the numbers of 1 transcripts are spelled in French" in lines


def test_a_given_option_wins(write: Write) -> None:
    config = TextConfig(auto=True, digits="ascii", hyphens="keep", case="upper")
    normalization, _ = normalization_of(config, write("peut-être 21"))
    assert normalization("peut-être ٢١") == "PEUT-ÊTRE 21"


def test_a_manifest_that_names_a_language_changes_nothing_unasked(write: Write) -> None:
    manifest = write("Işık", language="tr")
    assert normalization_of(TextConfig(case="lower"), manifest)[0]("I") == "i"
    assert normalization_of(TextConfig(case="lower", language="tr"), manifest)[0]("I") == "ı"


def test_names_of_digits_are_of_the_language(write: Write) -> None:
    normalization, (line,) = normalization_of(TextConfig(digits="names", language="de"), write("Zimmer 21"))
    assert normalization("Zimmer 21") == "Zimmer zwei eins"
    assert line == "text: digits become German words: null eins zwei drei vier fünf sechs sieben acht neun"
    _, (line,) = normalization_of(TextConfig(digits="names"), write("Zimmer 21"))
    assert line.startswith("text: digits become English words: zero one ")
    with pytest.raises(UserError, match=r"inserts English words into Cyrillic letters: .*--text\.language ru"):
        normalization_of(TextConfig(digits="names"), write("комната 21"))


def test_phones_have_no_script(write: Write) -> None:
    with pytest.raises(UserError, match="for characters"):
        normalization_of(TextConfig(auto=True, symbols="whitespace"), write("aa b"))


def test_a_vocabulary_brings_its_normalisation(write: Write) -> None:
    _, (line,) = normalization_of(TextConfig(auto=True, vocabulary="m"), write("aa 2"))
    assert line == "text: vocabulary and normalisation are those of m"


def test_a_fine_tuned_model_keeps_what_was_chosen(
    labelled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [replace(row, text=f"{row.text} 2!", language="de") for row in Manifest.open(labelled_corpus)]
    manifest = write_manifest(rows, tmp_path / "m.parquet")
    config = finetune_config(manifest, tmp_path / "run", "scratch")
    run(replace(config, text=TextConfig(auto=True), train=replace(config.train, updates=1)))
    said = capsys.readouterr().out
    assert "text: script: Latin (100 %); language: German" in said
    assert said.index("text: script") < said.index("vocabulary: ")
    assert Vocabulary.load(tmp_path / "run").normalize("A 1") == "A EINS"


def test_it_is_said_when_an_output_layer_and_its_tokenizer_are_replaced(tmp_path: Path) -> None:
    old = Vocabulary.from_transcripts(["ab"])
    save(Wav2Vec2ForCTC(GROUP, old), tmp_path / "run" / "model")
    config = FinetuneConfig(init=str(tmp_path / "run"))
    _, lines = build_model(config, Vocabulary.from_transcripts(["cd"]))
    (line,) = [line for line in lines if "replaced" in line]
    assert f"{tmp_path / 'run'} (7 symbols) are replaced" in line
    assert f"--text.vocabulary {tmp_path / 'run'} keeps them" in line
    _, lines = build_model(config, Vocabulary.load(tmp_path / "run"))
    assert "output layer kept" in lines[0]
