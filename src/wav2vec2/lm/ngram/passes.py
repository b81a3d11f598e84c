"""The passes of Kneser-Ney estimation over n-grams: counting, adjusting counts, discounting, interpolating, joining.

Chen and Goodman, "An empirical study of smoothing techniques for language modeling" (1998), section 3. The adjusted
count of a lower-order n-gram is the number of different words before it. All adjusted counts follow from the sorted
n-grams of the highest order (Heafield et al., "Scalable modified Kneser-Ney language model estimation", 2013), so that
the text is read once.

Counted n-grams have the last word first. From `AdjustedCounts` on, the columns of a k-gram are in the order in which
contexts sort: the context's last word, ..., its first word, and then the word itself. Contexts with the same ending are
therefore neighbours, and the shorter contexts of the order below come in the same order.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from wav2vec2.lm import words as marks
from wav2vec2.lm.compiled import compiled
from wav2vec2.lm.ngram.external_sort import Block, Rows

# Words are numbered from 1; 0 fills up n-grams at the beginning of a sentence.
NOTHING, UNKNOWN, BEGIN, END = 0, 1, 2, 3
SPECIALS = (marks.UNKNOWN, marks.BEGIN, marks.END)
_CHUNK = 1 << 18  # words made into n-grams at a time
Doubles = NDArray[np.float64]


class WordNumbers:
    """Numbers words: ``<unk>``, ``<s>``, ``</s>``, then all words in order of first occurrence, or the given ones."""

    def __init__(self, vocabulary: Sequence[str] | None = None) -> None:
        self._numbers: defaultdict[str, int] = defaultdict()
        self._numbers.default_factory = lambda: len(self._numbers) + 1
        for word in (*SPECIALS, *(vocabulary or ())):
            self._numbers[word]
        self._closed = vocabulary is not None
        if self._closed:
            self._numbers.default_factory = None
        self.unknown = 0
        """Number of words that were not among the given ones."""

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def words(self) -> list[str]:
        """All words; number n is at index n - 1."""
        return list(self._numbers)

    def of(self, words: Sequence[str]) -> list[int]:
        """Return the numbers of words."""
        if not self._closed:
            return list(map(self._numbers.__getitem__, words))
        numbers = [self._numbers.get(word, UNKNOWN) for word in words]
        self.unknown += numbers.count(UNKNOWN)
        return numbers


def ngrams(sentences: Iterable[Sequence[str]], order: int, numbers: WordNumbers) -> Iterator[Rows]:
    """Yield the n-grams of all sentences, marks included, as rows (n, order) with the last word first.

    An n-gram that would reach beyond the beginning of its sentence has ``NOTHING`` after ``BEGIN``.
    """
    flat: list[int] = []
    for words in sentences:
        flat.append(BEGIN)
        flat.extend(numbers.of(words))
        flat.append(END)
        if len(flat) >= _CHUNK:
            yield _windows(np.array(flat, np.int32), order)
            flat = []
    if flat:
        yield _windows(np.array(flat, np.int32), order)


def _windows(flat: NDArray[np.int32], order: int) -> Rows:
    rows = np.zeros((len(flat), order), np.int32)
    rows[:, 0] = flat
    for back in range(1, order):
        before = rows[back:, back - 1]
        rows[back:, back] = np.where((before == BEGIN) | (before == NOTHING), NOTHING, flat[:-back])
    kept: Rows = rows[flat != BEGIN]
    return kept


@compiled
def _adjust(
    words: Rows,
    counts: NDArray[np.int64],
    previous: NDArray[np.int32],
    adjusted: NDArray[np.int64],
    actual: NDArray[np.int64],
    thresholds: NDArray[np.int64],
    out_words: NDArray[np.int32],
    out_counts: NDArray[np.int64],
    statistics: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Go through sorted rows; close the n-grams of all orders that end, and open those that begin.

    previous: (order,) the open n-grams; that of order k is the first k words. adjusted, actual: (order + 1,) adjusted
    counts and occurrences of the open n-grams, by order. out_words (order, rows, order), out_counts (order, rows): are
    filled with the closed n-grams; the count of a pruned one is negative. statistics: see `AdjustedCounts`. Returns the
    number of closed n-grams of each order.
    """
    order = words.shape[1]
    written = np.zeros(order, np.int64)
    for i in range(len(words)):
        same = 0
        while same < order and previous[same] != NOTHING and words[i, same] == previous[same]:
            same += 1
        k = order
        while k > same:
            if previous[k - 1] != NOTHING:
                row = written[k - 1]
                for j in range(1, k):
                    out_words[k - 1, row, j - 1] = previous[j]
                out_words[k - 1, row, k - 1] = previous[0]
                pruned = actual[k] <= thresholds[k - 1] and not (k == 1 and previous[0] <= END)  # marks are kept
                out_counts[k - 1, row] = -adjusted[k] if pruned else adjusted[k]
                written[k - 1] += 1
                if adjusted[k] <= 4:
                    statistics[k, adjusted[k]] += 1
                statistics[k, 5] += 0 if pruned else 1
                statistics[k, 0] += 1
            k -= 1
        for k in range(1, same + 1):
            actual[k] += counts[i]
        if same > 0:
            adjusted[same] += 1
        for k in range(same + 1, order + 1):
            last = words[i, k - 1]
            previous[k - 1] = last
            adjusted[k] = counts[i] if k == order or last == BEGIN else 1  # no word precedes <s>
            actual[k] = counts[i]
    return written


class AdjustedCounts:
    """Turns the sorted n-grams of the highest order into the n-grams and adjusted counts of every order.

    Args:
        thresholds: for each order, the number of occurrences up to which its n-grams are pruned.

    Attributes:
        statistics: (order + 1, 6), complete after all blocks. Row k holds, at 1 to 4, the number of k-grams with that
            adjusted count; at 0, the number of all k-grams; at 5, the number of those that are not pruned.
    """

    def __init__(self, thresholds: Sequence[int]) -> None:
        self.order = len(thresholds)
        self._thresholds = np.array(thresholds, np.int64)
        self.statistics = np.zeros((self.order + 1, 6), np.int64)

    def blocks(self, sorted_ngrams: Iterable[Block], rows: int) -> Iterator[list[Block]]:
        """Yield, for every ``rows`` sorted n-grams, the closed n-grams of order 1, 2, ...: words (n, k), counts (n,).

        The counts of pruned n-grams are negative.
        """
        order = self.order
        previous = np.zeros(order, np.int32)
        adjusted, actual = np.zeros((2, order + 1), np.int64)
        end = (np.full((1, order), -1, np.int32), np.zeros(1, np.int64))  # differs from all n-grams and so closes all
        for words, counts in chain(_cut(sorted_ngrams, rows), [end]):
            closed_words = np.empty((order, len(words), order), np.int32)
            closed_counts = np.empty((order, len(words)), np.int64)
            written = _adjust(
                words,
                counts,
                previous,
                adjusted,
                actual,
                self._thresholds,
                closed_words,
                closed_counts,
                self.statistics,
            )
            yield [
                (closed_words[k, : written[k], : k + 1].copy(), closed_counts[k, : written[k]].copy())
                for k in range(order)
            ]


def _cut(blocks: Iterable[Block], rows: int) -> Iterator[Block]:
    for words, counts in blocks:
        for first in range(0, len(words), rows):
            yield words[first : first + rows], counts[first : first + rows].astype(np.int64)


@compiled
def discount_contexts(
    words: Rows, counts: NDArray[np.int64], discounts: Doubles
) -> tuple[Doubles, Doubles, NDArray[np.int64]]:
    """Discount the n-grams of contexts.

    Args:
        words: (n, k) all n-grams of some contexts.
        counts: (n,) adjusted counts; negative if pruned, and then all of it goes to the lower order.
        discounts: (4,) for the counts 0, 1, 2, and 3 or more.

    Returns:
        The discounted share of each n-gram (NaN if pruned), the weight of the lower order in its context, both (n,),
        and the first row of each context.
    """
    n, k = words.shape
    probability, weight = np.empty(n), np.empty(n)
    firsts = np.empty(n, np.int64)
    contexts, first = 0, 0
    while first < n:
        last = first
        total, left = np.int64(0), 0.0
        while last < n:
            same = True
            for j in range(k - 1):
                if words[last, j] != words[first, j]:
                    same = False
            if not same:
                break
            total += abs(counts[last])
            left += discounts[min(counts[last], 3)] if counts[last] > 0 else float(-counts[last])
            last += 1
        for i in range(first, last):
            weight[i] = left / total
            probability[i] = (counts[i] - discounts[min(counts[i], 3)]) / total if counts[i] > 0 else np.nan
        firsts[contexts] = first
        contexts += 1
        first = last
    return probability, weight, firsts[:contexts].copy()


@compiled
def _compare(a: Rows, i: int, b: Rows, j: int, columns: int) -> int:
    for c in range(columns):
        if a[i, c] != b[j, c]:
            return -1 if a[i, c] < b[j, c] else 1
    return 0


@compiled
def interpolate_rows(
    words: Rows, probability: Doubles, weight: Doubles, row: int, lower: Rows, lower_probability: Doubles, group: int
) -> tuple[int, int]:
    """Add the weighted probability of the lower order to the rows from ``row`` on, as far as the block ``lower`` goes.

    ``group`` is the row of ``lower`` to search from. Returns the row that needs the next block (or the number of rows),
    and the group reached.
    """
    columns = lower.shape[1] - 1
    end = group
    while end < len(lower) and _compare(lower, end, lower, group, columns) == 0:
        end += 1
    while row < len(words):
        if np.isnan(probability[row]):
            row += 1
            continue
        while group < len(lower) and _compare(lower, group, words, row, columns) < 0:
            group = end
            while end < len(lower) and _compare(lower, end, lower, group, columns) == 0:
                end += 1
        if group == len(lower):
            return row, group
        low, high = group, end
        word = words[row, columns + 1]
        while low < high:
            middle = (low + high) >> 1
            if lower[middle, columns] < word:
                low = middle + 1
            else:
                high = middle
        if low == end or lower[low, columns] != word or _compare(lower, group, words, row, columns) != 0:
            raise AssertionError("the lower order lacks an n-gram's suffix")
        probability[row] += weight[row] * lower_probability[low]
        row += 1
    return row, group


@compiled
def attach_backoffs(
    words: Rows, weights: Doubles, row: int, contexts: Rows, values: Doubles, position: int
) -> tuple[int, int]:
    """Set the weights of the n-grams, from ``row`` on, that are among ``contexts``, from ``position`` on; both sorted.

    Returns the row and the position reached.
    """
    columns = words.shape[1]
    while row < len(words) and position < len(contexts):
        order = _compare(words, row, contexts, position, columns)
        if order == 0:
            weights[row] = values[position]
        if order <= 0:
            row += 1
        if order >= 0:
            position += 1
    return row, position
