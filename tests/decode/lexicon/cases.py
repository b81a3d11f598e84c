"""A small vocabulary, lexicon and n-gram model, and the search that tries everything."""

import itertools
import math
from pathlib import Path

import numpy as np

from wav2vec2.decode.hypothesis import Emissions
from wav2vec2.decode.search import SearchOptions
from wav2vec2.decode.words import Lexicon, build_lexicon
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("<pad>", "|", "A", "B", "C"), unknown=None)
WORDS = ("A", "AB", "BA", "CAB", "BB")
ARPA = """\\data\\
ngram 1=8
ngram 2=6

\\1-grams:
-2.0\t<unk>\t0
-99\t<s>\t-0.3
-0.9\t</s>\t0
-0.7\tA\t-0.2
-0.5\tAB\t-0.1
-0.8\tBA\t-0.15
-1.1\tCAB\t-0.25
-1.4\tBB\t0

\\2-grams:
-0.2\t<s> AB
-0.3\tA CAB
-0.4\tCAB </s>
-0.1\tAB BA
-0.6\tBA </s>
-0.35\tBB A

\\end\\
"""


def lexicon() -> Lexicon:
    return build_lexicon(WORDS, VOCABULARY)


def write_arpa(folder: Path) -> Path:
    path = folder / "words.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return path


def emissions(frames: int, seed: int, width: int = len(VOCABULARY)) -> Emissions:
    logits = 2 * np.random.default_rng(seed).standard_normal((frames, width))
    normalised = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return np.asarray(normalised, dtype=np.float32)


def bigram_nats(words: tuple[str, ...]) -> float:
    """Log-probability (nats) of a sentence, its end included, read from the text above."""
    single: dict[str, tuple[float, float]] = {}
    pairs: dict[tuple[str, str], float] = {}
    for line in ARPA.splitlines():
        fields = line.split("\t")
        if len(fields) == 3:
            single[fields[1]] = (float(fields[0]), float(fields[2]))
        elif len(fields) == 2:
            left, right = fields[1].split()
            pairs[left, right] = float(fields[0])
    total = 0.0
    for left, right in itertools.pairwise(("<s>", *words, "</s>")):
        known = right if right in single else "<unk>"
        total += pairs.get((left, known), single.get(left, (0.0, 0.0))[1] + single[known][0])
    return total * math.log(10)


def path_sums(array: Emissions) -> dict[tuple[str, ...], dict[str, float]]:
    """For every sentence of the lexicon: its best path and the sum over its paths (nats), from all paths there are."""
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for path in itertools.product(range(array.shape[1]), repeat=len(array)):
        letters = "".join(VOCABULARY.symbols[key] for key, _ in itertools.groupby(path) if key != 0)
        words = tuple(word for word in letters.split("|") if word)
        if all(word in WORDS for word in words):
            score = float(sum(array[frame, symbol] for frame, symbol in enumerate(path)))
            entry = found.setdefault(words, {"max": -math.inf, "logadd": -math.inf})
            entry["max"] = max(entry["max"], score)
            entry["logadd"] = float(np.logaddexp(entry["logadd"], score))
    return found


def everything(array: Emissions, options: SearchOptions, *, lm: bool = True) -> list[tuple[float, tuple[str, ...]]]:
    """Every sentence with its score, best first."""
    scored = [
        (sums[options.merge] + options.lm_weight * lm * bigram_nats(words) + options.word_score * len(words), words)
        for words, sums in path_sums(array).items()
    ]
    return sorted(scored, reverse=True)
