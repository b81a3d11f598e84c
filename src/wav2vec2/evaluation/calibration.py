"""How far the confidences of words are from the share of them that is right.

A confidence is calibrated if, of all words that have 0.8, eight in ten are right. The expected calibration error is the
mean distance between the two, over bins of equal width, weighted by their words (Guo et al., ICML 2017).
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import kaldialign
import numpy as np

from wav2vec2.output.transcript import Word
from wav2vec2.text.error_rate import character_tokens, word_tokens
from wav2vec2.text.normalize import is_spaceless_script

_BINS = 10
_GAP = ""  # never a word


@dataclass(frozen=True)
class Bin:
    """The words with a confidence from `low` to `high`: how many, their mean confidence, and the share that is right.

    The last bin includes its upper end.
    """

    low: float
    high: float
    words: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Reliability:
    """How reliable confidences are.

    words: how many have one. error: the expected calibration error, from 0 to 1. ranking: the probability that a word
    that is right has a higher confidence than one that is wrong (0.5: confidences tell nothing); NaN if all or none are
    right. bins: the reliability table, without empty bins.
    """

    words: int
    confidence: float
    right: float
    error: float
    ranking: float
    bins: tuple[Bin, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain values, with None for a ranking that is undefined."""
        plain = asdict(self)
        if np.isnan(self.ranking):
            plain["ranking"] = None
        return plain


class Calibration:
    """Collects the confidences of recognised words, and whether the words are right."""

    def __init__(self) -> None:
        self._confidences: list[float] = []
        self._right: list[bool] = []

    def add(self, reference: str, words: Iterable[Word], form: Callable[[str], str] = str) -> None:
        """Add the words of one hypothesis, in the `form` of the reference; those without a confidence do not count.

        A word is right if it is a match in a shortest edit path from the words of the reference; in scripts without
        spaces, characters take the place of words.
        """
        split = partial(character_tokens, spaces=False) if is_spaceless_script(reference) else word_tokens
        entries = [(token, word.confidence) for word in words for token in split(form(word.text))]
        pairs = kaldialign.align(split(reference), [token for token, _ in entries], _GAP)
        matches = [one == other for one, other in pairs if other != _GAP]
        for (_, confidence), match in zip(entries, matches, strict=True):
            if confidence is not None:
                self._confidences.append(confidence)
                self._right.append(match)

    def reliability(self) -> Reliability | None:
        """Return the result; None without a single confidence."""
        if not self._confidences:
            return None
        confidences, right = np.array(self._confidences), np.array(self._right, dtype=np.float64)
        places = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
        bins = tuple(
            Bin(
                place / _BINS,
                (place + 1) / _BINS,
                int(inside.sum()),
                float(confidences[inside].mean()),
                float(right[inside].mean()),
            )
            for place in range(_BINS)
            if (inside := places == place).any()
        )
        error = sum(one.words * abs(one.confidence - one.right) for one in bins) / len(right)
        return Reliability(
            len(right), float(confidences.mean()), float(right.mean()), error, _ranking(confidences, right), bins
        )


def reliability_rows(reliability: Reliability) -> list[list[str]]:
    """Return the table as cells: a head, then a row for each bin."""
    rows = [["confidence", "words", "mean", "right"]]
    for one in reliability.bins:
        interval = f"{one.low:.1f} to {one.high:.1f}"
        rows.append([interval, str(one.words), f"{100 * one.confidence:.1f} %", f"{100 * one.right:.1f} %"])
    return rows


def reliability_summary(reliability: Reliability) -> str:
    """Return the calibration error and the ranking in one line."""
    ranking = "" if np.isnan(reliability.ranking) else f"  ranking {reliability.ranking:.3f}"
    return (
        f"confidences of {reliability.words} words: mean {100 * reliability.confidence:.1f} %, "
        f"right {100 * reliability.right:.1f} %, calibration error {100 * reliability.error:.1f} %{ranking}"
    )


def _ranking(confidences: np.ndarray, right: np.ndarray) -> float:
    """The area under the ROC curve, from the ranks of the confidences; equal ones share their mean rank."""
    good, bad = int(right.sum()), int(len(right) - right.sum())
    if not good or not bad:
        return float("nan")
    _, inverse, counts = np.unique(confidences, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[right == 1].sum() - good * (good + 1) / 2) / (good * bad))
