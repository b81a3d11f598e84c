"""flashlight's lexicon search (section 4.4) in one process: a trie of the lexicon's spellings and a language model.

A word ends with the word separator. One frame is added after an utterance's last, in which the separator costs nothing,
so that the last word may end without one: some models were not trained to write a separator at the end of a sentence.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wav2vec2.decode.context import WHOLE, Context
from wav2vec2.decode.hypothesis import Emissions, Hypothesis, collapse, with_confidences
from wav2vec2.decode.search import SearchOptions
from wav2vec2.decode.words import Lexicon, word_scores
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.load import load_language_model
from wav2vec2.lm.ngram.kenlm_file import KENLM_NATS, open_kenlm
from wav2vec2.text.vocabulary import Vocabulary

_IMPOSSIBLE = 1e4  # nats beyond every threshold; flashlight cannot compute with minus infinity
_COMPARED = 100  # hypotheses from which the confidences of words are computed
_HOMOPHONES = 6  # words with one spelling that flashlight's trie can hold
_LOOKS_BACK = 8  # words of the context that the language model hears again: more than any n-gram of KenLM's looks back
_UNKNOWN = "<unk>"


def has_flashlight() -> bool:
    """Whether flashlight-text is installed. It has no wheel for Python 3.13 and later."""
    try:
        import flashlight.lib.text.decoder  # noqa: F401
    except ImportError:
        return False
    return True


def require_flashlight() -> None:
    """Raise UserError if flashlight-text is not installed."""
    if not has_flashlight():
        raise UserError(
            "the lexicon search needs flashlight-text, which is not installed (there is none for Python 3.13 and "
            "later): choose --decoder beam, our own search, which takes --lexicon too"
        )


class LexiconSearch:
    """Trie and language model, loaded once; each call of `decode` may have other options. lm: a path, or a model."""

    def __init__(self, vocabulary: Vocabulary, lexicon: Lexicon, lm: str | LanguageModel | None) -> None:
        from flashlight.lib.text.decoder import SmearingMode, Trie, ZeroLM

        assert vocabulary.word_separator is not None
        self._vocabulary, self._blank = vocabulary, vocabulary.blank
        self._separator = vocabulary.symbols.index(vocabulary.word_separator)
        self._spelled = all(
            vocabulary.decode(spelling) == word for word, spelling in zip(lexicon.words, lexicon.spellings, strict=True)
        )
        self._labels = list(dict.fromkeys(lexicon.lm_words))
        known = [*self._labels, _UNKNOWN]
        if isinstance(lm, str) and Path(lm).is_dir():
            lm = load_language_model(lm)
        self._lm_nats = KENLM_NATS if isinstance(lm, str) else 1.0
        scores = np.zeros(len(self._labels))
        if lm is None:
            self._lm: Any = ZeroLM()
        elif isinstance(lm, str):
            self._lm = open_kenlm(lm, known)
            start = self._lm.start(False)
            scores = np.array([self._lm.score(start, label)[1] for label in range(len(self._labels))])
        else:
            self._lm = python_lm(lm, known)
            scores = word_scores(lm, lm.start(), np.array([lm.index(word) for word in self._labels], np.int64))
        label_of = {word: index for index, word in enumerate(self._labels)}
        self._written = {label_of[lm]: word for word, lm in zip(lexicon.words, lexicon.lm_words, strict=True)}
        self._spellings = dict(zip(reversed(lexicon.words), reversed(lexicon.spellings), strict=True))
        self._trie = Trie(len(vocabulary), self._separator)
        entries = [(label_of[lm], spelling) for lm, spelling in zip(lexicon.lm_words, lexicon.spellings, strict=True)]
        held: dict[tuple[int, ...], int] = {}
        # The most probable words first: flashlight keeps only the first few of equal spelling.
        for label, spelling in sorted(entries, key=lambda entry: -scores[entry[0]]):
            held[spelling] = held.get(spelling, 0) + 1
            if held[spelling] <= _HOMOPHONES:
                self._trie.insert([*spelling, self._separator], label, float(scores[label]))
        self._trie.smear(SmearingMode.MAX)

    def decode(self, emissions: Emissions, options: SearchOptions, context: Context = WHOLE) -> list[Hypothesis]:
        """Search one utterance, (T, V) log-probabilities without NaN, and return its n-best list, best first.

        flashlight always begins at the beginning of a sentence. So the last words of the context are put before the
        utterance as frames in which nothing else is possible, and taken off the result.
        """
        frames = len(emissions)
        if frames == 0:
            return [Hypothesis([], [], 0.0)]
        path = self._path(context)
        before, width = len(path), len(self._vocabulary)
        closed = np.full((before + frames + 1, width), -_IMPOSSIBLE, dtype=np.float32)
        closed[range(before), path] = 0.0
        np.maximum(emissions, -_IMPOSSIBLE, out=closed[before:-1])
        closed[-1, self._separator] = -options.silence_score
        results = self._flashlight(options).decode(closed.ctypes.data, len(closed), width)
        count = max(options.nbest, _COMPARED)
        considered = results if context.goes_on else results[:count]
        nbest = [self._hypothesis(result, before, context.goes_on, options) for result in considered]
        if context.goes_on:  # flashlight ranked them with the end of the sentence
            nbest.sort(key=lambda hypothesis: -hypothesis.score)
        return with_confidences(self._vocabulary, nbest[:count], shown=options.nbest)

    def _path(self, context: Context) -> list[int]:
        """Return one symbol a frame for the last words of a context, each with a separator after it."""
        path: list[int] = []
        for word in context.words[-_LOOKS_BACK:]:
            spelling = self._spellings.get(word)
            if spelling is None:  # the language model has no state for it that flashlight could reach
                path = []
                continue
            for place, symbol in enumerate(spelling):
                path += [self._blank, symbol] if place and spelling[place - 1] == symbol else [symbol]
            path.append(self._separator)
        return path

    def _flashlight(self, options: SearchOptions) -> Any:
        from flashlight.lib.text.decoder import CriterionType, LexiconDecoder, LexiconDecoderOptions

        chosen = LexiconDecoderOptions(
            beam_size=options.beam,
            beam_size_token=options.beam_tokens or len(self._vocabulary),
            beam_threshold=options.threshold,
            lm_weight=options.lm_weight * self._lm_nats,
            word_score=options.word_score,
            unk_score=options.unknown_score,
            sil_score=options.silence_score,
            log_add=options.merge == "logadd",
            criterion_type=CriterionType.CTC,
        )
        unknown = len(self._labels)
        return LexiconDecoder(chosen, self._trie, self._lm, self._separator, self._blank, unknown, [], False)

    def _hypothesis(self, result: Any, before: int, goes_on: bool, options: SearchOptions) -> Hypothesis:
        """Convert flashlight's path: a token and a word label (or -1) per frame, and one each for the start and end.

        The first `before` frames belong to the context. goes_on: the sentence's end is not scored.
        """
        tokens: Sequence[int] = result.tokens[before + 1 : -1]
        frames = len(tokens) - 1
        labels: Sequence[int] = result.words[1:-1]
        ends = [(frame, label) for frame, label in enumerate(labels[before:]) if label >= 0]
        words = [(frame, label) for frame, label in ends if label < len(self._labels)]
        silences = sum(token == self._separator for token in tokens[:frames])
        lm_score = result.lmScore * self._lm_nats
        # A path that ends inside a word has paid for the added frame.
        score = result.score + (0.0 if tokens[frames] == self._separator else _IMPOSSIBLE)
        if before or goes_on:
            heard = [label for label in labels[:before] if label >= 0]
            own = self._lm_nats * self._score_of(heard, [label for _, label in ends], goes_on)
            score -= options.lm_weight * (lm_score - own) + options.word_score * len(heard)
            score -= options.silence_score * sum(token == self._separator for token in result.tokens[1 : before + 1])
            lm_score = own
        added = options.lm_weight * lm_score + options.silence_score * silences
        added += options.word_score * len(words)
        if len(ends) > len(words):
            added += options.unknown_score * (len(ends) - len(words))
        ids, firsts, lasts = self._symbols(tokens[:frames], [frame for frame, _ in ends])
        written = () if self._spelled else tuple(self._written.get(label, _UNKNOWN) for _, label in ends)
        return Hypothesis(ids, firsts, score, lasts, score - added, lm_score, words=written)

    def _score_of(self, before: Sequence[int], labels: Sequence[int], goes_on: bool) -> float:
        """Return what the language model gives to words (and, unless the recording goes on, the end) after others."""
        state, total = self._lm.start(False), 0.0
        for place, label in enumerate((*before, *labels)):
            state, score = self._lm.score(state, label)
            total += score if place >= len(before) else 0.0
        return total if goes_on else total + float(self._lm.finish(state)[1])

    def _symbols(self, tokens: Sequence[int], ends: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """Return symbols with their first and last frames, with one separator between words.

        A word that is cut off by the end of the audio is dropped.
        """
        ids: list[int] = []
        firsts: list[int] = []
        lasts: list[int] = []
        begin = 0
        for end in ends:
            word = self._word(tokens, begin, min(end + 1, len(tokens)))
            if ids:
                gap = [f for f in range(lasts[-1] + 1, word.frames[0]) if tokens[f] == self._separator]
                ids.append(self._separator)
                firsts.append(gap[0] if gap else lasts[-1])
                lasts.append(gap[-1] if gap else lasts[-1])
            ids += word.ids
            firsts += word.frames
            lasts += word.last_frames
            begin = end + 1
        return ids, firsts, lasts

    def _word(self, tokens: Sequence[int], begin: int, end: int) -> Hypothesis:
        """Return the symbols of frames [begin, end) without separators."""
        shown = [self._blank if token == self._separator else token for token in tokens[begin:end]]
        part = collapse(shown, self._blank)
        return Hypothesis(part.ids, [begin + f for f in part.frames], 0.0, [begin + f for f in part.last_frames])


def python_lm(model: LanguageModel, words: Sequence[str]) -> Any:
    """Wrap a LanguageModel for flashlight, which calls the i-th word i. Its scores stay in nats.

    A history is a node of flashlight's tree of word sequences. Scores are kept until the next utterance starts; then
    the model may forget everything.
    """
    from flashlight.lib.text.decoder import LM, LMState

    indices = np.array([model.index(word) for word in words], dtype=np.int64)

    class PythonLM(LM):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._known: dict[Any, tuple[int, float]] = {}

        def start(self, start_with_nothing: bool) -> Any:
            self._known.clear()
            model.retain(np.empty(0, dtype=np.int64))
            state = LMState()
            self._known[state] = (model.start(), 0.0)
            return state

        def score(self, state: Any, word: int) -> tuple[Any, float]:
            child = state.child(word)
            if child not in self._known:
                history = np.array([self._known[state][0]], dtype=np.int64)
                scores, following = model.score(history, indices[word : word + 1])
                self._known[child] = (int(following[0]), float(scores[0]))
            return child, self._known[child][1]

        def finish(self, state: Any) -> tuple[Any, float]:
            child = state.child(-1)
            if child not in self._known:
                history = self._known[state][0]
                self._known[child] = (history, float(model.finish(np.array([history], dtype=np.int64))[0]))
            return child, self._known[child][1]

    return PythonLM()
