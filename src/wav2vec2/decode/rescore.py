"""N-best rescoring: a language model, such as the Transformer of section 4.4, reranks the hypotheses of any search.

The hypotheses of many utterances are scored side by side, one token at a time, so that the model gets batches; the
histories that they share are computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.hypothesis import Hypothesis, hypothesis_words, with_confidences
from wav2vec2.decode.words import LmCase, reads_symbols, symbol_indices, token_finder
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.text.vocabulary import Vocabulary

TOGETHER = 4096
"""Hypotheses scored side by side."""


@dataclass(frozen=True)
class Rescorer:
    """A language model that reranks n-best lists, in place of the search's own.

    lm_case: as in `DecodingOptions`. source: the model's name in messages.
    """

    lm: LanguageModel
    lm_weight: float
    word_score: float
    lm_case: LmCase = "keep"
    source: str = "the language model"

    def __call__(self, lists: Sequence[Sequence[Hypothesis]], vocabulary: Vocabulary) -> list[list[Hypothesis]]:
        """Rank every list as `rescore` does, with the confidences of the new ranking."""
        ranked = rescore(
            lists, self.lm, vocabulary, self.lm_weight, self.word_score, lm_case=self.lm_case, source=self.source
        )
        return [with_confidences(vocabulary, nbest, shown=len(nbest)) for nbest in ranked]


def rescore(
    nbest: Sequence[Sequence[Hypothesis]],
    lm: LanguageModel,
    vocabulary: Vocabulary,
    lm_weight: float,
    word_score: float,
    *,
    lm_case: LmCase = "keep",
    source: str = "the language model",
) -> list[list[Hypothesis]]:
    """Return each list with new ``lm_score`` and ``score``, best first; equal scores keep their order.

    score = acoustic_score + lm_weight * lm_score + word_score * words; lm_score is the log-probability (nats) of the
    whole sentence, its end included. A model over symbols reads the symbols as they are, with word separators; a model
    over words reads words. The confidences of the old ranking are dropped.

    Raises:
        UserError: the model is in another case than the vocabulary, or a weight is not a finite number.
    """
    if not np.isfinite([lm_weight, word_score]).all():
        raise UserError("rescoring: lm_weight and word_score must be finite numbers")
    flat = [hypothesis for hypotheses in nbest for hypothesis in hypotheses]
    words = [hypothesis_words(vocabulary, hypothesis) for hypothesis in flat]
    if reads_symbols(lm, vocabulary):
        table = symbol_indices(lm, vocabulary, lm_case, source).tolist()
        indices = [[table[index] for index in hypothesis.ids] for hypothesis in flat]
    else:
        find = token_finder(lm, vocabulary, lm_case, source)
        indices = [list(map(find, sentence)) for sentence in words]
    scores = sentence_log_probabilities(lm, indices)
    ranked, place = [], 0
    for hypotheses in nbest:
        rescored = []
        for hypothesis in hypotheses:
            count, lm_score = len(words[place]), float(scores[place])
            score = hypothesis.acoustic_score + lm_weight * lm_score + word_score * count
            rescored.append(replace(hypothesis, score=score, lm_score=lm_score, word_confidences=()))
            place += 1
        ranked.append(sorted(rescored, key=lambda one: -one.score))
    return ranked


def sentence_log_probabilities(lm: LanguageModel, sentences: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Return ln P of each sentence (indices of its tokens), its end included; (N,)."""
    out = np.zeros(len(sentences))
    for first in range(0, len(sentences), TOGETHER):
        out[first : first + TOGETHER] = _walk(lm, sentences[first : first + TOGETHER])
    return out


def _walk(lm: LanguageModel, sentences: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    lengths = np.array([len(sentence) for sentence in sentences], np.int64)
    tokens = np.zeros((len(sentences), int(lengths.max(initial=0))), np.int64)
    for row, sentence in enumerate(sentences):
        tokens[row, : len(sentence)] = sentence
    totals = np.zeros(len(sentences))
    histories = np.full(len(sentences), lm.start(), np.int64)
    for step in range(tokens.shape[1] + 1):
        done = np.flatnonzero(lengths == step)
        if len(done):
            totals[done] += lm.finish(histories[done])
        going = np.flatnonzero(lengths > step)
        if len(going):
            scores, following = lm.score(histories[going], tokens[going, step])
            totals[going] += scores
            histories[going] = following
        lm.retain(histories[going])
    return totals
