"""The state of a prefix beam search in plain arrays: its rules, the prefixes in its beam, and their scores.

A prefix is a symbol sequence without blanks and with repeats merged (Graves 2012, section 3.5). It has the
log-probability of the paths that spell it and end in a blank, that of the paths that end in its last symbol, and a
bonus: everything that words and the language model add. The bonus depends on the symbols only.

Small functions take only the arrays that they read: passing a whole `Beam` costs more than their work.
"""

# mypy: disable-error-code="no-any-return"
# (an element of an array is Any)

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.prefix.spelling_trie import SpellingTrie, find_next
from wav2vec2.decode.prefix.tree import Tree, new_tree
from wav2vec2.lm.compiled import compiled

ACTIVE, ROWS, FREE, REQUESTS = range(4)
"""Places in Beam.counts: prefixes in the beam, rows of the tree, free slots, requests to the language model."""
ROW, LAST_SYMBOL, NODE, FIRST_HELD, NEXT_HELD, STAYS = range(6)
"""Columns of Beam.slots: tree row, last symbol (-1: none), node in the spelling trie (-1: outside), linked list of
the prefixes in the beam that are this one plus a symbol, whether the prefix stays after the frame."""
ENDS_BLANK, ENDS_SYMBOL, TOTAL, BONUS, LM, NEXT_BLANK, NEXT_SYMBOL, END = range(8)
"""Columns of Beam.scores: log-probability of the paths that end in a blank, in the last symbol, of both; bonus;
language model; the first two after the current frame; what a separator adds, language model aside."""
ACOUSTIC, ADDED, SCORE = range(3)
"""Columns of Beam.candidates: log-probability of the paths, bonus, their sum."""


Row = NDArray[np.float32]
Slots = NDArray[np.int32]
Scores = NDArray[np.float64]


class Rules(NamedTuple):
    """The constants of a search; all scores are in nats.

    symbols: those that may be emitted besides the blank. separator: -1 if there is none. gain: (V,) score that a symbol
    adds by itself, without the language model. by_symbol: the language model scores symbols, not words. lm_index: (V,)
    index of each symbol in such a model. unknown: index in the language model of a word outside the trie; unknown_gain:
    score that such a word adds, -inf to forbid it; outside: the potential of an unfinished one. guided: unfinished
    words have potentials or must stay in the trie. most_gain: upper bound on the score that a symbol other than a
    separator adds.
    """

    symbols: NDArray[np.int32]
    gain: NDArray[np.float64]
    lm_index: NDArray[np.int64]
    blank: int
    separator: int
    beam: int
    beam_symbols: int
    threshold: float
    add_paths: bool
    scored: bool
    by_symbol: bool
    lm_weight: float
    word_gain: float
    unknown: int
    unknown_gain: float
    outside: float
    guided: bool
    most_gain: float


class Beam(NamedTuple):
    """The prefixes in the beam, each in one of S = 2 * beam slots, and room for the C candidates of a frame.

    There are few arrays with many columns, because compiled code unpacks every array at each call. order: the slots in
    use, oldest prefix first; former: the same before the frame. slots: (S, 6), scores: (S, 8), history: (S,). cached,
    cached_history: (S, K) the language model's answers for the end of the word (K = 1) or for each next symbol (K = V),
    NaN where it was not asked. requests: slot and column to ask for. origin: (C, 2) slot and symbol (-1: the prefix
    stays); candidates: (C, 3). frame_symbols: best first; extends: (V,) whether a symbol may be added.
    """

    tree: Tree
    counts: NDArray[np.int64]
    order: NDArray[np.int32]
    former: NDArray[np.int32]
    free: NDArray[np.int32]
    slots: NDArray[np.int32]
    scores: NDArray[np.float64]
    history: NDArray[np.int64]
    cached: NDArray[np.float32]
    cached_history: NDArray[np.int64]
    requests: NDArray[np.int32]
    origin: NDArray[np.int32]
    candidates: NDArray[np.float64]
    scratch: NDArray[np.float64]
    frame_symbols: NDArray[np.int32]
    extends: NDArray[np.bool_]


def new_beam(rules: Rules, width: int, start: int, rows: int) -> Beam:
    """Make the beam before the first frame: the empty prefix alone, with the language model's history `start`."""
    slots, columns = 2 * rules.beam, width if rules.by_symbol and rules.scored else 1
    candidates = 4 * rules.beam + 64
    start_gain = float(rules.gain[rules.separator]) if rules.separator >= 0 else 0.0
    return Beam(
        tree=new_tree(rows),
        counts=np.array([1, 1, slots - 1, 0], np.int64),
        order=np.zeros(rules.beam, np.int32),
        former=np.zeros(rules.beam, np.int32),
        free=np.arange(slots - 1, -1, -1, dtype=np.int32),
        slots=np.tile(np.array([0, -1, 0, -1, -1, 0], np.int32), (slots, 1)),
        scores=np.tile(np.array([0.0, -np.inf, 0.0, 0.0, 0.0, -np.inf, -np.inf, start_gain]), (slots, 1)),
        history=np.full(slots, start, np.int64),
        cached=np.full((slots, columns), np.nan, np.float32),
        cached_history=np.zeros((slots, columns), np.int64),
        requests=np.zeros((rules.beam * columns, 2), np.int32),
        origin=np.zeros((candidates, 2), np.int32),
        candidates=np.zeros((candidates, 3)),
        scratch=np.zeros(candidates),
        frame_symbols=rules.symbols.copy(),
        extends=np.zeros(width, np.bool_),
    )


@compiled
def join(a: float, b: float, add: bool) -> float:
    """Return the log-probability of two sets of paths together: their sum, or the better of the two."""
    if a < b:
        a, b = b, a
    if not add or b == -np.inf:
        return a
    return a + np.log1p(np.exp(b - a))


@compiled
def kth_largest(values: NDArray[np.float64], n: int, k: int) -> float:
    """Return the k-th largest (from 1) of the first n values, which are reordered (Hoare's selection)."""
    low, high, target = 0, n - 1, k - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if target <= j:
            high = j
        elif target >= i:
            low = i
        else:
            break
    return values[target]


@compiled
def best_score(beam: Beam, n: int) -> float:
    """Return the best score of the first n candidates."""
    best = -np.inf
    for i in range(n):
        best = max(best, beam.candidates[i, SCORE])
    return best


@compiled
def keep_best(beam: Beam, n: int, k: int) -> tuple[int, float]:
    """Keep the k best of n candidates in their order, the first of equal ones; return their number and worst score."""
    if n <= k:
        return n, -np.inf
    for i in range(n):  # loops: slices of arrays cost seconds of compiling
        beam.scratch[i] = beam.candidates[i, SCORE]
    worst = kth_largest(beam.scratch, n, k)
    equal = k
    for i in range(n):
        if beam.candidates[i, SCORE] > worst:
            equal -= 1
    kept = 0
    for i in range(n):
        score = beam.candidates[i, SCORE]
        if score < worst or (score == worst and equal == 0):
            continue
        if score == worst:
            equal -= 1
        beam.origin[kept, 0] = beam.origin[i, 0]
        beam.origin[kept, 1] = beam.origin[i, 1]
        beam.candidates[kept, ACOUSTIC] = beam.candidates[i, ACOUSTIC]
        beam.candidates[kept, ADDED] = beam.candidates[i, ADDED]
        beam.candidates[kept, SCORE] = score
        kept += 1
    return kept, worst


@compiled
def is_held(slots: NDArray[np.int32], slot: int, symbol: int) -> bool:
    """Tell whether the prefix in `slot` plus `symbol` is already in the beam: then their paths were joined."""
    held = slots[slot, FIRST_HELD]
    while held >= 0 and slots[held, LAST_SYMBOL] != symbol:
        held = slots[held, NEXT_HELD]
    return held >= 0


@compiled
def grown(slots: Slots, scores: Scores, emission: Row, slot: int, symbol: int) -> float:
    """Return the log-probability of the prefix plus `symbol`, which must follow a blank if it repeats the last one."""
    before = scores[slot, ENDS_BLANK] if slots[slot, LAST_SYMBOL] == symbol else scores[slot, TOTAL]
    return before + emission[symbol]


@compiled
def word_is_open(slots: Slots, separator: int, slot: int) -> bool:
    """Tell whether the prefix ends in an unfinished word."""
    symbol = slots[slot, LAST_SYMBOL]
    return separator >= 0 and symbol >= 0 and symbol != separator


@compiled
def word_gain(beam: Beam, rules: Rules, trie: SpellingTrie, slot: int) -> float:
    """Return the score that the end of the prefix's word adds, without the language model; 0 if no word is open."""
    if not word_is_open(beam.slots, rules.separator, slot):
        return 0.0
    node = beam.slots[slot, NODE]
    if node < 0:
        return rules.word_gain + rules.unknown_gain - rules.outside
    ended = trie.score[node] if trie.word[node] >= 0 else rules.unknown_gain
    return rules.word_gain + ended - trie.potential[node]


@compiled
def symbol_gain(
    slots: Slots, gains: NDArray[np.float64], outside: float, trie: SpellingTrie, slot: int, symbol: int
) -> float:
    """Return the score that `symbol` (no separator) adds, without the language model, if a word may leave the trie."""
    node = slots[slot, NODE]
    if node < 0:
        return gains[symbol]
    following = find_next(trie, node, symbol)
    potential = trie.potential[following] if following >= 0 else outside
    return gains[symbol] + potential - trie.potential[node]
