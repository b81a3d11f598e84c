"""The inner loops of Kneser-Ney estimation over n-grams sorted by context: discounting, interpolation, joining.

Columns of a k-gram here: the context's last word, ..., its first word, and then the word itself. Contexts that end
alike are therefore neighbours, and the shorter contexts of the order below come in the same order.
"""

import numpy as np
from numpy.typing import NDArray

from wav2vec2.lm.compiled import compiled

Rows = NDArray[np.int32]
Doubles = NDArray[np.float64]


@compiled
def discount_contexts(
    words: Rows, counts: NDArray[np.int64], discounts: Doubles
) -> tuple[Doubles, Doubles, NDArray[np.int64]]:
    """Discounted share of each n-gram (NaN if pruned), its context's weight of the lower order, and the first row of
    each context.

    words: (n, k) whole contexts. counts: negative where pruned; what is pruned goes to the lower order whole.
    discounts: (4,) for the counts 0, 1, 2, and 3 or more.
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
    """Add the weighted lower probability to the rows from ``row`` on, as far as the block ``lower`` reaches.

    group: the row of ``lower`` to look from. Returns the row that a later block is needed for (or the end), and the
    group reached.
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
            raise AssertionError("an n-gram without its shorter one")
        probability[row] += weight[row] * lower_probability[low]
        row += 1
    return row, group


@compiled
def attach_backoffs(
    words: Rows, weights: Doubles, row: int, contexts: Rows, values: Doubles, position: int
) -> tuple[int, int]:
    """Set the weight of each n-gram from ``row`` on that is among ``contexts`` from ``position`` on; both sorted."""
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
