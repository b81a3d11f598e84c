from pathlib import Path

import pytest

from wav2vec2.decode.prefix.hotwords import DEFAULT_WEIGHT, parse_hotwords, spell_hotwords
from wav2vec2.errors import UserError
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "A", "B"))


def test_words_and_files_with_and_without_weights(tmp_path: Path) -> None:
    path = tmp_path / "hot.txt"
    path.write_text("\ufeffab\nA BA\t2.5\n\nb: -1\n", encoding="utf-8")
    hotwords = parse_hotwords([str(path), "aa:8", "bb", "EU:n:3", "ab:7"])
    assert hotwords == {"ab": 7.0, "A BA": 2.5, "b": -1.0, "aa": 8.0, "bb": DEFAULT_WEIGHT, "EU:n": 3.0}
    assert parse_hotwords([]) == {}


def test_hotwords_take_the_form_of_the_transcripts() -> None:
    hotwords = {"ab": 4.0, "A BA": 2.5, "b": -1.0, "AB": 6.0}
    assert spell_hotwords(hotwords, VOCABULARY) == {"AB": 6.0, "A": 2.5, "BA": 2.5, "B": -1.0}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["hot.txt"], r"hot\.txt:2: 'much' is not a number"),
        (["AB:much"], "--hotwords: 'much' is not a number; write WORD:WEIGHT"),
        (["absent.txt"], r"--hotwords absent\.txt: no such file"),
        (["lists/absent"], "no such file"),
        (["latin.txt"], r"latin\.txt: cannot be read"),
    ],
)
def test_bad_hotwords_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hot.txt").write_text("AB\nA\tmuch\n", encoding="utf-8")
    Path("latin.txt").write_bytes(b"\xc4B\n")
    with pytest.raises(UserError, match=reason):
        parse_hotwords(arguments)


def test_words_without_a_spelling_are_one_line() -> None:
    names = Vocabulary(VOCABULARY.symbols, normalization=TextNormalization(case="upper", digits="error"))
    for phrase, vocabulary, reason in (
        ("route 66", names, "hotword 'route 66': .*digits"),
        ("axb", VOCABULARY, "hotword 'axb': the model's vocabulary has no 'X'"),
        (" ", VOCABULARY, "has no letter"),
    ):
        with pytest.raises(UserError, match=reason):
            spell_hotwords({phrase: 1.0}, vocabulary)
    with pytest.raises(UserError, match="finite"):
        spell_hotwords({"A": float("nan")}, VOCABULARY)
