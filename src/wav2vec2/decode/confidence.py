"""How sure a search is of each word: the share of its n-best list's probability that agrees."""

import math
from collections.abc import Sequence

WordSpan = tuple[str, int, int]
"""A word with the first and last frame of its symbols."""


def word_confidences(
    readings: Sequence[Sequence[WordSpan]], scores: Sequence[float], *, shown: int
) -> list[tuple[float, ...]]:
    """For the first `shown` readings and each of their words: the probability of the readings that have the same word
    at an overlapping time. scores: log-probabilities (nats) of the readings, up to a constant.
    """
    if not readings:
        return []
    best = max(scores)
    weights = [math.exp(score - best) for score in scores]
    total = sum(weights)
    places: dict[str, list[tuple[int, int, int]]] = {}
    for row, reading in enumerate(readings):
        for text, first, last in reading:
            places.setdefault(text, []).append((row, first, last))
    confidences = []
    for reading in readings[:shown]:
        shares = []
        for text, first, last in reading:
            agreeing = {row for row, begin, end in places[text] if begin <= last and first <= end}
            shares.append(min(1.0, sum(weights[row] for row in sorted(agreeing)) / total))
        confidences.append(tuple(shares))
    return confidences
