"""What a prefix beam search holds while it runs: the rules it obeys and the prefixes in its beam, all in plain arrays.

A prefix is a symbol sequence without blanks, runs merged (Graves 2012, section 3.5). It carries the log-probability of
the paths that spell it and end in a blank, of those that end in its last symbol, and a bonus: everything that words and
language model add. The bonus follows from the symbols alone.
"""

# mypy: disable-error-code="no-any-return"
# (an element of an array is Any)

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.prefix.tree import Tree, new_tree
from wav2vec2.lm.compiled import compiled

ACTIVE, ROWS, FREE, REQUESTS = range(4)
"""Places in Beam.counts: prefixes in the beam, rows of the tree, free slots, requests to the language model."""
ROW, LAST_SYMBOL, NODE, FIRST_HELD, NEXT_HELD, STAYS = range(6)
"""Columns of Beam.slots: row in the tree, last symbol (-1: none), node in the spelling trie (-1: outside), the chain of
held prefixes that are this one plus a symbol, whether it stays after the frame."""
ENDS_BLANK, ENDS_SYMBOL, TOTAL, BONUS, LM, NEXT_BLANK, NEXT_SYMBOL, END = range(8)
"""Columns of Beam.scores: log-probability of the paths that end in a blank, in the last symbol, of both; bonus;
language model; the first two after the current frame; what a separator adds but for the language model."""
ACOUSTIC, ADDED, SCORE = range(3)
"""Columns of Beam.candidates: log-probability of the paths, bonus, their sum."""


class Rules(NamedTuple):
    """What does not change during a search; nats throughout.

    symbols: what may be emitted besides the blank. separator: -1 if there is none. gain: (V,) what a symbol adds by
    itself, language model aside. by_symbol: the language model scores symbols, not words. lm_index: (V,) the symbols in
    such a model. unknown: the language model's index for a word outside the trie; unknown_gain: what such a word adds,
    -inf forbids it; outside: the potential of an unfinished one. guided: unfinished words have potentials or must stay
    in the trie. most_gain: no symbol but a separator adds more.
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
    """The prefixes in the beam, each in a slot of S = 2 * beam, and room for one frame's C candidates.

    Few arrays with columns, since compiled code takes each apart at every call. order: the slots in use, oldest prefix
    first; former: the same before the frame. slots: (S, 6), scores: (S, 8), history: (S,). cached, cached_history:
    (S, K) the language model's answer for closing the word (K = 1) or for each next symbol (K = V), NaN while not
    asked. requests: slot and column to ask for. origin: (C, 2) slot and symbol (-1: it stays); candidates: (C, 3).
    frame_symbols: best first; extends: (V,) which of them may be added.
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
    """Make the beam before the first frame: the empty prefix alone, after the language model's history `start`."""
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
    """Log-probability of two sets of paths together: their sum, or the better of their best ones."""
    if a < b:
        a, b = b, a
    if not add or b == -np.inf:
        return a
    return a + np.log1p(np.exp(b - a))


@compiled
def kth_largest(values: NDArray[np.float64], n: int, k: int) -> float:
    """The k-th largest (from 1) of the first n values, which are reordered (Hoare's selection)."""
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
    """The best of the first n candidates' scores."""
    best = -np.inf
    for i in range(n):
        best = max(best, beam.candidates[i, SCORE])
    return best


@compiled
def keep_best(beam: Beam, n: int, k: int) -> tuple[int, float]:
    """Keep the k best of n candidates in their order, of equal ones the first; return k and the worst score kept."""
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
    """Whether the prefix in `slot` plus `symbol` is in the beam already: then their paths were joined."""
    held = slots[slot, FIRST_HELD]
    while held >= 0 and slots[held, LAST_SYMBOL] != symbol:
        held = slots[held, NEXT_HELD]
    return held >= 0
