"""transformers reads the tokenizer files that we write, with equal ids, and the reverse."""

from pathlib import Path

import pytest

from wav2vec2.errors import UserError
from wav2vec2.text.vocabulary import Vocabulary

transformers = pytest.importorskip("transformers")


def test_character_tokenizer_gives_our_ids_and_text(tmp_path: Path) -> None:
    vocabulary = Vocabulary.from_transcripts(["HELLO WORLD", "IT'S É"])
    vocabulary.save(tmp_path)
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
    for text in ("HELLO WORLD", "IT'S", "É WORDS Q"):
        assert tokenizer(text).input_ids == vocabulary.encode(text)
    assert len(tokenizer) == len(vocabulary)
    assert tokenizer.pad_token_id == vocabulary.blank
    frames = [frame for index in vocabulary.encode("HELLO WORLD") for frame in (index, index, 0)]
    assert tokenizer.decode(frames) == "HELLO WORLD"
    # transformers 5 treats the word delimiter as special (and drops blanks before it merges): words must stay apart.
    assert tokenizer.decode(vocabulary.encode("IT'S WORD"), skip_special_tokens=True) == "IT'S WORD"


def test_auto_tokenizer_reads_phones(tmp_path: Path) -> None:
    vocabulary = Vocabulary.from_transcripts(["dh ax k ae t", "a t"], unit="whitespace")
    vocabulary.save(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("dh ax a zz t").input_ids == vocabulary.encode("dh ax a zz t")
    assert tokenizer.decode([vocabulary.encode("dh")[0], 0, vocabulary.encode("t")[0]]) == "dh t"


def test_script_without_separator(tmp_path: Path) -> None:
    vocabulary = Vocabulary.from_transcripts(["今天天气很好"])
    vocabulary.save(tmp_path)
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
    assert tokenizer("今天好").input_ids == vocabulary.encode("今天好")
    assert len(tokenizer) == len(vocabulary)


def test_symbols_of_several_characters_are_matched_longest_first(tmp_path: Path) -> None:
    symbols = ("<pad>", "<s>", "</s>", "<unk>", "|", "s", "c", "h", "sch", "ch")
    vocabulary = Vocabulary(symbols)
    vocabulary.save(tmp_path)
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
    assert vocabulary.encode("schch hs") == [8, 9, 4, 7, 5]
    assert tokenizer("schchhs").input_ids == vocabulary.encode("schchhs") == [8, 9, 7, 5]


def test_a_directory_of_transformers_loads_here(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    vocabulary = Vocabulary.from_transcripts(["HELLO WORLD"])
    vocabulary.save(ours)
    transformers.Wav2Vec2CTCTokenizer.from_pretrained(ours).save_pretrained(theirs)
    assert Vocabulary.load(theirs) == vocabulary


def test_unwritable_directory_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: cannot be written"):
        Vocabulary.from_transcripts(["a"]).save(tmp_path / "file")
