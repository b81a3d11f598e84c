import gzip
import math
from collections.abc import Sequence

import numpy as np
import pytest
from tests.lm.transformer.tiny_lm import WORDS, language_model

from wav2vec2 import cli
from wav2vec2.lm import perplexity
from wav2vec2.lm.perplexity import Perplexity, measure_perplexity

TEXT = "u-1 the cat sat\nu-2 the cat's hat\nu-3 a cat sat\nu-4 the naïve cat\n"


def test_many_sentences_of_any_length_count_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perplexity, "_BATCH", 7)
    random = np.random.default_rng(0)
    model = language_model()
    words = [*WORDS, "nowhere", "never"]
    sentences = [random.choice(words, random.integers(0, 9)).tolist() for _ in range(40)]
    found = measure_perplexity(model, sentences)

    def alone(sentence: Sequence[str]) -> tuple[float, float]:
        total, lost, history = 0.0, 0.0, np.array([model.start()])
        for word in sentence:
            token = model.index(word)
            scores, history = model.score(history, np.array([token]))
            total += float(scores[0])
            lost += float(scores[0]) if token == model.unknown else 0.0
        return total + float(model.finish(history)[0]), lost

    totals = np.array([alone(sentence) for sentence in sentences]).sum(0)
    assert (found.sentences, found.words, found.tokens) == (40, sum(map(len, sentences)), sum(map(len, sentences)))
    assert found.unknown == sum(word in ("nowhere", "never") for sentence in sentences for word in sentence)
    assert found.log_probability == pytest.approx(totals[0], rel=1e-5)
    assert found.unknown_log_probability == pytest.approx(totals[1], rel=1e-5)


def test_perplexities_by_hand() -> None:
    found = Perplexity(2, 5, 8, 3, -30.0, -12.0)
    assert found.with_unknown == pytest.approx(math.exp(30 / 10))
    assert found.without_unknown == pytest.approx(math.exp(18 / 7))
    assert found.per_word == pytest.approx(math.exp(30 / 7))
    assert Perplexity(1, 1, 1, 0, -2e3, 0.0).with_unknown == math.inf
    assert Perplexity(1, 0, 0, 0, -699.0, 0.0).with_unknown == pytest.approx(math.exp(699))


def refused(capsys, *arguments):
    assert cli.main(["lm", "perplexity", *map(str, arguments)]) == 2
    _, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    return err


def test_perplexity_with_and_without_unknown_words(tmp_path, capsys):
    lm, text = tmp_path / "lm.arpa", tmp_path / "dev.txt"
    lm.write_text("\\data\\\nngram 1=5\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-0.5\t</s>\n-1\tA\n-1\tB\n\n\\end\\\n")
    text.write_text("A B ZEBRA\nA\n")
    assert cli.main(["lm", "perplexity", str(lm), str(text)]) == 0
    said = capsys.readouterr().out
    assert "2 sentences, 4 words" in said
    assert "unknown words: 1 of 4 (25.00 %)" in said
    with_unknown, without = 10 ** ((3 + 2 + 2 * 0.5) / 6), 10 ** ((3 + 2 * 0.5) / 5)
    assert f"{with_unknown:.2f} with unknown ones, {without:.2f} without" in said
    assert "--case upper" in refused(capsys, lm, _written(tmp_path, "a b\nb\n"))
    assert "no \\data\\ line" in refused(capsys, text, text)


def _written(tmp_path, content):
    path = tmp_path / "other.txt"
    path.write_text(content)
    return path


def test_a_gzipped_arpa_has_the_same_perplexity(tmp_path):
    text, lm, packed = _written(tmp_path, TEXT), tmp_path / "lm.arpa", tmp_path / "lm.arpa.gz"
    assert cli.main(["lm", "ngram", str(text), "--ids", "--order", "3", "--out", str(lm)]) == 0
    packed.write_bytes(gzip.compress(lm.read_bytes()))
    found = [perplexity.run(perplexity.PerplexityOptions(path, (text,), ids=True)) for path in (lm, packed)]
    assert found[0] == found[1]
    assert found[0].unknown == 0


class EvenCharacters:
    """A model of characters, all equally likely."""

    unit = "characters"
    tokens = ("<unk>", *"AB|")
    unknown = 0

    def index(self, token):
        return self.tokens.index(token) if token in self.tokens else 0

    def start(self):
        return 0

    def score(self, histories, tokens):
        return np.full(len(tokens), -1.0, "f4"), histories + 1

    def finish(self, histories):
        return np.full(len(histories), -1.0, "f4")

    def retain(self, histories):
        pass


def test_a_model_of_characters_is_asked_for_characters():
    found = measure_perplexity(EvenCharacters(), [["AB", "A"], ["C"]])
    assert (found.sentences, found.words, found.tokens, found.unknown) == (2, 3, 5, 1)
    assert found.log_probability == -7
    assert found.with_unknown == pytest.approx(math.e)
    assert found.per_word == pytest.approx(math.exp(7 / 5))
