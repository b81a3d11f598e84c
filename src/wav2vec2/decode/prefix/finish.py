"""The end of a prefix beam search: last words closed, readings ranked, and the best path of a reading found again."""

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.prefix.beam import ACTIVE, BONUS, LM, REQUESTS, ROW, Beam, Rules
from wav2vec2.decode.prefix.gains import word_gain, word_is_open
from wav2vec2.decode.prefix.spelling_trie import SpellingTrie
from wav2vec2.decode.prefix.tree import FIRST, LAST, PARENT, SLOT, SYMBOL, Tree
from wav2vec2.lm.compiled import compiled

_UNREACHED, _WAITS, _FOLLOWS_BLANK, _FOLLOWS_SYMBOL = range(4)


@compiled
def request_last_words(beam: Beam, rules: Rules) -> None:
    """Note in `requests` every unfinished word that the language model has not scored yet."""
    count = 0
    if rules.scored and not rules.by_symbol:
        for k in range(beam.counts[ACTIVE]):
            slot = beam.order[k]
            if word_is_open(beam.slots, rules.separator, slot) and np.isnan(beam.cached[slot, 0]):
                beam.requests[count, 0], beam.requests[count, 1] = slot, 0
                count += 1
    beam.counts[REQUESTS] = count


@compiled
def close_words(beam: Beam, rules: Rules, trie: SpellingTrie, frames: int) -> None:
    """End the last word of every prefix: bonus, lm_score and history are complete but for the sentence's end."""
    for k in range(beam.counts[ACTIVE]):
        slot = beam.order[k]
        beam.tree[beam.slots[slot, ROW], LAST] = frames - 1
        if not word_is_open(beam.slots, rules.separator, slot):
            continue
        beam.scores[slot, BONUS] += word_gain(beam, rules, trie, slot)
        if rules.scored and not rules.by_symbol:
            beam.scores[slot, BONUS] += rules.lm_weight * beam.cached[slot, 0]
            beam.scores[slot, LM] += beam.cached[slot, 0]
            beam.history[slot] = beam.cached_history[slot, 0]


@compiled
def spell(tree: Tree, row: int) -> NDArray[np.int32]:
    """The rows of a prefix's beginnings, from its first symbol to itself."""
    length = 0
    node = row
    while node > 0:
        length += 1
        node = tree[node, PARENT]
    rows = np.empty(length, np.int32)
    node = row
    for i in range(length - 1, -1, -1):
        rows[i] = node
        node = tree[node, PARENT]
    return rows


@compiled
def best_frames(
    tree: Tree, rows: NDArray[np.int32], emission: NDArray[np.float32], blank: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last frame of each symbol on the most probable path that spells the prefix.

    Only frames at which the search held a beginning are considered for it, so the cost grows with the frames and not
    with frames times symbols. Of equal paths the one that changes symbol earliest counts.
    """
    frames, length = len(emission), len(rows)
    start = np.zeros(length + 1, np.int64)
    offset = np.zeros(length + 2, np.int64)
    for i in range(length + 1):
        row = rows[i - 1] if i > 0 else 0
        start[i] = tree[row, FIRST] if i > 0 else -1
        last = frames - 1 if i == length else tree[row, LAST] if tree[row, SLOT] < 0 else frames - 1
        offset[i + 1] = offset[i] + last - start[i] + 1
    ends_blank, ends_symbol = np.full(offset[-1], -np.inf), np.full(offset[-1], -np.inf)
    came = np.zeros(offset[-1], np.int8)  # how the best path into the symbol's state came there
    ends_blank[0] = 0.0
    for i in range(length + 1):
        symbol = tree[rows[i - 1], SYMBOL] if i > 0 else -1
        repeats = i > 1 and tree[rows[i - 2], SYMBOL] == symbol
        for cell in range(offset[i] + (1 if i == 0 else 0), offset[i + 1]):
            frame = start[i] + cell - offset[i]
            here = cell > offset[i]
            if i > 0:
                before = offset[i - 1] + frame - 1 - start[i - 1]
                reached = before < offset[i] and before >= offset[i - 1]
                best, way = ends_symbol[cell - 1] if here else -np.inf, _WAITS
                if reached and ends_blank[before] > best:
                    best, way = ends_blank[before], _FOLLOWS_BLANK
                if reached and not repeats and i > 1 and ends_symbol[before] > best:
                    best, way = ends_symbol[before], _FOLLOWS_SYMBOL
                ends_symbol[cell] = best + emission[frame, symbol]
                came[cell] = way
            if here:
                ends_blank[cell] = max(ends_blank[cell - 1], ends_symbol[cell - 1]) + emission[frame, blank]
    return _trace_back(start, offset, ends_blank, ends_symbol, came, frames)


@compiled
def _trace_back(
    start: NDArray[np.int64],
    offset: NDArray[np.int64],
    ends_blank: NDArray[np.float64],
    ends_symbol: NDArray[np.float64],
    came: NDArray[np.int8],
    frames: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    length = len(start) - 1
    first, last = np.zeros(length, np.int64), np.zeros(length, np.int64)
    frame = frames - 1
    cell = offset[length] + frame - start[length]
    in_blank = length == 0 or ends_blank[cell] > ends_symbol[cell]
    for i in range(length, 0, -1):
        cell = offset[i] + frame - start[i]
        while in_blank:
            in_blank = ends_blank[cell - 1] >= ends_symbol[cell - 1]
            cell -= 1
            frame -= 1
        last[i - 1] = frame
        while came[cell] == _WAITS and cell > offset[i]:
            cell -= 1
            frame -= 1
        first[i - 1] = frame
        in_blank = came[cell] == _FOLLOWS_BLANK
        frame -= 1
    return first, last
