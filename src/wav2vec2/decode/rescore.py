"""N-best rescoring: a language model, such as the Transformer of section 4.4, reranks the hypotheses of any search.

The hypotheses of many utterances are scored side by side, one token at a time, so that the model gets batches; the
histories that they share are computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.context import Context, contexts_of
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

    def __call__(
        self,
        lists: Sequence[Sequence[Hypothesis]],
        vocabulary: Vocabulary,
        contexts: Sequence[Context] | None = None,
    ) -> list[list[Hypothesis]]:
        """Rank every list as `rescore` does, with the confidences of the new ranking."""
        ranked = rescore(
            lists,
            self.lm,
            vocabulary,
            self.lm_weight,
            self.word_score,
            lm_case=self.lm_case,
            source=self.source,
            contexts=contexts,
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
    contexts: Sequence[Context] | None = None,
) -> list[list[Hypothesis]]:
    """Return each list with new ``lm_score`` and ``score``, best first; equal scores keep their order.

    score = acoustic_score + lm_weight * lm_score + word_score * words; lm_score is the log-probability (nats) of the
    whole sentence, its end included. A model over symbols reads the symbols as they are, with word separators; a model
    over words reads words. The confidences of the old ranking are dropped. contexts: what came before each list's
    piece, as in `Decoder.decode`.

    Raises:
        UserError: the model is in another case than the vocabulary, or a weight is not a finite number.
    """
    if not np.isfinite([lm_weight, word_score]).all():
        raise UserError("rescoring: lm_weight and word_score must be finite numbers")
    flat = [hypothesis for hypotheses in nbest for hypothesis in hypotheses]
    words = [hypothesis_words(vocabulary, hypothesis) for hypothesis in flat]
    if reads_symbols(lm, vocabulary):
        table = symbol_indices(lm, vocabulary, lm_case, source).tolist()
        separator = None if vocabulary.word_separator is None else vocabulary.symbols.index(vocabulary.word_separator)
        indices = [[table[index] for index in hypothesis.ids] for hypothesis in flat]
        between = [] if separator is None else [table[separator]]
        earlier = [[*(table[i] for i in c.ids), *(between if c.ids else [])] for c in contexts_of(len(nbest), contexts)]
    else:
        find = token_finder(lm, vocabulary, lm_case, source)
        indices = [list(map(find, sentence)) for sentence in words]
        earlier = [list(map(find, context.words)) for context in contexts_of(len(nbest), contexts)]
    goes_on = [context.goes_on for context in contexts_of(len(nbest), contexts)]
    rows = [row for row, hypotheses in enumerate(nbest) for _ in hypotheses]
    scores = sentence_log_probabilities(lm, indices, [earlier[row] for row in rows], [goes_on[row] for row in rows])
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


def sentence_log_probabilities(
    lm: LanguageModel,
    sentences: Sequence[Sequence[int]],
    before: Sequence[Sequence[int]] | None = None,
    goes_on: Sequence[bool] | None = None,
) -> NDArray[np.float64]:
    """Return ln P of each sentence (indices of its tokens), its end included; (N,).

    before: tokens that precede each sentence, and are not scored. goes_on: whether the end is not scored either.
    """
    before = before or [[]] * len(sentences)
    goes_on = goes_on or [False] * len(sentences)
    out = np.zeros(len(sentences))
    for first in range(0, len(sentences), TOGETHER):
        part = slice(first, first + TOGETHER)
        out[part] = _walk(lm, sentences[part], before[part], goes_on[part])
    return out


def _walk(
    lm: LanguageModel,
    sentences: Sequence[Sequence[int]],
    before: Sequence[Sequence[int]],
    goes_on: Sequence[bool],
) -> NDArray[np.float64]:
    rows = [[*earlier, *sentence] for earlier, sentence in zip(before, sentences, strict=True)]
    lengths = np.array([len(row) for row in rows], np.int64)
    given = np.array([len(earlier) for earlier in before], np.int64)
    ends = ~np.array(goes_on, bool)
    tokens = np.zeros((len(rows), int(lengths.max(initial=0))), np.int64)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
    totals = np.zeros(len(rows))
    histories = np.full(len(rows), lm.start(), np.int64)
    for step in range(tokens.shape[1] + 1):
        done = np.flatnonzero((lengths == step) & ends)
        if len(done):
            totals[done] += lm.finish(histories[done])
        going = np.flatnonzero(lengths > step)
        if len(going):
            scores, following = lm.score(histories[going], tokens[going, step])
            totals[going] += np.where(step >= given[going], scores, 0.0)
            histories[going] = following
        lm.retain(histories[going])
    return totals
