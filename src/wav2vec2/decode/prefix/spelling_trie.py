"""A trie of words spelled in a model's symbols, in plain arrays for compiled code."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wav2vec2.lm.compiled import compiled


class SpellingTrie(NamedTuple):
    """A trie of N nodes, numbered breadth first; node 0 is the beginning of a word.

    symbol: (N,) last symbol of the node. first_child: (N + 1,) the children of n are ``first_child[n]`` up to, but not
    including, ``first_child[n + 1]``, in ascending order of symbol. word: (N,) index in the language model of the word
    that ends here (its ``unknown`` for a word that it lacks), -1 if none ends. score: (N,) nats that this word adds
    when it ends. potential: (N,) nats granted to an unfinished word and taken back when it ends or leaves the trie.
    """

    symbol: NDArray[np.int32]
    first_child: NDArray[np.int32]
    word: NDArray[np.int64]
    score: NDArray[np.float64]
    potential: NDArray[np.float64]


@compiled
def find_next(trie: SpellingTrie, node: int, symbol: int) -> int:
    """Return the child of `node` for `symbol`, or -1 if there is none."""
    low, high = np.int64(trie.first_child[node]), np.int64(trie.first_child[node + 1])
    end = high
    while low < high:
        middle = (low + high) >> 1
        if trie.symbol[middle] < symbol:
            low = middle + 1
        else:
            high = middle
    return int(low) if low < end and trie.symbol[low] == symbol else -1


@compiled
def _number_nodes(
    symbols: NDArray[np.int32], offsets: NDArray[np.int64], nodes: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], int]:
    """Lay out the trie of sorted spellings breadth first; `nodes` receives each spelling's last node."""
    most = len(symbols) + 1
    symbol, first_child, depth = np.full(most, -1, np.int32), np.zeros(most + 1, np.int32), np.zeros(most, np.int32)
    low, high = np.zeros(most, np.int64), np.zeros(most, np.int64)  # the spellings that begin with the node
    high[0] = len(offsets) - 1
    count = 1
    node = 0
    while node < count:
        first_child[node] = count
        row = low[node]
        while row < high[node] and offsets[row + 1] - offsets[row] == depth[node]:
            nodes[row] = node
            row += 1
        while row < high[node]:
            begin = row
            current = symbols[offsets[row] + depth[node]]
            while row < high[node] and symbols[offsets[row] + depth[node]] == current:
                row += 1
            symbol[count], depth[count], low[count], high[count] = current, depth[node] + 1, begin, row
            count += 1
        node += 1
    first_child[count] = count
    return symbol, first_child, depth, count


@compiled
def _pass_up(first_child: NDArray[np.int32], share: NDArray[np.float64], best: NDArray[np.float64]) -> None:
    """Give every node the largest share (in absolute value) and the best expectation of itself and all nodes below."""
    for node in range(len(share) - 1, -1, -1):
        for child in range(first_child[node], first_child[node + 1]):
            if abs(share[child]) > abs(share[node]):
                share[node] = share[child]
            best[node] = max(best[node], best[child])


def build_trie(
    spellings: Sequence[Sequence[int]],
    words: Sequence[int],
    scores: Sequence[float],
    bonuses: Sequence[float],
    look_ahead: NDArray[np.float64] | None = None,
    least: float = -np.inf,
) -> SpellingTrie:
    """Build the trie. All sequences have one entry per word; of equal spellings the first counts.

    words, scores: as in `SpellingTrie`, without the bonuses. bonuses: nats for a word that is favoured (or, if
    negative, disfavoured). An unfinished word is granted its bonus in proportion to the symbols spelled so far; if
    several words begin alike, the largest bonus per symbol counts. look_ahead: score that a word is expected to add
    when it ends. An unfinished word is granted the best that is still possible, and at least `least`.
    """
    order = sorted(range(len(spellings)), key=lambda row: (tuple(spellings[row]), row))
    lengths = np.array([len(spellings[row]) for row in order], np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), lengths.cumsum()])
    flat = np.fromiter((symbol for row in order for symbol in spellings[row]), np.int32, int(offsets[-1]))
    ends = np.zeros(len(order), np.int32)
    symbol, first_child, depth, count = _number_nodes(flat, offsets, ends)
    trie = SpellingTrie(
        symbol[:count], first_child[: count + 1], np.full(count, -1, np.int64), np.zeros(count), np.zeros(count)
    )
    share, best = np.zeros(count), np.full(count, -np.inf)
    for rank in range(len(order) - 1, -1, -1):  # so that the first of equal spellings is written last
        row, node = order[rank], int(ends[rank])
        trie.word[node] = words[row]
        trie.score[node] = scores[row] + bonuses[row]
        share[node] = bonuses[row] / max(1, int(lengths[rank]))
        best[node] = -np.inf if look_ahead is None else look_ahead[row]
    _pass_up(trie.first_child, share, best)
    trie.potential[:] = share * depth[:count]
    if look_ahead is not None:
        trie.potential[1:] += np.maximum(best[1:], least)
    return trie
