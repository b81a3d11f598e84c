"""CTC prefix beam search, our own: no lexicon needed, words or symbols under a language model, hotwords, n-best lists.

A reading's score is its acoustic log-probability + lm_weight * language model + word_score * words + silence_score *
separators + what hotwords add. Readings are compared by their symbols: equal symbols are one reading, whatever path
led there. A word is scored when a separator ends it and at the end of the utterance, where the sentence's end follows.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from wav2vec2.decode.confidence import word_confidences
from wav2vec2.decode.emissions import check_emissions
from wav2vec2.decode.hypothesis import Emissions, Hypothesis
from wav2vec2.decode.options import SearchOptions
from wav2vec2.decode.prefix.beam import ACTIVE, BONUS, LM, ROW, TOTAL, Beam
from wav2vec2.decode.prefix.finish import best_frames, spell
from wav2vec2.decode.prefix.rules import Guidance, LmCase, LmUnit, make_rules, make_trie, unit_of
from wav2vec2.decode.prefix.scores import InStep, NgramScored, Unscored
from wav2vec2.decode.prefix.tree import SYMBOL
from wav2vec2.decode.words import word_frames
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.ngram.model import NgramModel
from wav2vec2.text.vocabulary import Vocabulary

_READINGS_FOR_CONFIDENCE = 16


class BeamSearch:
    """`Decoder` by prefix beam search. The same input gives the same output, alone, in any batch, on any number of
    threads; ties go to the prefix that entered the beam first, of those that enter at one frame to the one grown from
    the older prefix, then to the more probable symbol, then to the lower id.

    lm_unit: what the language model's tokens are, `word` or `symbol` (one for each of the vocabulary's; `|` or a space
    for the separator), None finds out; without a word separator in the vocabulary (phones) every symbol is a word.
    lm_case: `fold` matches a word model in another case than the symbols'.
    hotwords: words with the nats that each occurrence adds; a part of it is granted while the word is being spelled and
    taken back if it does not become the word. words: if given, no others are written; with a word language model and
    `unknown_score` -inf its own words are that list.
    threads: None takes all cores. batch: utterances searched in step where the language model is asked from Python,
    all of them in one call. lm_name: what messages call the language model.

    Readings that differ in separators only are listed once. Where every reading holds a forbidden word the likeliest
    is given all the same, with a score of -inf. look_ahead: unfinished words are ranked by what an n-gram of words
    expects of them without their history, which changes what is pruned but no score.

    Raises UserError for a language model, hotwords or words that cannot be spelled in the vocabulary.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        options: SearchOptions | None = None,
        language_model: LanguageModel | None = None,
        *,
        lm_unit: LmUnit | None = None,
        lm_case: LmCase = "keep",
        hotwords: Mapping[str, float] | None = None,
        words: Iterable[str] | None = None,
        look_ahead: bool = True,
        threads: int | None = None,
        batch: int = 16,
        lm_name: str = "language model",
    ) -> None:
        self.options = options or SearchOptions()
        self._vocabulary, self._lm, self._batch = vocabulary, language_model, batch
        allowed = None if words is None else list(words)
        if lm_unit is None:
            lm_unit = "word" if language_model is None else unit_of(language_model, vocabulary)
        guidance = Guidance(language_model, lm_unit, lm_case, hotwords, allowed, look_ahead, lm_name)
        self._trie = make_trie(vocabulary, self.options, guidance)
        self._rules = make_rules(vocabulary, self.options, guidance, self._trie)
        self._closed = False
        self._threads = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="beam search")

    def decode(self, emissions: Sequence[Emissions]) -> list[list[Hypothesis]]:
        """See `Decoder.decode`."""
        if self._closed:
            raise UserError("this decoder is closed; make a new one")
        arrays = [check_emissions(array, len(self._vocabulary)) for array in emissions]
        if self._lm is None or isinstance(self._lm, NgramModel):
            return list(self._threads.map(self._decode_one, arrays))
        order = sorted(range(len(arrays)), key=lambda index: -len(arrays[index]))
        readings: list[list[Hypothesis]] = [[] for _ in arrays]
        for first in range(0, len(order), self._batch):
            rows = order[first : first + self._batch]
            beams = InStep(self._lm, self._rules, self._trie, [arrays[row] for row in rows]).run()
            found = self._threads.map(self._read, beams, [arrays[row] for row in rows])
            for row, hypotheses in zip(rows, found, strict=True):
                readings[row] = hypotheses
        return readings

    def close(self) -> None:
        """See `Decoder.close`."""
        self._closed = True
        self._threads.shutdown()

    def __enter__(self) -> "BeamSearch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode_one(self, emission: Emissions) -> list[Hypothesis]:
        scores: Unscored | NgramScored = Unscored()
        if isinstance(self._lm, NgramModel):
            scores = NgramScored(self._lm.arrays, self._lm.start(), self._lm.index("</s>"))
        return self._read(scores.search(self._rules, self._trie, emission), emission)

    def _read(self, beam: Beam, emission: Emissions) -> list[Hypothesis]:
        """List the readings in a finished beam."""
        slots = beam.order[: beam.counts[ACTIVE]]
        scores = beam.scores[slots, TOTAL] + beam.scores[slots, BONUS]
        ranked = slots[np.lexsort((np.arange(len(slots)), -beam.scores[slots, TOTAL], -scores))]
        wanted = max(self.options.nbest, min(_READINGS_FOR_CONFIDENCE, self.options.beam))
        found: dict[tuple[int, ...], Hypothesis] = {}
        for slot in ranked:
            if len(found) == wanted:
                break
            rows = spell(beam.tree, beam.slots[slot, ROW])
            ids = beam.tree[rows, SYMBOL].tolist()
            key = self._without_spare_separators(ids)
            if key in found:
                continue
            first, last = best_frames(beam.tree, rows, emission, self._rules.blank)
            total, bonus, lm_score = (
                float(beam.scores[slot, TOTAL]),
                float(beam.scores[slot, BONUS]),
                float(beam.scores[slot, LM]),
            )
            found[key] = Hypothesis(ids, first.tolist(), total + bonus, last.tolist(), total, lm_score)
        return self._with_confidences(list(found.values()))

    def _without_spare_separators(self, ids: Sequence[int]) -> tuple[int, ...]:
        separator = self._rules.separator
        kept = [s for s, before in zip(ids, [separator, *ids], strict=False) if not s == before == separator]
        return tuple(kept[:-1] if kept and kept[-1] == separator else kept)

    def _with_confidences(self, readings: list[Hypothesis]) -> list[Hypothesis]:
        shown = readings[: self.options.nbest]
        readings = [reading for reading in readings if np.isfinite(reading.score)]  # forbidden ones come last
        spans = [word_frames(self._vocabulary, reading) for reading in readings]
        scores = [reading.score for reading in readings]
        confidences = word_confidences(spans, scores, shown=min(len(shown), len(readings)))
        told = [replace(r, word_confidences=shares) for r, shares in zip(shown, confidences, strict=False)]
        return told + shown[len(told) :]
