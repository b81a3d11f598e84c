"""One frame of a prefix beam search, in two halves.

`open_frame` lists the scores that the language model must give; `close_frame` makes all candidates, ranks them and
prunes. Candidates are made in this order: prefixes that stay, oldest first; then the extensions of each of them, first
by the separator and then by the other symbols from the most to the least probable, lower ids first. Of equal scores the
first is kept.
"""

# mypy: disable-error-code="no-any-return"
# (an element of an array is Any)

import numpy as np

from wav2vec2.decode.prefix.beam import (
    ACOUSTIC,
    ACTIVE,
    ADDED,
    BONUS,
    END,
    ENDS_BLANK,
    ENDS_SYMBOL,
    FIRST_HELD,
    FREE,
    LAST_SYMBOL,
    LM,
    NEXT_BLANK,
    NEXT_HELD,
    NEXT_SYMBOL,
    NODE,
    REQUESTS,
    ROW,
    ROWS,
    SCORE,
    STAYS,
    TOTAL,
    Beam,
    Row,
    Rules,
    best_score,
    grown,
    is_held,
    join,
    keep_best,
    symbol_gain,
    word_gain,
    word_is_open,
)
from wav2vec2.decode.prefix.spelling_trie import SpellingTrie, find_next
from wav2vec2.decode.prefix.tree import LAST, PARENT, SLOT, add_child, drop_dead_branches, find_child
from wav2vec2.lm.compiled import compiled


@compiled
def open_frame(beam: Beam, rules: Rules, trie: SpellingTrie, emission: Row) -> bool:
    """Let every prefix stay, and list the scores that its extensions may need in `requests`.

    Returns False, with nothing done, if the tree needs more rows first.
    """
    counts = beam.counts
    if counts[ROWS] + rules.beam > len(beam.tree):
        counts[ROWS] = drop_dead_branches(beam.tree, counts[ROWS], beam.slots)
        if 2 * (counts[ROWS] + rules.beam) > len(beam.tree):
            return False
    _rank_symbols(beam, rules, emission)
    _stay(beam, rules, emission)
    counts[REQUESTS] = 0
    if rules.scored:
        _request(beam, rules, trie, emission)
    return True


@compiled
def _rank_symbols(beam: Beam, rules: Rules, emission: Row) -> None:
    ranked = beam.frame_symbols
    for i in range(len(ranked)):  # insertion sort: the order is nearly that of the previous frame
        symbol = ranked[i]
        j = i
        while j > 0 and (
            emission[ranked[j - 1]] < emission[symbol]
            or (emission[ranked[j - 1]] == emission[symbol] and ranked[j - 1] > symbol)
        ):
            ranked[j] = ranked[j - 1]
            j -= 1
        ranked[j] = symbol
    for i in range(len(ranked)):
        beam.extends[ranked[i]] = i < rules.beam_symbols


@compiled
def _stay(beam: Beam, rules: Rules, emission: Row) -> None:
    active = beam.counts[ACTIVE]
    for k in range(active):
        slot = beam.order[k]
        symbol = beam.slots[slot, LAST_SYMBOL]
        beam.scores[slot, NEXT_BLANK] = beam.scores[slot, TOTAL] + emission[rules.blank]
        beam.scores[slot, NEXT_SYMBOL] = beam.scores[slot, ENDS_SYMBOL] + emission[symbol] if symbol >= 0 else -np.inf
        beam.slots[slot, FIRST_HELD] = -1
    for k in range(active):
        slot = beam.order[k]
        parent = beam.tree[beam.slots[slot, ROW], PARENT]
        shorter = beam.tree[parent, SLOT] if parent >= 0 else -1
        if shorter < 0:
            continue
        beam.slots[slot, NEXT_HELD] = beam.slots[shorter, FIRST_HELD]
        beam.slots[shorter, FIRST_HELD] = slot
        symbol = beam.slots[slot, LAST_SYMBOL]
        if beam.extends[symbol]:
            added = grown(beam.slots, beam.scores, emission, shorter, symbol)
            beam.scores[slot, NEXT_SYMBOL] = join(beam.scores[slot, NEXT_SYMBOL], added, rules.add_paths)
    for k in range(active):
        slot = beam.order[k]
        acoustic = join(beam.scores[slot, NEXT_BLANK], beam.scores[slot, NEXT_SYMBOL], rules.add_paths)
        beam.origin[k, 0], beam.origin[k, 1] = slot, -1
        beam.candidates[k, ACOUSTIC], beam.candidates[k, ADDED] = acoustic, beam.scores[slot, BONUS]
        beam.candidates[k, SCORE] = acoustic + beam.scores[slot, BONUS]


@compiled
def _floor(beam: Beam, rules: Rules) -> float:
    """Return the lowest score that may enter the beam, given the scores of the prefixes that stay."""
    active = beam.counts[ACTIVE]
    floor = best_score(beam, active) - rules.threshold
    if active == rules.beam:
        worst = np.inf
        for i in range(active):
            worst = min(worst, beam.candidates[i, SCORE])
        floor = max(floor, np.nextafter(worst, np.inf))
    return floor


@compiled
def _request(beam: Beam, rules: Rules, trie: SpellingTrie, emission: Row) -> None:
    """Request scores of extensions that are not cached and could enter the beam if they had probability one."""
    floor = _floor(beam, rules)
    hopeful = rules.lm_weight >= 0
    strict = rules.guided and rules.unknown_gain == -np.inf
    count = 0
    for k in range(beam.counts[ACTIVE]):
        slot = beam.order[k]
        for i in range(rules.beam_symbols if rules.by_symbol else 1):
            symbol = beam.frame_symbols[i] if rules.by_symbol else rules.separator
            column = symbol if rules.by_symbol else 0
            if not beam.extends[symbol] or not np.isnan(beam.cached[slot, column]):
                continue
            score = grown(beam.slots, beam.scores, emission, slot, symbol) + beam.scores[slot, BONUS]
            score += beam.scores[slot, END] if symbol == rules.separator else rules.most_gain
            if (score < floor and hopeful) or not score > -np.inf or is_held(beam.slots, slot, symbol):
                continue
            if symbol == rules.separator:
                if not rules.by_symbol and not word_is_open(beam.slots, rules.separator, slot):
                    continue
            elif strict and find_next(trie, beam.slots[slot, NODE], symbol) < 0:
                continue
            beam.requests[count, 0], beam.requests[count, 1] = slot, column
            count += 1
    beam.counts[REQUESTS] = count


@compiled
def close_frame(beam: Beam, rules: Rules, trie: SpellingTrie, emission: Row, frame: int) -> None:
    """Make all candidates, keep the best ones and put them into the beam."""
    n = _grow(beam, rules, trie, emission)
    n, _ = keep_best(beam, n, rules.beam)
    least = best_score(beam, n) - rules.threshold
    active = beam.counts[ACTIVE]
    for k in range(active):
        beam.former[k] = beam.order[k]
        beam.slots[beam.order[k], STAYS] = 0
    kept = 0
    for i in range(n):
        if beam.candidates[i, SCORE] < least:
            continue
        slot = beam.origin[i, 0]
        if beam.origin[i, 1] < 0:
            beam.scores[slot, ENDS_BLANK] = beam.scores[slot, NEXT_BLANK]
            beam.scores[slot, ENDS_SYMBOL] = beam.scores[slot, NEXT_SYMBOL]
            beam.scores[slot, TOTAL] = beam.candidates[i, ACOUSTIC]
            beam.slots[slot, STAYS] = 1
        else:
            slot = _enter(beam, rules, trie, i, frame)
        beam.order[kept] = slot
        kept += 1
    beam.counts[ACTIVE] = kept
    for k in range(active):
        slot = beam.former[k]
        if beam.slots[slot, STAYS] == 0:
            beam.tree[beam.slots[slot, ROW], SLOT] = -1
            beam.tree[beam.slots[slot, ROW], LAST] = frame - 1
            beam.free[beam.counts[FREE]] = slot
            beam.counts[FREE] += 1


@compiled
def _enter(beam: Beam, rules: Rules, trie: SpellingTrie, candidate: int, frame: int) -> int:
    """Give a new prefix a slot, and a row unless it has one from before; return the slot."""
    counts, tree = beam.counts, beam.tree
    shorter, symbol = beam.origin[candidate, 0], beam.origin[candidate, 1]
    counts[FREE] -= 1
    slot = beam.free[counts[FREE]]
    row = find_child(tree, beam.slots[shorter, ROW], symbol)
    if row < 0:
        row = counts[ROWS]
        counts[ROWS] += 1
        add_child(tree, row, beam.slots[shorter, ROW], symbol, frame)
    tree[row, SLOT] = slot
    beam.slots[slot, ROW], beam.slots[slot, LAST_SYMBOL] = row, symbol
    beam.scores[slot, ENDS_BLANK] = -np.inf
    beam.scores[slot, ENDS_SYMBOL] = beam.scores[slot, TOTAL] = beam.candidates[candidate, ACOUSTIC]
    beam.scores[slot, BONUS] = beam.candidates[candidate, ADDED]
    beam.history[slot], beam.scores[slot, LM] = beam.history[shorter], beam.scores[shorter, LM]
    column = symbol if rules.by_symbol else 0
    if rules.scored and (
        rules.by_symbol or (symbol == rules.separator and word_is_open(beam.slots, rules.separator, shorter))
    ):
        beam.history[slot] = beam.cached_history[shorter, column]
        beam.scores[slot, LM] += beam.cached[shorter, column]
    if symbol == rules.separator:
        beam.slots[slot, NODE] = 0
    else:
        node = beam.slots[shorter, NODE]
        beam.slots[slot, NODE] = find_next(trie, node, symbol) if node >= 0 else -1
    if rules.separator >= 0:
        beam.scores[slot, END] = rules.gain[rules.separator] + word_gain(beam, rules, trie, slot)
    for i in range(beam.cached.shape[1]):
        beam.cached[slot, i] = np.nan
    return slot


@compiled
def _offer(beam: Beam, n: int, slot: int, symbol: int, acoustic: float, bonus: float) -> None:
    beam.origin[n, 0], beam.origin[n, 1] = slot, symbol
    beam.candidates[n, ACOUSTIC], beam.candidates[n, ADDED] = acoustic, bonus
    beam.candidates[n, SCORE] = acoustic + bonus


@compiled
def _grow(beam: Beam, rules: Rules, trie: SpellingTrie, emission: Row) -> int:
    """Add the extensions of each prefix to the candidates; return the new number of candidates."""
    n = beam.counts[ACTIVE]
    slots, scores, extends, ranked = beam.slots, beam.scores, beam.extends, beam.frame_symbols
    symbol_of, first_child = trie.symbol, trie.first_child
    best = best_score(beam, n)
    floor = _floor(beam, rules)
    in_trie = rules.guided and rules.unknown_gain == -np.inf
    for k in range(beam.counts[ACTIVE]):
        slot = beam.order[k]
        count, offset = rules.beam_symbols, 0
        if in_trie:
            offset = first_child[slots[slot, NODE]]
            count = first_child[slots[slot, NODE] + 1] - offset
        for i in range(-1, count):  # -1: the separator
            most = scores[slot, TOTAL] + scores[slot, BONUS]
            if i < 0:
                symbol = rules.separator
                if symbol < 0 or (most + emission[symbol] + scores[slot, END] < floor and rules.lm_weight >= 0):
                    continue
            else:
                symbol = symbol_of[offset + i] if in_trie else ranked[i]
                if symbol == rules.separator:
                    continue
                if most + emission[symbol] + rules.most_gain < floor:
                    if in_trie:
                        continue
                    break
            if not extends[symbol] or is_held(slots, slot, symbol):
                continue
            acoustic = grown(slots, scores, emission, slot, symbol)
            bonus = scores[slot, BONUS]
            if i < 0:
                bonus += scores[slot, END]
            elif not rules.guided:
                bonus += rules.gain[symbol]
            elif in_trie:
                bonus += rules.gain[symbol] + trie.potential[offset + i] - trie.potential[slots[slot, NODE]]
            else:
                bonus += symbol_gain(slots, rules.gain, rules.outside, trie, slot, symbol)
            if rules.scored and (rules.by_symbol or (i < 0 and word_is_open(slots, rules.separator, slot))):
                bonus += rules.lm_weight * beam.cached[slot, symbol if rules.by_symbol else 0]  # NaN if not requested
            score = acoustic + bonus
            if not (score >= floor and score > -np.inf):
                continue
            if n == len(beam.candidates):
                n, worst = keep_best(beam, n, rules.beam)
                floor = max(floor, np.nextafter(worst, np.inf))
                if score < floor:
                    continue
            _offer(beam, n, slot, symbol, acoustic, bonus)
            n += 1
            if score > best:
                best = score
                floor = max(floor, best - rules.threshold)
    return n
