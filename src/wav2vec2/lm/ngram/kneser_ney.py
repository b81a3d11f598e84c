"""Interpolated modified Kneser-Ney estimation of an n-gram model, from text of any length in bounded memory.

Chen and Goodman (1998), section 3, with the streaming passes of Heafield et al. (2013): sort the n-grams, adjust the
counts, sort by context, discount, interpolate order by order. Every pass reads sorted blocks and writes sorted runs, so
that memory holds only the vocabulary and a few blocks.

p(w | h) = max(c(h w) - D(c), 0) / c(h) + g(h) p(w | h'), where h' is h without its first word and g(h) is the share
that discounts and pruning leave over. The lowest order is interpolated with the uniform distribution.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from wav2vec2.errors import UserError
from wav2vec2.lm.ngram.arpa import ArpaWriter
from wav2vec2.lm.ngram.external_sort import Block, ExternalSort, Rows, read_blocks, whole_groups
from wav2vec2.lm.ngram.passes import (
    BEGIN,
    AdjustedCounts,
    Doubles,
    WordNumbers,
    attach_backoffs,
    discount_contexts,
    interpolate_rows,
    ngrams,
)

Mask = NDArray[np.bool_]
Report = Callable[[str, float], None]
"""Called with the name of a pass and the part of it that is done, 0 to 1."""

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
ORDER_MAX = 32
MEMORY_MIN = 1 << 20
_ROW_BYTES = 64  # memory of a block's row in a pass, per column, with its copies and results


@dataclass(frozen=True)
class Estimate:
    """The result of an estimation."""

    counts: tuple[int, ...]
    """N-grams of each order."""
    discounts: tuple[tuple[float, float, float], ...]
    """Discounts of each order, for the adjusted counts 1, 2, and 3 or more."""
    fallbacks: tuple[int, ...]
    """Orders whose discounts are ``FALLBACK_DISCOUNTS``, for lack of text."""
    words: tuple[str, ...] = field(repr=False)
    """The words of the model, marks included."""
    unknown: int
    """Number of words of the text that are not in the vocabulary."""
    spilled: int
    """Number of sorted runs written to disk."""


def thresholds_of(prune: Sequence[int], order: int) -> tuple[int, ...]:
    """Return the pruning threshold of each order; the last one given is used for all higher orders.

    Raises:
        UserError: the order is out of range; thresholds are negative, decrease, or are more than there are orders.
    """
    if not 1 <= order <= ORDER_MAX:
        raise UserError(f"--order {order}: must be 1 to {ORDER_MAX}")
    given = tuple(prune) or (0,)
    if len(given) > order:
        raise UserError(f"--prune: {len(given)} thresholds for a model of order {order}; give at most one per order")
    if min(given) < 0 or any(a > b for a, b in pairwise(given)):
        raise UserError(f"--prune {' '.join(map(str, given))}: thresholds must be 0 or more and must not decrease")
    return given + given[-1:] * (order - len(given))


def discounts_of(statistics: NDArray[np.int64]) -> tuple[tuple[float, float, float], bool]:
    """Return the discounts for the adjusted counts 1, 2, and 3 or more (Chen and Goodman, equation 26), and whether
    they could be estimated: text without n-grams of some count, small or artificial, gets ``FALLBACK_DISCOUNTS``.

    Args:
        statistics: element j, 1 to 4, is the number of n-grams with the adjusted count j.
    """
    n = statistics.astype(np.float64)
    if (n[1:4] == 0).any():
        return FALLBACK_DISCOUNTS, False
    y = n[1] / (n[1] + 2 * n[2])
    found = tuple(float(j - (j + 1) * y * n[j + 1] / n[j]) for j in (1, 2, 3))
    if any(not 0 <= discount <= j for j, discount in enumerate(found, start=1)):
        return FALLBACK_DISCOUNTS, False
    return (found[0], found[1], found[2]), True


class KneserNey:
    """One estimation of a model.

    Args:
        order: length of the longest n-grams.
        folder: an empty folder for sorted runs.
        prune: see `thresholds_of`.
        vocabulary: the words of the model; others are counted as ``<unk>``. Words that the text lacks get the
            probability of an unseen word. None: all words of the text.
        memory: bytes for n-grams; the vocabulary needs additional memory.
        progress: see `Report`.

    Raises:
        UserError: the order, a threshold or the memory is out of range.
    """

    def __init__(
        self,
        order: int,
        folder: Path,
        *,
        prune: Sequence[int] = (),
        vocabulary: Sequence[str] | None = None,
        memory: int = 1 << 30,
        progress: Report = lambda name, part: None,
    ) -> None:
        if memory < MEMORY_MIN:
            raise UserError(f"--memory: must be at least {MEMORY_MIN >> 20} MiB")
        self._order, self._folder, self._memory, self._progress = order, folder, memory, progress
        self._adjusted = AdjustedCounts(thresholds_of(prune, order))
        self._numbers = WordNumbers(vocabulary)
        self._spilled = 0
        self._block_rows = max(256, memory // (8 * _ROW_BYTES * order))

    def estimate(self, sentences: Iterable[Sequence[str]], write: Callable[[list[int]], IO[bytes]]) -> Estimate:
        """Estimate the model and write it as ARPA to the file that ``write`` opens, given the counts of each order."""
        by_context = self._count(sentences)
        statistics = self._adjusted.statistics
        found = [discounts_of(statistics[k]) for k in range(1, self._order + 1)]
        discounts = [np.array([0.0, *each]) for each, _ in found]
        unigrams, backoff, kept = self._unigrams(discounts[0])
        counts = [int(kept.sum()), *statistics[2:, 5].tolist()]
        words = self._numbers.words
        with ArpaWriter(write(counts), words, counts) as arpa:
            finished: Path | None = None
            for k in range(2, self._order + 1):
                backoffs = self._sort(k - 1, np.float64, f"backoffs-{k}", self._memory // 8)
                path = self._folder / f"probabilities-{k}"
                self._interpolate(k, by_context.pop(0), discounts[k - 1], unigrams, finished, backoffs, path)
                if finished is None:
                    for contexts, values in backoffs.blocks():
                        backoff[contexts[:, 0]] = values
                    self._write_unigrams(arpa, unigrams, backoff, kept)
                else:
                    self._write(arpa, k - 1, finished, backoffs.blocks(), counts[k - 2])
                    finished.unlink()
                finished = path
            if finished is None:
                self._write_unigrams(arpa, unigrams, backoff, kept)
            else:
                self._write(arpa, self._order, finished, None, counts[-1])
        return Estimate(
            tuple(counts),
            tuple(each for each, _ in found),
            tuple(k for k, (_, estimated) in enumerate(found, start=1) if not estimated),
            tuple(word for word, keep in zip(words, kept[1:], strict=True) if keep),
            self._numbers.unknown,
            self._spilled,
        )

    def _sort(self, columns: int, dtype: type[np.generic], name: str, memory: int) -> ExternalSort:
        return ExternalSort(columns, dtype, self._folder, name, memory=memory, spilled=self._count_spill)

    def _count_spill(self) -> None:
        self._spilled += 1

    def _count(self, sentences: Iterable[Sequence[str]]) -> list[ExternalSort]:
        """Adjust the counts: keep those of unigrams in ``_unigram_counts``, return those of other orders by context."""
        full = self._sort(self._order, np.int64, "ngrams", self._memory // 2)
        for rows in ngrams(sentences, self._order, self._numbers):
            full.add(rows, np.ones(len(rows), np.int64))
        self._unigram_counts = np.zeros(len(self._numbers) + 1, np.int64)
        share = self._memory // (2 * self._order)
        sorts = [self._sort(k, np.int64, f"contexts-{k}", share) for k in range(2, self._order + 1)]
        done, rows_max = 0, max(1024, self._block_rows)
        for closed in self._adjusted.blocks(full.blocks(), rows_max):
            words, counts = closed[0]
            self._unigram_counts[words[:, 0]] = counts
            for sort, (words, counts) in zip(sorts, closed[1:], strict=True):
                sort.add(words, counts)
            done += len(closed[-1][0])
            self._progress("adjusting counts", min(1.0, done / max(1, full.rows)))
        return sorts

    def _unigrams(self, discounts: Doubles) -> tuple[Doubles, Doubles, Mask]:
        """Return, by word number: probability, backoff weight (1 until known), and whether the word is kept."""
        counts = self._unigram_counts
        kept = counts >= 0
        kept[0] = False
        seen = np.where(kept, counts, 0)
        share = seen - discounts[np.minimum(seen, 3)]
        total = np.abs(counts).sum()
        left = 1 - share.sum() / total
        probability = share / total + left / (kept.sum() - 1)  # <s> is never predicted
        probability[BEGIN] = 1.0
        return probability, np.ones(len(counts)), kept

    def _interpolate(
        self,
        k: int,
        counts: ExternalSort,
        discounts: Doubles,
        unigrams: Doubles,
        lower: Path | None,
        backoffs: ExternalSort,
        path: Path,
    ) -> None:
        """Write the probabilities of the k-grams kept to ``path``, and the backoff weights of contexts to ``backoffs``.

        ``lower`` has the probabilities of order k - 1; if it is None, they are ``unigrams``.
        """
        record = _record(k)
        below = _LowerOrder(lower, k - 1, self._block_rows) if lower is not None else None
        done, total = 0, max(1, int(self._adjusted.statistics[k, 0]))
        with path.open("wb") as file:
            for words, adjusted in whole_groups(counts.blocks(), k - 1):
                probability, weight, firsts = discount_contexts(words, adjusted.astype(np.int64), discounts)
                contexts = words[firsts, : k - 1]
                backoffs.add(np.roll(contexts, -1, axis=1), weight[firsts])
                if below is None:
                    probability += weight * unigrams[words[:, 1]]
                else:
                    below.interpolate(words, probability, weight)
                kept = adjusted > 0
                records = np.empty(int(kept.sum()), record)
                records["words"], records["value"] = words[kept], probability[kept]
                records.tofile(file)
                done += len(words)
                self._progress(f"probabilities of {k}-grams", done / total)

    def _write_unigrams(self, arpa: ArpaWriter, probability: Doubles, backoff: Doubles, kept: Mask) -> None:
        numbers = np.flatnonzero(kept).astype(np.int32)[:, None]
        arpa.section(1)
        arpa.lines(numbers, np.log10(probability[kept]), np.log10(backoff[kept]) if self._order > 1 else None)

    def _write(self, arpa: ArpaWriter, k: int, path: Path, backoffs: Iterator[Block] | None, total: int) -> None:
        arpa.section(k)
        weights = _Backoffs(backoffs) if backoffs is not None else None
        done = 0
        for words, probability in read_blocks(path, _record(k), self._block_rows):
            natural = np.concatenate([words[:, k - 2 :: -1], words[:, k - 1 :]], axis=1) if k > 1 else words
            weight = None if weights is None else np.log10(weights.of(words))
            arpa.lines(natural, np.log10(probability.astype(np.float64)), weight)
            done += len(words)
            self._progress(f"writing {k}-grams", done / max(1, total))


def _record(k: int) -> np.dtype[np.void]:
    return np.dtype([("words", "<i4", (k,)), ("value", "<f8")])


class _LowerOrder:
    """The probabilities of the order below, read in step with the contexts of the order above."""

    def __init__(self, path: Path, k: int, rows: int) -> None:
        self._blocks = whole_groups(read_blocks(path, _record(k), rows), k - 1)
        nothing = np.empty((0, k), np.int32), np.empty(0)  # if all are pruned, so is the order above
        self._words: Rows
        self._values: Doubles
        self._words, self._values = next(self._blocks, nothing)
        self._group = 0

    def interpolate(self, words: Rows, probability: Doubles, weight: Doubles) -> None:
        """Add ``weight`` times the lower order's probability to each ``probability`` that is not NaN (pruned)."""
        row = 0
        while True:
            row, self._group = interpolate_rows(words, probability, weight, row, self._words, self._values, self._group)
            if row == len(words):
                return
            self._words, self._values = next(self._blocks)
            self._group = 0


class _Backoffs:
    """Backoff weights of contexts, read in step with the n-grams that are these contexts."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self._words: Rows | None = None
        self._values: Doubles = np.empty(0)
        self._advance()

    def _advance(self) -> None:
        block = next(self._blocks, None)
        self._words, self._values = block if block is not None else (None, np.empty(0))
        self._position = 0

    def of(self, words: Rows) -> Doubles:
        """Return the backoff weight of each n-gram; 1 if it is no n-gram's context."""
        weights = np.ones(len(words))
        row = 0
        while self._words is not None and row < len(words):
            row, self._position = attach_backoffs(words, weights, row, self._words, self._values, self._position)
            if self._position == len(self._words):
                self._advance()
        return weights
