"""What a prefix gains when a symbol is added or its last word ends, the language model aside.

Small functions take the few arrays that they read: handing over a whole `Beam` costs more than what they do.
"""

# mypy: disable-error-code="no-any-return"
# (an element of an array is Any)

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.prefix.beam import ENDS_BLANK, LAST_SYMBOL, NODE, TOTAL, Beam, Rules
from wav2vec2.decode.prefix.spelling_trie import SpellingTrie, find_next
from wav2vec2.lm.compiled import compiled

Row = NDArray[np.float32]
Slots = NDArray[np.int32]
Scores = NDArray[np.float64]


@compiled
def grown(slots: Slots, scores: Scores, emission: Row, slot: int, symbol: int) -> float:
    """Log-probability of the prefix plus `symbol`, which must follow a blank where it repeats the last one."""
    before = scores[slot, ENDS_BLANK] if slots[slot, LAST_SYMBOL] == symbol else scores[slot, TOTAL]
    return before + emission[symbol]


@compiled
def word_is_open(slots: Slots, separator: int, slot: int) -> bool:
    """Whether the prefix ends in an unfinished word."""
    symbol = slots[slot, LAST_SYMBOL]
    return separator >= 0 and symbol >= 0 and symbol != separator


@compiled
def word_gain(beam: Beam, rules: Rules, trie: SpellingTrie, slot: int) -> float:
    """What ending the word of the prefix adds before the language model, 0 where no word is open."""
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
    """What adding `symbol` (no separator) adds before the language model, where a word may leave the trie."""
    node = slots[slot, NODE]
    if node < 0:
        return gains[symbol]
    following = find_next(trie, node, symbol)
    potential = trie.potential[following] if following >= 0 else outside
    return gains[symbol] + potential - trie.potential[node]
