"""The definition of what a prefix beam search approximates: every path of an utterance, every reading, its score."""

import itertools
import math

import numpy as np

from wav2vec2.decode.hypothesis import collapse
from wav2vec2.decode.search import SearchOptions
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "A", "B"))
PHONES = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "A", "B"), word_separator=None, unit="whitespace")

ARPA = """\\data\\
ngram 1=7
ngram 2=6
ngram 3=2

\\1-grams:
-1.1\t<unk>
-99\t<s>\t-0.4
-0.9\t</s>
-0.8\tA\t-0.3
-0.7\tAB\t-0.2
-1.2\tB\t-0.25
-1.3\t|\t-0.1

\\2-grams:
-0.3\t<s> AB\t-0.15
-0.5\t<s> A\t-0.05
-0.4\tA B\t-0.35
-0.6\tAB A
-0.2\tA </s>
-0.35\tA |

\\3-grams:
-0.1\t<s> A B
-0.15\tA B </s>

\\end\\
"""


def random_emissions(seed: int, frames: int, width: int = len(VOCABULARY), spread: float = 2.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(frames, width)) * spread
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


def acoustic_scores(emissions: np.ndarray, vocabulary: Vocabulary, merge: str) -> dict[tuple[int, ...], float]:
    emitted = [i for i, s in enumerate(vocabulary.symbols) if s in ("|", "A", "B") or i == vocabulary.blank]
    paths: dict[tuple[int, ...], list[float]] = {}
    for path in itertools.product(emitted, repeat=len(emissions)):
        score = sum(float(emissions[t, s]) for t, s in enumerate(path))
        paths.setdefault(tuple(collapse(path, vocabulary.blank).ids), []).append(score)
    return {ids: max(s) if merge == "max" else float(np.logaddexp.reduce(s)) for ids, s in paths.items()}


def words_of(ids: tuple[int, ...], vocabulary: Vocabulary) -> list[str]:
    return vocabulary.decode(ids).split()


def lm_tokens(ids: tuple[int, ...], vocabulary: Vocabulary, unit: str) -> list[str]:
    if unit == "word":
        return words_of(ids, vocabulary)
    return [vocabulary.symbols[i] for i in ids]


def lm_score(lm: LanguageModel, tokens: list[str]) -> float:
    history, total = lm.start(), 0.0
    for token in tokens:
        score, following = lm.score(np.array([history]), np.array([lm.index(token)]))
        total, history = total + float(score[0]), int(following[0])
    return total + float(lm.finish(np.array([history]))[0])


def ranked_readings(
    emissions: np.ndarray,
    options: SearchOptions,
    lm: LanguageModel | None = None,
    unit: str = "word",
    vocabulary: Vocabulary = VOCABULARY,
    hotwords: dict[str, float] | None = None,
    allowed: set[str] | None = None,
) -> list[tuple[tuple[int, ...], float]]:
    """Readings that are not forbidden, best first, of those with equal words the best one."""
    scored = []
    for ids, acoustic in acoustic_scores(emissions, vocabulary, options.merge).items():
        words = words_of(ids, vocabulary)
        score = acoustic + options.word_score * len(words)
        score += options.silence_score * sum(vocabulary.symbols[i] == "|" for i in ids)
        score += sum((hotwords or {}).get(word, 0.0) for word in words)
        if allowed is not None and not allowed.issuperset(words):
            continue
        if lm is not None:
            tokens = lm_tokens(ids, vocabulary, unit)
            score += options.lm_weight * lm_score(lm, tokens)
            unknown = sum(lm.index(token) == lm.unknown and token not in (hotwords or {}) for token in tokens)
            score += options.unknown_score * unknown if unknown else 0.0
        if score > -math.inf:
            scored.append((ids, score))
    scored.sort(key=lambda reading: -reading[1])
    seen: set[tuple[str, ...]] = set()
    unique = []
    for ids, score in scored:
        key = tuple(words_of(ids, vocabulary))
        if key not in seen:
            seen.add(key)
            unique.append((ids, score))
    return unique
