"""N-best rescoring: hypotheses of any search, ranked anew by a language model (section 4.4's Transformer).

The hypotheses of many utterances walk through the model side by side, one word at a time, so it sees batches; what
they share is computed once.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.hypothesis import Hypothesis
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.words import check_case
from wav2vec2.text.normalize import WORD_SEPARATOR
from wav2vec2.text.vocabulary import Vocabulary

TOGETHER = 4096
"""Hypotheses scored side by side."""
_SAMPLED = 2000


def rescore(
    nbest: Sequence[Sequence[Hypothesis]],
    lm: LanguageModel,
    vocabulary: Vocabulary,
    lm_weight: float,
    word_score: float,
    *,
    unknown_score: float = 0.0,
) -> list[list[Hypothesis]]:
    """Return each list with new ``lm_score`` and ``score``, best first; equal scores keep their order.

    score = acoustic_score + lm_weight * lm_score + word_score * words + unknown_score * unknown words; lm_score is the
    log-probability (nats) of the whole sentence, its end included. A model with ``unit`` "characters" reads the symbols
    as they stand, word separators too; any other reads words. The confidences of the old ranking are dropped.

    Raises:
        UserError: the model is in another case than the vocabulary, or a score is not a number.
    """
    if not np.isfinite([lm_weight, word_score]).all() or np.isnan(unknown_score):
        raise UserError("rescoring: lm_weight and word_score must be finite numbers")
    _check_case(lm, vocabulary)
    flat = [hypothesis for hypotheses in nbest for hypothesis in hypotheses]
    words = [vocabulary.decode(hypothesis.ids).split() for hypothesis in flat]
    characters = lm.unit == "characters"
    tokens = [_symbols(hypothesis, vocabulary) for hypothesis in flat] if characters else words
    scores = sentence_log_probabilities(lm, tokens)
    ranked, place = [], 0
    for hypotheses in nbest:
        rescored = []
        for hypothesis in hypotheses:
            count, lm_score = len(words[place]), float(scores[place])
            score = hypothesis.acoustic_score + lm_weight * lm_score + word_score * count
            unknown = 0 if characters else sum(lm.index(word) == lm.unknown for word in words[place])
            score += unknown_score * unknown if unknown else 0.0
            rescored.append(replace(hypothesis, score=score, lm_score=lm_score, word_confidences=()))
            place += 1
        ranked.append(sorted(rescored, key=lambda one: -one.score))
    return ranked


def _symbols(hypothesis: Hypothesis, vocabulary: Vocabulary) -> list[str]:
    symbols = [vocabulary.symbols[index] for index in hypothesis.ids]
    return [WORD_SEPARATOR if symbol == vocabulary.word_separator else symbol for symbol in symbols]


def sentence_log_probabilities(lm: LanguageModel, sentences: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Ln P of each sentence (words, or characters for a model of these), its end included; (N,)."""
    out = np.zeros(len(sentences))
    for first in range(0, len(sentences), TOGETHER):
        some = [[lm.index(token) for token in sentence] for sentence in sentences[first : first + TOGETHER]]
        out[first : first + TOGETHER] = _walk(lm, some)
    return out


def _walk(lm: LanguageModel, sentences: list[list[int]]) -> NDArray[np.float64]:
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


def _check_case(lm: LanguageModel, vocabulary: Vocabulary) -> None:
    """Raise UserError when the model's words could be written by the recogniser in another case only."""
    frequent = [token for token in lm.tokens[:_SAMPLED] if not token.startswith("<")]
    check_case(frequent, lambda word: not vocabulary.unknown_symbols(word), "the language model", "the recogniser")
