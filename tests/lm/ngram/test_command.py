import os
import shutil

import pytest

from wav2vec2 import cli
from wav2vec2.lm.ngram.arpa import read_arpa
from wav2vec2.lm.ngram.model import NgramModel
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

TEXT = "u-1 the cat sat\nu-2 the cat's hat\nu-3 a cat sat\nu-4 the naïve cat\n"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def command(*arguments):
    return cli.main(["lm", *map(str, arguments)])


def refused(capsys, *arguments):
    assert command(*arguments) == 2
    _, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    return err


def test_ids_case_gzip_and_lexicon(text, tmp_path, capsys):
    out, lexicon = tmp_path / "lm.arpa.gz", tmp_path / "lexicon.txt"
    assert command("ngram", text, "--ids", "--case", "upper", "--order", 2, "--out", out, "--lexicon", lexicon) == 0
    said = capsys.readouterr().out
    assert "from 4 sentences of 12 words" in said
    assert "too little text to estimate the discounts of order 1: using 0.5, 1, 1.5" in said
    assert set(NgramModel.load(out).tokens) == {"<unk>", "<s>", "</s>", *"THE CAT SAT CAT'S HAT A NAÏVE".split()}  # noqa: SIM905
    assert "CAT'S\tC A T ' S |" in lexicon.read_text(encoding="utf-8").splitlines()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lexicon.txt", "lm.arpa.gz", "text.txt"]


def test_words_that_the_symbols_cannot_spell_are_counted_and_named(text, tmp_path, capsys):
    Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", *"thecas'nv")).save(tmp_path / "model")
    lexicon = tmp_path / "lexicon.txt"
    line = ("ngram", text, "--ids", "--order", 2, "--out", tmp_path / "lm.arpa", "--lexicon", lexicon)
    assert command(*line, "--symbols", tmp_path / "model") == 0
    assert "6 words; left out 1 that the symbols cannot spell: naïve" in capsys.readouterr().out
    assert "naïve" not in lexicon.read_text(encoding="utf-8")
    assert "--case lower" in refused(capsys, *line, "--symbols", tmp_path / "model", "--case", "upper")


def test_a_vocabulary_limits_the_words(text, tmp_path, capsys):
    words = tmp_path / "words.txt"
    words.write_text("cat\tc a t |\nthe\nsat\n")
    out = tmp_path / "lm.arpa"
    assert command("ngram", text, "--ids", "--order", 1, "--out", out, "--vocab", words) == 0
    assert "outside the vocabulary: 4 words (33.33 %), counted as <unk>" in capsys.readouterr().out
    assert read_arpa(out)[0] == ["<unk>", "<s>", "</s>", "cat", "the", "sat"]
    words.write_text("CAT THE SAT\n")
    assert "--case upper" in refused(capsys, "ngram", text, "--ids", "--out", out, "--vocab", words)


def test_bad_input_is_one_line_and_leaves_the_old_file(text, tmp_path, capsys, monkeypatch):
    out = tmp_path / "lm.arpa"
    out.write_text("old")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    line = ("ngram", text, "--out", out)
    assert "no words found" in refused(capsys, "ngram", empty, "--out", out)
    assert "no text was given" in refused(capsys, "ngram", "--out", out)
    assert "no such text file" in refused(capsys, "ngram", tmp_path / "none", "--out", out)
    assert "--order 0" in refused(capsys, *line, "--order", 0)
    assert "--prune 2 1" in refused(capsys, *line, "--prune", 2, 1)
    assert "--memory" in refused(capsys, *line, "--memory", 0)
    assert "has no words" in refused(capsys, *line, "--vocab", empty)
    assert "--temporary" in refused(capsys, *line, "--temporary", tmp_path / "none")
    monkeypatch.setenv("PATH", os.devnull)
    assert "no lmplz on PATH" in refused(capsys, *line, "--engine", "lmplz")
    assert out.read_text() == "old"


def test_lmplz_gives_the_same_model_and_its_failures_are_one_line(text, tmp_path, capsys, monkeypatch):
    if shutil.which("lmplz") is None:
        pytest.skip("no lmplz on PATH")
    ours, theirs = tmp_path / "ours.arpa", tmp_path / "theirs.arpa.gz"
    for engine, out in (("own", ours), ("lmplz", theirs)):
        assert command("ngram", text, "--ids", "--order", 3, "--engine", engine, "--out", out, "--memory", 100) == 0
    mine, other = NgramModel.load(ours), NgramModel.load(theirs)
    assert mine.tokens == other.tokens
    assert mine.arrays.log_probability == pytest.approx(other.arrays.log_probability, abs=1e-5)


def test_a_failing_lmplz_tells_its_reason(text, tmp_path, capsys, monkeypatch):
    program = tmp_path / "bin" / "lmplz"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho one >&2\necho the reason >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    assert "lmplz failed: the reason" in refused(capsys, "ngram", text, "--engine", "lmplz", "--out", tmp_path / "x")


def test_a_text_takes_the_form_of_a_recognisers_transcripts(tmp_path, capsys):
    rules = TextNormalization("lower", "words", "remove", language="tr")
    Vocabulary.from_transcripts(["ışık yirmi bir ile"], normalization=rules).save(tmp_path / "run" / "model")
    (tmp_path / "tr.txt").write_text("IŞIK 21!\nİle, 1 ışık\n", encoding="utf-8")
    line = ("ngram", tmp_path / "tr.txt", "--out", tmp_path / "lm.arpa", "--lexicon", tmp_path / "lexicon.txt")
    assert command(*line, "--order", 2, "--symbols", tmp_path / "run") == 0
    words = {row.split("\t")[0] for row in (tmp_path / "lexicon.txt").read_text(encoding="utf-8").splitlines()}
    assert words == {"ışık", "yirmi", "bir", "ile"}
