"""Numbers and lines of ARPA files against Python's own, and files written and read again."""

import io
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wav2vec2.errors import UserError
from wav2vec2.lm.ngram import arpa
from wav2vec2.lm.ngram.arpa import ArpaWriter, read_arpa
from wav2vec2.lm.ngram.arpa_lines import _hash, _number, _put_number, find_word, hash_words


def octets(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


@given(st.floats(-1e4, 10, allow_nan=False), st.sampled_from(["", ".3f", ".10f", ".3e", "+.7f", ".25f"]))
@settings(max_examples=300)
@example(-0.0, "")
@example(-99.0, ".0f")
@example(1e-7, ".3e")
@example(-5.606388477316784e-14, ".25f")
def test_numbers_are_read_as_python_reads_them(value: float, form: str) -> None:
    text = format(value, form) if form else repr(value)
    data = octets(f"x{text}y")
    assert _number(data, 1, 1 + len(text)) == pytest.approx(float(text), rel=1e-14, abs=1e-200)


@pytest.mark.parametrize("text", ["-", "+", ".", "1.2.3", "1e", "1e+", "-x", "1x", "e5", "0x1", "1e5x", "--1", ""])
def test_what_is_no_number_is_nan(text: str) -> None:
    assert math.isnan(_number(octets(text), 0, len(text.encode())))


@pytest.mark.parametrize(("text", "value"), [("-inf", -math.inf), ("-INF", -math.inf), ("5.", 5.0), (".5", 0.5),
                                             ("1e-400", 0.0), ("-1E2", -100.0), ("00012", 12.0)])  # fmt: skip
def test_unusual_numbers(text: str, value: float) -> None:
    assert _number(octets(text), 0, len(text)) == value


@given(st.floats(-1e5, 0))
@settings(max_examples=300)
@example(-0.00000004)
@example(-0.00000006)
@example(-9.99999999)
@example(-120.5)
def test_numbers_are_written_with_seven_decimals(value: float) -> None:
    out = np.zeros(40, np.uint8)
    end = _put_number(out, 3, value)
    text = out[3:end].tobytes().decode()
    assert float(text) == pytest.approx(max(value, -9999.0), abs=0.51e-7)
    assert text == "0" or not text.startswith("-0.0000000")
    assert "." not in text or not text.endswith(("0", "."))
    assert len(text.partition(".")[2]) <= 7
    assert not out[end:].any()


@pytest.mark.parametrize("before", ["\n", "\r\n", "written by a tool\n\n"])
def test_lines_before_the_header_are_passed_over(before: str, tmp_path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_bytes(f"{before}\\data\\\nngram 1=2\n\n\\1-grams:\n-1\ta\n-0.5\tb\n\n\\end\\\n".encode())
    words, (unigrams,) = read_arpa(path)
    assert words == ["a", "b"]
    assert unigrams.log10_probability.tolist() == [-1.0, -0.5]
    path.write_bytes(path.read_bytes().replace(b"\\data\\", b"no \\data\\"))
    with pytest.raises(UserError, match=r"no \\data\\ line"):
        read_arpa(path)


letters_of_any_script = st.characters(codec="utf-8", exclude_categories=("Z", "C"))


@given(st.lists(st.text(letters_of_any_script, min_size=1, max_size=6), unique=True))
@settings(max_examples=60, deadline=None)
def test_every_word_is_found_and_no_other(words: list[str]) -> None:
    encoded = [word.encode() for word in words]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    letters = np.frombuffer(b"".join(encoded) + b"\0", np.uint8)[: int(offsets[-1])]
    table = hash_words(letters, offsets)
    assert len(table) >= 2 * len(words)
    assert sorted(table[table >= 0].tolist()) == list(range(len(words)))
    for number, word in enumerate(encoded):
        data = np.frombuffer(b"(" + word + b")", np.uint8)
        assert find_word(data, 1, 1 + len(word), table, letters, offsets) == number
        other = word + b"!"
        if other not in encoded:
            assert find_word(np.frombuffer(other, np.uint8), 0, len(other), table, letters, offsets) == -1


def test_the_hash_is_fnv_1a() -> None:
    assert int(_hash(octets("a"), 0, 1)) == 0xAF63DC4C8601EC8C
    assert int(_hash(octets("xfoobary"), 1, 7)) == 0x85944171F73967E8


def test_what_is_written_is_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(arpa, "_LINES", 2)  # several blocks
    path = tmp_path / "lm.arpa"
    random = np.random.default_rng(0)
    words = ["<unk>", "<s>", "</s>", "é", "ab"]
    bigrams = np.array([[2, 4], [4, 5], [5, 3], [5, 4], [4, 4]], np.int32)
    values = [-random.exponential(2.0, n) for n in (5, 5, 5, 5)]
    with ArpaWriter(path.open("wb"), words, [5, 5]) as writer:
        writer.section(1)
        writer.lines(np.arange(1, 6, dtype=np.int32)[:, None], values[0], values[1])
        writer.section(2)
        writer.lines(bigrams, values[2], None)
    found, (unigrams, pairs) = read_arpa(path)
    assert found == words
    assert unigrams.words.tolist() == [[n] for n in range(5)]
    assert pairs.words.tolist() == (bigrams - 1).tolist()
    np.testing.assert_allclose(unigrams.log10_probability, values[0], atol=2e-7, rtol=1e-6)
    np.testing.assert_allclose(unigrams.log10_backoff, values[1], atol=2e-7, rtol=1e-6)
    np.testing.assert_allclose(pairs.log10_probability, values[2], atol=2e-7, rtol=1e-6)
    assert not pairs.log10_backoff.any()
    assert path.read_text(encoding="utf-8").startswith("\\data\\\nngram 1=5\nngram 2=5\n\n\\1-grams:\n")
    assert path.read_text(encoding="utf-8").endswith("\n\n\\end\\\n")


def test_a_failure_leaves_no_end_mark_and_closes_the_file() -> None:
    class Kept(io.BytesIO):
        def close(self) -> None:
            self.content = self.getvalue()
            super().close()

    file = Kept()
    with pytest.raises(RuntimeError), ArpaWriter(file, ["a"], [1]):
        raise RuntimeError
    assert file.closed
    assert b"end" not in file.content
