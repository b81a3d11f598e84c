"""Our own CTC prefix beam search: it needs no lexicon, and takes language models over words or symbols, and hotwords.

The score of a hypothesis is its acoustic log-probability + lm_weight * language model + word_score * words +
silence_score * separators + the weights of its hotwords. A hypothesis is a sequence of symbols; all paths that lead to
it belong to it. A word is scored when a separator ends it, or at the end of the utterance, where the end of the
sentence is scored too.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from wav2vec2.decode.context import Context, contexts_of
from wav2vec2.decode.hypothesis import Emissions, Hypothesis, check_emissions, with_confidences
from wav2vec2.decode.prefix.beam import ACTIVE, BONUS, LM, ROW, TOTAL, Beam, Rules
from wav2vec2.decode.prefix.rules import Guidance, expected_scores, known_symbols, known_words, make_rules, make_trie
from wav2vec2.decode.prefix.scores import NO_END, InStep, NgramScored, Unscored
from wav2vec2.decode.prefix.spelling_trie import SpellingTrie
from wav2vec2.decode.prefix.tree import SYMBOL, best_frames, spell
from wav2vec2.decode.search import SearchOptions
from wav2vec2.decode.words import LmCase, build_lexicon, reads_symbols, spell_hotwords
from wav2vec2.device import available_cores
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel, histories_after
from wav2vec2.lm.ngram.model import NgramModel
from wav2vec2.text.vocabulary import Vocabulary

_COMPARED = 16  # hypotheses from which the confidences of words are computed


class PrefixDecoder:
    """`Decoder` by prefix beam search.

    The same input gives the same output, alone, in any batch, on any number of threads. Ties go to the prefix that
    entered the beam first; of those that entered at the same frame, to the one grown from the older prefix, then to the
    more probable symbol, then to the lower id.

    lm_over_symbols: whether the tokens of the language model are the vocabulary's symbols (with `|` or a space for the
    separator) and not words; None decides it by its tokens. Without a word separator in the vocabulary (phones) every
    symbol is a word. lm_case: `fold` matches a language model in another case than the vocabulary. lm_name: its name in
    messages. words: if given, no other words are written; without them, and with `unknown_score` -inf, only the words
    of the language model are. hotwords: words with the nats that each occurrence adds; a part of these is granted while
    the word is being spelled, and taken back if another word results. look_ahead: unfinished words are ranked by the
    score that a language model over words expects of them without their history; this changes which prefixes are
    pruned, but no final score. threads: None takes all cores. batch: utterances searched in step if the language model
    is asked from Python, which is then asked for all of them in one call.

    Hypotheses that differ only in separators are listed once. If every hypothesis has a forbidden word, the most
    probable one is returned nevertheless, with a score of -inf.

    Raises UserError for a language model, hotwords or words that cannot be spelled with the vocabulary.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        lm: LanguageModel | None = None,
        *,
        lm_over_symbols: bool | None = None,
        lm_case: LmCase = "keep",
        lm_name: str = "language model",
        words: Iterable[str] | None = None,
        hotwords: Mapping[str, float] | None = None,
        look_ahead: bool = True,
        threads: int | None = None,
        batch: int = 16,
    ) -> None:
        if vocabulary.word_separator is None and (hotwords or words is not None):
            raise UserError("hotwords and word lists need a vocabulary with a word separator, and this one has none")
        over_symbols = vocabulary.word_separator is None or bool(lm_over_symbols)
        if lm is not None and lm_over_symbols is None:
            over_symbols = reads_symbols(lm, vocabulary)
        symbols = known_symbols(lm, vocabulary, lm_case, lm_name) if lm is not None and over_symbols else None
        known = known_words(lm, vocabulary, lm_case, lm_name) if lm is not None and not over_symbols else {}
        expected = expected_scores(lm, known) if lm is not None and look_ahead and not over_symbols else None
        allowed = None if words is None else build_lexicon(words, vocabulary, lm_case).words
        favoured = spell_hotwords(hotwords or {}, vocabulary)
        self._guidance = Guidance(vocabulary, lm, symbols, known, allowed, favoured, expected)
        self._vocabulary, self._lm, self._batch = vocabulary, lm, batch
        self._prepared: tuple[SearchOptions, SpellingTrie, Rules] | None = None
        self._closed = False
        self._threads = ThreadPoolExecutor(threads or available_cores(), thread_name_prefix="beam search")

    def decode(
        self, emissions: Sequence[Emissions], options: SearchOptions, contexts: Sequence[Context] | None = None
    ) -> list[list[Hypothesis]]:
        """See `Decoder.decode`."""
        if self._closed:
            raise UserError("this decoder is closed; make a new one")
        arrays = [check_emissions(array, len(self._vocabulary)) for array in emissions]
        before = contexts_of(len(arrays), contexts)
        trie, rules = self._prepare(options)
        if self._lm is None or isinstance(self._lm, NgramModel):
            one = partial(self._decode_one, trie, rules, options)
            return list(self._threads.map(one, arrays, before))
        order = sorted(range(len(arrays)), key=lambda index: -len(arrays[index]))
        results: list[list[Hypothesis]] = [[] for _ in arrays]
        for first in range(0, len(order), self._batch):
            rows = order[first : first + self._batch]
            starts = histories_after(self._lm, [self._tokens(before[row]) for row in rows])
            going = [before[row].goes_on for row in rows]
            beams = InStep(self._lm, rules, trie, [arrays[row] for row in rows], starts, going).run()
            found = self._threads.map(lambda beam, row: self._read(beam, arrays[row], options), beams, rows)
            for row, hypotheses in zip(rows, found, strict=True):
                results[row] = hypotheses
        return results

    def close(self) -> None:
        """See `Decoder.close`."""
        self._closed = True
        self._threads.shutdown()

    def __enter__(self) -> "PrefixDecoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self, options: SearchOptions) -> tuple[SpellingTrie, Rules]:
        """Make trie and rules, or take those of the last call with the same options."""
        if self._prepared is None or self._prepared[0] != options:
            trie = make_trie(self._guidance, options)
            self._prepared = options, trie, make_rules(self._guidance, options, trie)
        return self._prepared[1:]

    def _tokens(self, context: Context) -> list[int]:
        """Return the tokens of the language model that come before a piece."""
        guidance, symbols = self._guidance, self._guidance.lm_symbols
        if self._lm is None:
            return []
        if symbols is None:
            return [guidance.known.get(word, self._lm.unknown) for word in context.words]
        name = self._vocabulary.word_separator
        between = [] if name is None or not context.ids else [self._vocabulary.symbols.index(name)]
        return [int(symbols[index]) for index in (*context.ids, *between)]

    def _decode_one(
        self, trie: SpellingTrie, rules: Rules, options: SearchOptions, emission: Emissions, context: Context
    ) -> list[Hypothesis]:
        scores: Unscored | NgramScored = Unscored()
        if isinstance(self._lm, NgramModel):
            heard = self._tokens(context)[-self._lm.order :]  # it looks back no further
            start = int(histories_after(self._lm, [heard])[0])
            end = NO_END if context.goes_on else self._lm.index("</s>")
            scores = NgramScored(self._lm.arrays, start, end)
        return self._read(scores.search(rules, trie, emission), emission, options)

    def _read(self, beam: Beam, emission: Emissions, options: SearchOptions) -> list[Hypothesis]:
        """List the hypotheses in a finished beam."""
        slots = beam.order[: beam.counts[ACTIVE]]
        scores = beam.scores[slots, TOTAL] + beam.scores[slots, BONUS]
        ranked = slots[np.lexsort((np.arange(len(slots)), -beam.scores[slots, TOTAL], -scores))]
        wanted = max(options.nbest, min(_COMPARED, options.beam))
        found: dict[tuple[int, ...], Hypothesis] = {}
        for slot in ranked:
            if len(found) == wanted:
                break
            rows = spell(beam.tree, beam.slots[slot, ROW])
            ids = beam.tree[rows, SYMBOL].tolist()
            key = self._without_spare_separators(ids)
            if key in found:
                continue
            first, last = best_frames(beam.tree, rows, emission, self._vocabulary.blank)
            total, bonus, lm_score = beam.scores[slot, [TOTAL, BONUS, LM]].tolist()
            found[key] = Hypothesis(ids, first.tolist(), total + bonus, last.tolist(), total, lm_score)
        return with_confidences(self._vocabulary, list(found.values()), shown=options.nbest)

    def _without_spare_separators(self, ids: Sequence[int]) -> tuple[int, ...]:
        name = self._vocabulary.word_separator
        separator = -1 if name is None else self._vocabulary.symbols.index(name)
        kept = [s for s, before in zip(ids, [separator, *ids], strict=False) if not s == before == separator]
        return tuple(kept[:-1] if kept and kept[-1] == separator else kept)
