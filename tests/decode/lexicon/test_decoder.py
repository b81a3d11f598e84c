from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.decode.lexicon.cases import ARPA, VOCABULARY, WORDS, bigram_nats, emissions, everything, lexicon, write_arpa

from wav2vec2.decode.hypothesis import Hypothesis
from wav2vec2.decode.lexicon.decoder import LexiconDecoder
from wav2vec2.decode.search import SearchOptions
from wav2vec2.decode.words import Lexicon
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import Unit
from wav2vec2.text.vocabulary import Vocabulary

pytest.importorskip("flashlight.lib.text.decoder")
WIDE = SearchOptions(beam=5000, threshold=1000.0, nbest=40, lm_weight=0.8, word_score=0.6)


def texts(hypotheses: Sequence[Hypothesis]) -> list[tuple[str, ...]]:
    return [tuple(VOCABULARY.decode(found.ids).split()) for found in hypotheses]


class BigramModel:
    """The model of the ARPA text as a LanguageModel in Python; a history is the last word's place, 0 the start."""

    unit: Unit = "words"

    def __init__(self) -> None:
        self.tokens = ["<unk>", "<s>", "</s>", *WORDS]
        self.unknown = 0
        self.retained = 0

    def index(self, token: str) -> int:
        return self.tokens.index(token) if token in WORDS else 0

    def start(self) -> int:
        return 1

    def _pair(self, history: int, token: str) -> float:
        left = () if history == 1 else (self.tokens[history],)
        whole, before = bigram_nats((*left, token)), bigram_nats(left)
        # A sentence's end differs between the two; take the words alone.
        return (whole - self._end(token)) - (before - self._end(left[0] if left else None))

    def _end(self, last: str | None) -> float:
        if last is None:
            return bigram_nats(())
        return {"CAB": -0.4, "BA": -0.6}.get(last, -0.9 + {"A": -0.2, "AB": -0.1}.get(last, 0.0)) * np.log(10)

    def score(
        self, histories: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        scores = [self._pair(int(h), self.tokens[int(t)]) for h, t in zip(histories, tokens, strict=True)]
        return np.array(scores, dtype=np.float32), tokens

    def finish(self, histories: NDArray[np.int64]) -> NDArray[np.float32]:
        ends = [self._end(None if history == 1 else self.tokens[int(history)]) for history in histories]
        return np.array(ends, dtype=np.float32)

    def retain(self, histories: NDArray[np.int64]) -> None:
        self.retained += 1


@pytest.mark.parametrize("merge", ["max", "logadd"])
@pytest.mark.parametrize("seed", range(4))
def test_finds_what_trying_everything_finds(tmp_path: Path, merge: str, seed: int) -> None:
    array = emissions(6, seed)
    options = replace(WIDE, merge=merge)
    expected = everything(array, options)
    with LexiconDecoder(VOCABULARY, lexicon(), write_arpa(tmp_path), workers=0) as decoder:
        found = decoder.decode([array], options)[0]
    count = min(len(found), len(expected))
    assert count >= 10
    assert [hypothesis.score for hypothesis in found[:count]] == pytest.approx(
        [score for score, _ in expected[:count]], abs=2e-4
    )
    assert texts(found)[:5] == [words for _, words in expected[:5]]
    for hypothesis, (_, words) in zip(found[:count], expected, strict=False):
        assert hypothesis.lm_score == pytest.approx(bigram_nats(words), abs=1e-4)
        whole = hypothesis.acoustic_score + 0.8 * hypothesis.lm_score + 0.6 * len(words)
        assert hypothesis.score == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_without_a_language_model_words_alone_count(seed: int) -> None:
    array = emissions(6, seed)
    found = LexiconDecoder(VOCABULARY, lexicon(), None, workers=0).decode([array], WIDE)[0]
    expected = everything(array, WIDE, lm=False)
    assert texts(found)[:5] == [words for _, words in expected[:5]]
    assert found[0].lm_score == 0.0


def test_a_model_in_python_scores_as_kenlm_does(tmp_path: Path) -> None:
    arrays = [emissions(frames, frames) for frames in (5, 12, 20)]
    options = replace(WIDE, beam=200)
    model = BigramModel()
    theirs = LexiconDecoder(VOCABULARY, lexicon(), write_arpa(tmp_path), workers=0).decode(arrays, options)
    ours = LexiconDecoder(VOCABULARY, lexicon(), model, workers=0).decode(arrays, options)
    for left, right in zip(theirs, ours, strict=True):
        assert texts(left)[0] == texts(right)[0]
        assert [found.score for found in left[:20]] == pytest.approx([found.score for found in right[:20]], abs=1e-3)
    assert model.retained >= 3


def test_workers_change_nothing(tmp_path: Path) -> None:
    arrays = [emissions(frames, frames) for frames in (0, 30, 7, 55, 1, 18)]
    arpa = write_arpa(tmp_path)
    options = replace(WIDE, beam=50, nbest=3)
    alone = LexiconDecoder(VOCABULARY, lexicon(), arpa, workers=0)
    with LexiconDecoder(VOCABULARY, lexicon(), arpa, workers=2) as many:
        for chosen in (options, replace(options, lm_weight=3.0), options):
            assert many.decode(arrays, chosen) == alone.decode(arrays, chosen)
    for decoder in (many, alone):
        decoder.close()
        with pytest.raises(UserError, match="closed"):
            decoder.decode(arrays, options)


def test_a_dying_worker_is_named(tmp_path: Path) -> None:
    decoder = LexiconDecoder(VOCABULARY, lexicon(), write_arpa(tmp_path), workers=1)
    pool = decoder._pool
    assert pool is not None
    process = pool._workers[0]._process
    assert process is not None
    process.kill()
    with pytest.raises(UserError, match=rf"worker 0 \(process {process.pid}\) died: signal 9") as caught:
        decoder.decode([emissions(5, 0)], SearchOptions())
    assert "\n" not in str(caught.value)


def test_a_worker_that_ended_by_itself_is_named_with_its_exit_status() -> None:
    decoder = LexiconDecoder(VOCABULARY, lexicon(), workers=1)
    pool = decoder._pool
    assert pool is not None
    process = pool._workers[0]._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # a worker ends when nobody can ask it any more
    with pytest.raises(UserError, match=rf"worker 0 \(process {process.pid}\) died: exit status 0;"):
        decoder.decode([emissions(5, 0)], SearchOptions())


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_language_models_are_one_line(tmp_path: Path, workers: int) -> None:
    short, wrong = tmp_path / "short.arpa", tmp_path / "wrong.arpa"
    short.write_text(ARPA[:150])
    wrong.write_text(ARPA.replace("-0.3\tA CAB", "x\tA CAB"))
    for path, reason in ((short, "End of file"), (wrong, "Could not parse"), (tmp_path / "absent", "no such file")):
        with pytest.raises(UserError, match=reason) as caught:
            LexiconDecoder(VOCABULARY, lexicon(), path, workers=workers)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_bad_emissions_are_one_line(tmp_path: Path) -> None:
    decoder = LexiconDecoder(VOCABULARY, lexicon(), write_arpa(tmp_path), workers=0)
    broken = emissions(5, 0)
    broken[2, 1] = np.nan
    with pytest.raises(UserError, match="NaN"):
        decoder.decode([broken], SearchOptions())
    with pytest.raises(UserError, match=r"shape \(5, 4\)"):
        decoder.decode([emissions(5, 0, width=4)], SearchOptions())
    phones = Vocabulary(("<pad>", "a"), unknown=None, word_separator=None, unit="whitespace")
    with pytest.raises(UserError, match="word separator"):
        LexiconDecoder(phones, lexicon())
    assert decoder.decode([emissions(0, 0)], SearchOptions()) == [[Hypothesis([], [], 0.0)]]
    impossible = np.full((4, 5), -np.inf, dtype=np.float32)
    impossible[:, 0] = 0.0
    assert decoder.decode([impossible], SearchOptions())[0][0].ids == []


def test_frames_and_word_confidences(tmp_path: Path) -> None:
    path = [0, 2, 2, 3, 0, 1, 1, 0, 3, 2, 0, 0]  # AB | BA
    array = np.full((len(path), 5), -6.0, dtype=np.float32)
    array[np.arange(len(path)), path] = -0.01
    found = LexiconDecoder(VOCABULARY, lexicon(), write_arpa(tmp_path), workers=0).decode([array], SearchOptions())[0][
        0
    ]
    assert VOCABULARY.decode(found.ids) == "AB BA"
    assert (found.frames, found.last_frames) == ([1, 3, 5, 8, 9], [2, 3, 6, 8, 9])
    assert len(found.word_confidences) == 2
    assert all(0.9 < share <= 1.0 for share in found.word_confidences)
    assert found.acoustic_score == pytest.approx(-0.12, abs=1e-3)
    even = np.full((12, 5), -1.6, np.float32)
    flat = LexiconDecoder(VOCABULARY, lexicon(), None, workers=0).decode([even], SearchOptions())[0][0]
    assert all(share < 0.9 for share in flat.word_confidences)


def test_silence_counts_for_every_frame_of_a_separator_and_not_as_acoustics(tmp_path: Path) -> None:
    path = [2, 3, 1, 1, 1, 3, 2]  # AB ||| BA
    array = np.full((len(path), 5), -20.0, dtype=np.float32)
    array[np.arange(len(path)), path] = -0.01
    decoder = LexiconDecoder(VOCABULARY, lexicon(), write_arpa(tmp_path), workers=0)
    for silence in (-0.5, 0.0, 0.7):
        found = decoder.decode([array], replace(WIDE, silence_score=silence))[0][0]
        assert VOCABULARY.decode(found.ids) == "AB BA"
        assert found.acoustic_score == pytest.approx(-0.07, abs=1e-3)
        added = 0.8 * bigram_nats(("AB", "BA")) + 0.6 * 2 + 3 * silence
        assert found.score == pytest.approx(-0.07 + added, abs=1e-3)


def test_silence_counts_for_real_frames_alone(tmp_path: Path) -> None:
    array = emissions(8, 3)
    options = replace(WIDE, beam=500)
    arpa = write_arpa(tmp_path)
    decoder = LexiconDecoder(VOCABULARY, lexicon(), arpa, workers=0)
    plain = decoder.decode([array], options)[0]
    best = decoder.decode([array], replace(options, silence_score=-50.0))[0][0]
    assert VOCABULARY.symbols.index("|") not in best.ids
    single = next(found for found in plain if found.ids == best.ids)
    assert best.score <= single.score + 1e-4


def test_unknown_words_only_where_they_may(tmp_path: Path) -> None:
    path = [2, 3, 1, 4, 0, 4, 2, 1]  # AB | CCA |: no word
    array = np.full((len(path), 5), -20.0, dtype=np.float32)
    array[np.arange(len(path)), path] = -0.01
    arpa = write_arpa(tmp_path)
    decoder = LexiconDecoder(VOCABULARY, lexicon(), arpa, workers=0)
    closed = decoder.decode([array], SearchOptions())[0][0]
    assert set(VOCABULARY.decode(closed.ids).split()) <= set(WORDS)
    best = decoder.decode([array], SearchOptions(lm_weight=2.0, unknown_score=-1.0))[0][0]
    assert best.acoustic_score > closed.acoustic_score
    # flashlight lets an unknown word end after any beginning of a word: C, then CA.
    assert VOCABULARY.decode(best.ids) == "AB C CA"
    assert best.score == pytest.approx(best.acoustic_score + 2.0 * best.lm_score - 3.0, abs=1e-3)
    assert best.acoustic_score == pytest.approx(-0.08, abs=1e-3)


def test_words_spelled_in_other_symbols_are_written_as_words() -> None:
    sounds = Lexicon(("sea", "see", "say"), ("sea", "see", "say"), ((2, 3), (2, 3), (2, 4)))
    path = [2, 3, 1, 2, 4]
    array = np.full((len(path), 5), -8.0, dtype=np.float32)
    array[np.arange(len(path)), path] = -0.01
    found = LexiconDecoder(VOCABULARY, sounds, None, workers=0).decode([array], SearchOptions(nbest=2))[0]
    assert found[0].words[1] == "say"
    assert found[0].words[0] in ("sea", "see")
    assert {hypothesis.words[0] for hypothesis in found} == {"sea", "see"}
