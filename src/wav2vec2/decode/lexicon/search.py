"""The lexicon beam search of section 4.4 in one process: flashlight-text over a trie of the lexicon's spellings.

A word ends with the word separator. After an utterance's last frame stands one frame more that gives the separator for
nothing, so that the last word may end without one, as models write that were not taught to close a sentence with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wav2vec2.decode.collapse import collapse
from wav2vec2.decode.confidence import WordSpan, word_confidences
from wav2vec2.decode.hypothesis import Emissions, Hypothesis
from wav2vec2.decode.lexicon.file import Lexicon
from wav2vec2.decode.lexicon.flashlight_lm import python_lm, unigram_scores
from wav2vec2.decode.options import SearchOptions
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.load import load_language_model
from wav2vec2.lm.ngram.kenlm_file import KENLM_NATS, open_kenlm

# A log-probability (nats) beyond every threshold; flashlight's arithmetic does not like minus infinity.
_IMPOSSIBLE = 1e4
# Readings that the words' confidences are taken from.
_COMPARED = 100
# Words of one spelling that flashlight's trie holds.
_HOMOPHONES = 6
_UNKNOWN = "<unk>"


@dataclass(frozen=True)
class SearchSetup:
    """All that a worker needs for a search. lm: path of a language model, a LanguageModel, or None."""

    symbols: int
    blank: int
    separator: int
    lexicon: Lexicon
    lm: str | LanguageModel | None
    spelled: bool
    """Whether the symbols of every word spell it."""


class LexiconSearch:
    """Trie and language model, loaded once; every search may have other options."""

    def __init__(self, setup: SearchSetup) -> None:
        from flashlight.lib.text.decoder import SmearingMode, Trie, ZeroLM

        self._setup = setup
        lexicon = setup.lexicon
        self._labels = list(dict.fromkeys(lexicon.lm_words))
        lm, known = setup.lm, [*self._labels, _UNKNOWN]
        if isinstance(lm, str) and Path(lm).is_dir():
            lm = load_language_model(lm)
        self._lm_nats = KENLM_NATS if isinstance(lm, str) else 1.0
        scores = np.zeros(len(self._labels))
        if lm is None:
            self._lm: Any = ZeroLM()
        elif isinstance(lm, str):
            self._lm = open_kenlm(lm, known)
            scores = unigram_scores(self._lm, None, self._labels)
        else:
            self._lm = python_lm(lm, known)
            scores = unigram_scores(self._lm, lm, self._labels)
        label_of = {word: index for index, word in enumerate(self._labels)}
        self._written = {label_of[lm]: word for word, lm in zip(lexicon.words, lexicon.lm_words, strict=True)}
        self._trie = Trie(setup.symbols, setup.separator)
        entries = [(label_of[lm], spelling) for lm, spelling in zip(lexicon.lm_words, lexicon.spellings, strict=True)]
        held: dict[tuple[int, ...], int] = {}
        # The likeliest words first: flashlight keeps only the first few of equal spelling.
        for label, spelling in sorted(entries, key=lambda entry: -scores[entry[0]]):
            held[spelling] = held.get(spelling, 0) + 1
            if held[spelling] <= _HOMOPHONES:
                self._trie.insert([*spelling, setup.separator], label, float(scores[label]))
        self._trie.smear(SmearingMode.MAX)

    def decode(self, emissions: Emissions, options: SearchOptions) -> list[Hypothesis]:
        """Search one utterance, (T, V) log-probabilities without NaN; its n-best list, best first."""
        frames = len(emissions)
        if frames == 0:
            return [Hypothesis([], [], 0.0)]
        closed = np.full((frames + 1, self._setup.symbols), -_IMPOSSIBLE, dtype=np.float32)
        np.maximum(emissions, -_IMPOSSIBLE, out=closed[:frames])
        closed[frames, self._setup.separator] = -options.silence_score
        results = self._flashlight(options).decode(closed.ctypes.data, frames + 1, self._setup.symbols)
        readings = [self._reading(result, frames, options) for result in results[: max(options.nbest, _COMPARED)]]
        spans = [spans for _, spans in readings]
        confidences = word_confidences(spans, [found.score for found, _ in readings], shown=options.nbest)
        return [
            replace(found, word_confidences=shares)
            for (found, _), shares in zip(readings[: options.nbest], confidences, strict=True)
        ]

    def _flashlight(self, options: SearchOptions) -> Any:
        from flashlight.lib.text.decoder import CriterionType, LexiconDecoder, LexiconDecoderOptions

        chosen = LexiconDecoderOptions(
            beam_size=options.beam,
            beam_size_token=options.beam_tokens or self._setup.symbols,
            beam_threshold=options.threshold,
            lm_weight=options.lm_weight * self._lm_nats,
            word_score=options.word_score,
            unk_score=options.unknown_score,
            sil_score=options.silence_score,
            log_add=options.merge == "logadd",
            criterion_type=CriterionType.CTC,
        )
        unknown = len(self._labels)
        return LexiconDecoder(
            chosen, self._trie, self._lm, self._setup.separator, self._setup.blank, unknown, [], False
        )

    def _reading(self, result: Any, frames: int, options: SearchOptions) -> tuple[Hypothesis, list[WordSpan]]:
        """Our form of flashlight's path: one token and one word label (or -1) a frame, the start and end around."""
        tokens: Sequence[int] = result.tokens[1 : frames + 2]
        ends = [(frame, label) for frame, label in enumerate(result.words[1 : frames + 2]) if label >= 0]
        words = [(frame, label) for frame, label in ends if label < len(self._labels)]
        silences = sum(token == self._setup.separator for token in tokens[:frames])
        lm_score = result.lmScore * self._lm_nats
        added = options.lm_weight * lm_score + options.silence_score * silences
        added += options.word_score * len(words)
        if len(ends) > len(words):
            added += options.unknown_score * (len(ends) - len(words))
        # The path that ends inside of a word paid for the frame that it could not use.
        score = result.score + (0.0 if tokens[frames] == self._setup.separator else _IMPOSSIBLE)
        ids, firsts, lasts, spans = self._symbols(tokens[:frames], ends)
        written = () if self._setup.spelled else tuple(text for text, _, _ in spans)
        found = Hypothesis(ids, firsts, score, lasts, score - added, lm_score, words=written)
        return found, spans

    def _symbols(
        self, tokens: Sequence[int], ends: Sequence[tuple[int, int]]
    ) -> tuple[list[int], list[int], list[int], list[WordSpan]]:
        """Symbols with their first and last frames, one separator between words, and the words. A word that the audio
        ended inside of is no word of the lexicon and is dropped.
        """
        ids: list[int] = []
        firsts: list[int] = []
        lasts: list[int] = []
        spans: list[WordSpan] = []
        begin = 0
        for end, label in ends:
            word = self._word(tokens, begin, min(end + 1, len(tokens)))
            if ids:
                gap = [f for f in range(lasts[-1] + 1, word.frames[0]) if tokens[f] == self._setup.separator]
                ids.append(self._setup.separator)
                firsts.append(gap[0] if gap else lasts[-1])
                lasts.append(gap[-1] if gap else lasts[-1])
            ids += word.ids
            firsts += word.frames
            lasts += word.last_frames
            spans.append((self._written.get(label, _UNKNOWN), word.frames[0], word.last_frames[-1]))
            begin = end + 1
        return ids, firsts, lasts, spans

    def _word(self, tokens: Sequence[int], begin: int, end: int) -> Hypothesis:
        """The symbols of frames [begin, end) without separators."""
        blank = self._setup.blank
        shown = [blank if token == self._setup.separator else token for token in tokens[begin:end]]
        part = collapse(shown, blank)
        return Hypothesis(part.ids, [begin + f for f in part.frames], 0.0, [begin + f for f in part.last_frames])
