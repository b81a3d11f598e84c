"""The search of whole utterances with a language model's scores.

An n-gram is asked inside compiled code; any other language model is asked from Python, frame by frame, for several
utterances at once. Both run the same two halves of a frame and ask for the same scores.
"""

# mypy: disable-error-code="no-any-return"
# (an element of an array is Any)

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.prefix.beam import (
    ACTIVE,
    BONUS,
    LM,
    NODE,
    REQUESTS,
    ROW,
    Beam,
    Rules,
    new_beam,
    word_gain,
    word_is_open,
)
from wav2vec2.decode.prefix.spelling_trie import SpellingTrie
from wav2vec2.decode.prefix.step import close_frame, open_frame
from wav2vec2.decode.prefix.tree import LAST, new_tree
from wav2vec2.lm.compiled import compiled
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.ngram.model import NgramArrays, advance

NO_END = -1
"""In place of the token of the sentence's end: the recording goes on, and the end is not scored."""
_FORGET_AFTER = 512  # new histories before the language model is told which ones are still needed

Matrix = NDArray[np.float32]


@compiled
def _requested_word(beam: Beam, rules: Rules, trie: SpellingTrie, request: int) -> int:
    if rules.by_symbol:
        return rules.lm_index[beam.requests[request, 1]]
    node = beam.slots[beam.requests[request, 0], NODE]
    return trie.word[node] if node >= 0 and trie.word[node] >= 0 else rules.unknown


@compiled
def _ask_ngram(beam: Beam, rules: Rules, trie: SpellingTrie, ngram: NgramArrays) -> None:
    for i in range(beam.counts[REQUESTS]):
        slot, column = beam.requests[i, 0], beam.requests[i, 1]
        word = _requested_word(beam, rules, trie, i)
        beam.cached[slot, column], beam.cached_history[slot, column] = advance(ngram, beam.history[slot], word)


@compiled
def _search_alone(beam: Beam, rules: Rules, trie: SpellingTrie, emission: Matrix, frame: int) -> int:
    """Search from `frame` on, until the end or until the tree is full; return the first frame not searched."""
    while frame < len(emission) and open_frame(beam, rules, trie, emission[frame]):
        close_frame(beam, rules, trie, emission[frame], frame)
        frame += 1
    return frame


@compiled
def _search_with_ngram(
    beam: Beam, rules: Rules, trie: SpellingTrie, emission: Matrix, frame: int, ngram: NgramArrays
) -> int:
    while frame < len(emission) and open_frame(beam, rules, trie, emission[frame]):
        _ask_ngram(beam, rules, trie, ngram)
        close_frame(beam, rules, trie, emission[frame], frame)
        frame += 1
    return frame


@compiled
def request_last_words(beam: Beam, rules: Rules) -> None:
    """Put every unfinished word that the language model has not scored yet into `requests`."""
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
    """End the last word of every prefix; then bonus, lm_score and history lack only the sentence's end."""
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
def _close_with_ngram(beam: Beam, rules: Rules, trie: SpellingTrie, frames: int, ngram: NgramArrays, end: int) -> None:
    request_last_words(beam, rules)
    _ask_ngram(beam, rules, trie, ngram)
    close_words(beam, rules, trie, frames)
    if end == NO_END:
        return
    for k in range(beam.counts[ACTIVE]):
        slot = beam.order[k]
        score, _ = advance(ngram, beam.history[slot], end)
        beam.scores[slot, LM] += score
        beam.scores[slot, BONUS] += rules.lm_weight * score


def with_more_rows(beam: Beam) -> Beam:
    """Return the same beam over a tree with twice the rows."""
    tree = new_tree(2 * len(beam.tree))
    tree[: len(beam.tree)] = beam.tree
    return beam._replace(tree=tree)


def first_rows(rules: Rules) -> int:
    """Return a number of rows of the tree that is enough for most utterances."""
    return max(4096, 8 * rules.beam)


@dataclass(frozen=True)
class Unscored:
    """A search without a language model."""

    def search(self, rules: Rules, trie: SpellingTrie, emission: Matrix) -> Beam:
        """Search one utterance to its end."""
        beam = new_beam(rules, emission.shape[1], 0, first_rows(rules))
        frame = _search_alone(beam, rules, trie, emission, 0)
        while frame < len(emission):
            beam = with_more_rows(beam)
            frame = _search_alone(beam, rules, trie, emission, frame)
        close_words(beam, rules, trie, len(emission))
        return beam


@dataclass(frozen=True)
class NgramScored:
    """A search with an n-gram inside compiled code. start: its first history. end: its index for the sentence's end, or
    NO_END.
    """

    arrays: NgramArrays
    start: int
    end: int

    def search(self, rules: Rules, trie: SpellingTrie, emission: Matrix) -> Beam:
        """Search one utterance to its end."""
        beam = new_beam(rules, emission.shape[1], self.start, first_rows(rules))
        frame = _search_with_ngram(beam, rules, trie, emission, 0, self.arrays)
        while frame < len(emission):
            beam = with_more_rows(beam)
            frame = _search_with_ngram(beam, rules, trie, emission, frame, self.arrays)
        _close_with_ngram(beam, rules, trie, len(emission), self.arrays, self.end)
        return beam


@compiled
def _requests(beam: Beam, rules: Rules, trie: SpellingTrie) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    count = beam.counts[REQUESTS]
    histories, words = np.empty(count, np.int64), np.empty(count, np.int64)
    for i in range(count):
        histories[i] = beam.history[beam.requests[i, 0]]
        words[i] = _requested_word(beam, rules, trie, i)
    return histories, words


@compiled
def _histories(beam: Beam) -> NDArray[np.int64]:
    """Return the histories that the beam still needs: those of its prefixes, and those cached for their extensions."""
    columns = beam.cached.shape[1]
    found = np.empty(beam.counts[ACTIVE] * (1 + columns), np.int64)
    count = 0
    for k in range(beam.counts[ACTIVE]):
        slot = beam.order[k]
        found[count] = beam.history[slot]
        count += 1
        for column in range(columns):
            if not np.isnan(beam.cached[slot, column]):
                found[count] = beam.cached_history[slot, column]
                count += 1
    return found[:count]


class InStep:
    """Utterances that are searched in step, so that the language model scores all of them in one call.

    starts: the history that each begins with. goes_on: whether the recording goes on after it, so that its end is not
    scored.
    """

    def __init__(
        self,
        lm: LanguageModel,
        rules: Rules,
        trie: SpellingTrie,
        emissions: Sequence[Matrix],
        starts: NDArray[np.int64],
        goes_on: Sequence[bool],
    ) -> None:
        self._lm, self._rules, self._trie, self._emissions, self._goes_on = lm, rules, trie, emissions, goes_on
        self.beams = [
            new_beam(rules, array.shape[1], start, first_rows(rules))
            for array, start in zip(emissions, starts.tolist(), strict=True)
        ]
        self._asked = 0

    def run(self) -> list[Beam]:
        """Search all utterances to their ends."""
        for frame in range(max(map(len, self._emissions), default=0)):
            going = [i for i, array in enumerate(self._emissions) if frame < len(array)]
            for i in going:
                while not open_frame(self.beams[i], self._rules, self._trie, self._emissions[i][frame]):
                    self.beams[i] = with_more_rows(self.beams[i])
            self._ask(going)
            for i in going:
                close_frame(self.beams[i], self._rules, self._trie, self._emissions[i][frame], frame)
            if self._asked >= _FORGET_AFTER:
                self._forget()
        self._finish()
        return self.beams

    def _ask(self, rows: Sequence[int]) -> None:
        pairs = [_requests(self.beams[i], self._rules, self._trie) for i in rows if self.beams[i].counts[REQUESTS]]
        if not pairs:
            return
        asking = np.stack([np.concatenate(column) for column in zip(*pairs, strict=True)], axis=1)
        unique, places = np.unique(asking, axis=0, return_inverse=True)
        scores, following = self._lm.score(unique[:, 0].copy(), unique[:, 1].copy())
        self._asked += len(unique)
        places, done = places.reshape(-1), 0
        for i in rows:
            beam, count = self.beams[i], int(self.beams[i].counts[REQUESTS])
            here = places[done : done + count]
            slots, columns = beam.requests[:count, 0], beam.requests[:count, 1]
            beam.cached[slots, columns], beam.cached_history[slots, columns] = scores[here], following[here]
            done += count

    def _forget(self) -> None:
        self._lm.retain(np.unique(np.concatenate([_histories(beam) for beam in self.beams])))
        self._asked = 0

    def _finish(self) -> None:
        for beam in self.beams:
            request_last_words(beam, self._rules)
        self._ask(range(len(self.beams)))
        for beam, array in zip(self.beams, self._emissions, strict=True):
            close_words(beam, self._rules, self._trie, len(array))
        ending = [beam for beam, goes_on in zip(self.beams, self._goes_on, strict=True) if not goes_on]
        slots = [beam.order[: beam.counts[ACTIVE]].astype(np.int64) for beam in ending]
        histories = [beam.history[held] for beam, held in zip(ending, slots, strict=True)]
        if histories:
            unique, places = np.unique(np.concatenate(histories), return_inverse=True)
            ends = self._lm.finish(unique)[places.reshape(-1)]
        done = 0
        for beam, held in zip(ending, slots, strict=True):
            end = ends[done : done + len(held)].astype(np.float64)
            beam.scores[held, LM] += end
            beam.scores[held, BONUS] += self._rules.lm_weight * end
            done += len(held)
        self._lm.retain(np.zeros(0, np.int64))
