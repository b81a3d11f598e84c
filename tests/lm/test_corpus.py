import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wav2vec2.errors import UserError
from wav2vec2.lm.corpus import Corpus
from wav2vec2.text.normalize import TextNormalization


@given(
    st.text(st.characters(codec="ascii") | st.sampled_from("éß’ \u200dİ")), st.sampled_from(["keep", "upper", "lower"])
)
def test_a_line_is_split_as_its_normal_form(line, case):
    corpus = Corpus.__new__(Corpus)
    corpus.normalization, corpus.ids = TextNormalization(case=case), False
    marks = {"<s>", "</s>", "<unk>"}
    words = [word for word in TextNormalization(case=case)(line).split() if word.lower() not in marks]
    assert [word for word in corpus.split(line) if word != "<unk>"] == words


def read(tmp_path, content, **options):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    return list(Corpus([path], **options))


def test_ids_marks_and_empty_lines_are_no_words(tmp_path):
    content = b"\xef\xbb\xbf1-2-3 <s> A B </s>\n\n1-2-4\n1-2-5\tC <UNK>\n"
    assert read(tmp_path, content, ids=True) == [["A", "B"], ["C", "<unk>"]]


def test_gzip_is_read_and_progress_reaches_the_end(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"one two\nthree\n"))
    corpus = Corpus([path, path])
    assert list(corpus) == [["one", "two"], ["three"]] * 2
    assert (corpus.sentences, corpus.words, corpus.position) == (4, 6, corpus.size)


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"", "no words found"), (b" \n\n", "no words found"), (b"a\nb\xff\n", "text.txt:2: not UTF-8")],
)
def test_bad_text_is_one_line(tmp_path, content, part):
    with pytest.raises(UserError, match=part):
        read(tmp_path, content)


def test_missing_and_cut_files_are_one_line(tmp_path):
    with pytest.raises(UserError, match="no such text file"):
        Corpus([tmp_path / "none.txt"])
    with pytest.raises(UserError, match="no text was given"):
        Corpus([])
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b"one two three\n" * 1000)[:-12])
    with pytest.raises(UserError, match="cut short"):
        list(Corpus([cut]))
