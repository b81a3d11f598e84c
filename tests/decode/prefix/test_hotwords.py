from pathlib import Path

import pytest

from wav2vec2.decode.prefix.hotwords import DEFAULT_BONUS, read_hotwords, spelled_hotwords
from wav2vec2.errors import UserError
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "A", "B"))


def test_file_has_words_phrases_and_bonuses(tmp_path: Path) -> None:
    path = tmp_path / "hot.txt"
    path.write_text("ab\nA BA\t2.5\n\nb\t-1\n")
    hotwords = read_hotwords(path)
    assert hotwords == {"ab": DEFAULT_BONUS, "A BA": 2.5, "b": -1.0}
    assert spelled_hotwords(hotwords, VOCABULARY) == {"AB": DEFAULT_BONUS, "A": 2.5, "BA": 2.5, "B": -1.0}


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "hot.txt"
    with pytest.raises(UserError, match="not a readable list"):
        read_hotwords(path)
    path.write_text("AB\nA\tmuch\n")
    with pytest.raises(UserError, match=r"hot\.txt:2: 'much' is no number"):
        read_hotwords(path)
