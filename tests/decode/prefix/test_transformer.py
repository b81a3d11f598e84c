"""A Transformer in the search: batches of hypotheses and utterances give what one question at a time gives."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.lm.transformer.tiny_lm import WORDS, language_model

from wav2vec2.decode.hypothesis import Hypothesis
from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.search import SearchOptions
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.transformer.model import TransformerLM
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_transcripts([" ".join(WORDS)])
OPTIONS = SearchOptions(beam=25, lm_weight=1.2, word_score=0.5, nbest=10)


class OneByOne:
    """Asks the model for one word of one history at a time, as flashlight does."""

    def __init__(self, model: TransformerLM) -> None:
        self.unit, self.tokens, self.unknown = model.unit, model.tokens, model.unknown
        self.index, self.start, self.retain = model.index, model.start, model.retain
        self._model, self.calls = model, 0

    def score(
        self, histories: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        self.calls += len(histories)
        pairs = [self._model.score(histories[i : i + 1], tokens[i : i + 1]) for i in range(len(histories))]
        scores, following = zip(*pairs, strict=True)
        return np.concatenate(scores), np.concatenate(following)

    def finish(self, histories: NDArray[np.int64]) -> NDArray[np.float32]:
        self.calls += len(histories)
        return np.concatenate([self._model.finish(histories[i : i + 1]) for i in range(len(histories))])


class Counted(OneByOne):
    """Counts the calls of the search itself."""

    def score(
        self, histories: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        self.calls += 1
        return self._model.score(histories, tokens)

    def finish(self, histories: NDArray[np.int64]) -> NDArray[np.float32]:
        self.calls += 1
        return self._model.finish(histories)


def emissions() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(5)
    for text in ("THE CAT SAT ON THE MAT", "A DOG", "ABBA SAT ON A CAT", "", "THE DOG THE CAT"):
        ids = [symbol for index in VOCABULARY.encode(text) for symbol in (index, VOCABULARY.blank)]
        logits = rng.normal(size=(len(ids) + 3, len(VOCABULARY))) * 1.5
        logits[range(len(ids)), ids] += 2.5
        yield (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


def decoded(lm: LanguageModel, batch: int) -> list[list[Hypothesis]]:
    with PrefixDecoder(VOCABULARY, lm, threads=1, batch=batch) as decoder:
        return decoder.decode(list(emissions()), OPTIONS)


@pytest.mark.parametrize("batch", [1, 16])
def test_batches_give_what_one_question_at_a_time_gives(batch: int) -> None:
    alone, together = OneByOne(language_model()), Counted(language_model())
    expected, found = decoded(alone, 1), decoded(together, batch)
    for left, right in zip(expected, found, strict=True):
        assert [one.ids for one in left] == [one.ids for one in right]
        assert [one.frames for one in left] == [one.frames for one in right]
        assert [one.score for one in left] == pytest.approx([one.score for one in right], abs=1e-3)
        assert [one.lm_score for one in left] == pytest.approx([one.lm_score for one in right], abs=1e-3)
    longest, frames = max(map(len, emissions())), sum(map(len, emissions()))
    # A call a frame at most, the last words' and the end's besides; and two with which the decoder is made.
    assert together.calls <= (frames + 2 * len(expected) if batch == 1 else longest + 2) + 2
    assert alone.calls > (1 if batch == 1 else 4) * together.calls


def test_a_model_moves_to_a_device_and_starts_afresh() -> None:
    model = language_model()
    history = model.score(np.array([model.start()]), np.array([3]))[1]
    assert model.states > 0
    assert model.to(model.network.norm.weight.device) is model
    assert model.states == 0
    assert model.finish(np.array([model.start()])).shape == history.shape
