"""An n-gram model as a trie in plain numpy arrays, walked by compiled code.

Node 0 is the empty history and node ``1 + w`` is the word ``w``; the nodes of order k + 1 follow those of order k. The
children of a node are contiguous and sorted by word, so that a continuation is found by binary search. All logarithms
are natural.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wav2vec2.errors import UserError
from wav2vec2.lm.compiled import compiled
from wav2vec2.lm.language_model import Unit
from wav2vec2.lm.ngram.arpa import ArpaOrder, read_arpa
from wav2vec2.lm.words import BEGIN, END, UNKNOWN

_MISSING_UNKNOWN_LOG10 = -100.0  # as KenLM scores unknown words if the file has no <unk>
_NODES_MAX = 2**31 - 2

Integer = int | np.int64


class NgramArrays(NamedTuple):
    """The trie, with N nodes; a history is the number of a node."""

    word: NDArray[np.int32]
    """(N,) last word of the node's n-gram; -1 for the root."""
    first_child: NDArray[np.int32]
    """(N + 1,) the children of node n are ``first_child[n]`` to ``first_child[n + 1] - 1``."""
    log_probability: NDArray[np.float32]
    """(N,) in nats."""
    backoff: NDArray[np.float32]
    """(N,) in nats."""
    suffix: NDArray[np.int32]
    """(N,) node of the longest proper suffix that the model contains."""
    state: NDArray[np.int32]
    """(N,) the history after the node's n-gram: the shortest one that gives every continuation the same score, so that
    a search can merge equivalent histories."""


@compiled
def find_child(arrays: NgramArrays, node: Integer, word: Integer) -> Integer:
    """Return the child of ``node`` for ``word``; -1 if there is none."""
    if node == 0:
        return word + 1
    low, high = np.int64(arrays.first_child[node]), np.int64(arrays.first_child[node + 1])
    end = high
    while low < high:
        middle = (low + high) >> 1
        if arrays.word[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low if low < end and arrays.word[low] == word else np.int64(-1)


@compiled
def advance(arrays: NgramArrays, history: Integer, word: Integer) -> tuple[np.float32, np.int64]:
    """Return the log-probability (float32, nats) of ``word`` after ``history``, and the next history (int64).

    Backs off: takes the probability of the longest n-gram that the model contains, times the backoff weights of the
    longer histories.
    """
    node, total = np.int64(history), np.float32(0.0)
    while True:
        child = find_child(arrays, node, np.int64(word))
        if child >= 0:
            return total + arrays.log_probability[child], np.int64(arrays.state[child])
        total += arrays.backoff[node]
        node = np.int64(arrays.suffix[node])


@compiled
def _advance_all(
    arrays: NgramArrays, histories: NDArray[np.int64], words: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    scores = np.empty(len(words), np.float32)
    following = np.empty(len(words), np.int64)
    for i in range(len(words)):
        scores[i], following[i] = advance(arrays, histories[i], words[i])
    return scores, following


@compiled
def _parents(arrays: NgramArrays, words: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the node of each row's history (all words but the last); -1 if the model lacks it."""
    found = np.zeros(len(words), np.int64)
    for i in range(len(words)):
        for j in range(words.shape[1] - 1):
            found[i] = find_child(arrays, found[i], np.int64(words[i, j]))
            if found[i] < 0:
                break
    return found


@compiled
def _link_suffixes(arrays: NgramArrays, parents: NDArray[np.int64], first: int) -> None:
    """Set ``suffix`` of the nodes from ``first`` on; that of their parents must be set already."""
    for i in range(len(parents)):
        node = parents[i]
        child: Integer = np.int64(-1)
        while child < 0:
            node = np.int64(arrays.suffix[node])
            child = find_child(arrays, node, np.int64(arrays.word[first + i]))
        arrays.suffix[first + i] = child


@compiled
def _link_states(arrays: NgramArrays) -> None:
    for node in range(1, len(arrays.word)):
        extends = arrays.first_child[node] < arrays.first_child[node + 1] or arrays.backoff[node] != 0
        arrays.state[node] = node if extends else arrays.state[arrays.suffix[node]]


@dataclass(eq=False)
class NgramModel:
    """An n-gram model as a ``LanguageModel``."""

    tokens: Sequence[str]
    """The words in the order of the file's unigrams. If the file has no ``<unk>``, it is added at the end with KenLM's
    log10 probability for that case, -100."""
    order: int
    """Length of the longest n-gram."""
    arrays: NgramArrays
    """The trie, for compiled code."""

    def __post_init__(self) -> None:
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        self.unit: Unit = "words"
        self.unknown = self._ids[UNKNOWN]
        self._begin, self._end = self._ids[BEGIN], self._ids[END]

    @classmethod
    def load(cls, path: str | Path) -> "NgramModel":
        """Read an ARPA file, plain or gzipped.

        Raises:
            UserError: the file is missing, malformed or cut short, or has an n-gram without its history.
        """
        words, orders = read_arpa(Path(path))
        return cls.from_orders(words, orders, source=str(path))

    @classmethod
    def from_orders(cls, words: Sequence[str], orders: Sequence[ArpaOrder], *, source: str) -> "NgramModel":
        """Build the model from the n-grams of every order; ``source`` is the file's name in messages."""
        tokens = list(words)
        if UNKNOWN not in tokens and "<UNK>" in tokens:  # as some toolkits write it
            tokens[tokens.index("<UNK>")] = UNKNOWN
        orders = list(orders)
        if UNKNOWN not in tokens:
            tokens.append(UNKNOWN)
            orders[0] = orders[0].with_word(len(tokens) - 1, _MISSING_UNKNOWN_LOG10)
        for mark in (BEGIN, END):
            if mark not in tokens:
                raise UserError(f"{source}: has no {mark} among its words; estimate it from sentences (lm ngram)")
        return cls(tuple(tokens), len(orders), _build(orders, source))

    def index(self, token: str) -> int:
        """Return the index of a word, ``unknown`` if the model lacks it."""
        return self._ids.get(token, self.unknown)

    def start(self) -> int:
        """Return the history at the beginning of a sentence."""
        return int(self.arrays.state[1 + self._begin])

    def score(
        self, histories: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the log-probability of ``tokens[i]`` after ``histories[i]``, and the next histories; all (N,).

        Raises:
            ValueError: a history or token is not of this model.
        """
        histories, tokens = np.asarray(histories, np.int64), np.asarray(tokens, np.int64)
        if histories.shape != tokens.shape:
            raise ValueError(f"{histories.shape} histories for {tokens.shape} tokens")
        if len(tokens) and (
            min(histories.min(), tokens.min()) < 0
            or histories.max() >= len(self.arrays.word)
            or tokens.max() >= len(self.tokens)
        ):
            raise ValueError("a history or token that is not of this model")
        scores, following = _advance_all(self.arrays, histories, tokens)
        return scores, following

    def finish(self, histories: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the log-probability that the sentence ends after each history, (N,)."""
        histories = np.asarray(histories, np.int64)
        return self.score(histories, np.full(histories.shape, self._end, np.int64))[0]

    def retain(self, histories: NDArray[np.int64]) -> None:
        """Do nothing: a history is a node of the trie, so there is nothing to forget."""


def _build(orders: Sequence[ArpaOrder], source: str) -> NgramArrays:
    nodes = 1 + sum(len(order.words) for order in orders)
    if nodes > _NODES_MAX:
        raise UserError(
            f"{source}: has {nodes} n-grams, more than {_NODES_MAX}; prune it or convert it to a KenLM binary"
        )
    arrays = NgramArrays(
        np.full(nodes, -1, np.int32),
        np.full(nodes + 1, nodes, np.int32),
        np.zeros(nodes, np.float32),
        np.zeros(nodes, np.float32),
        np.zeros(nodes, np.int32),
        np.zeros(nodes, np.int32),
    )
    arrays.first_child[0] = 1
    first, previous = 1, 0
    for order in orders:
        parents = _parents(arrays, order.words)
        last = order.words[:, -1].astype(np.int64)
        if len(parents) and parents.min() < 0:
            raise UserError(
                f"{source}: has a {order.words.shape[1]}-gram without the {order.words.shape[1] - 1}-gram that begins "
                "it; write the file with lm ngram or lmplz"
            )
        sorting = np.lexsort((last, parents))
        parents, last = parents[sorting], last[sorting]
        if np.any((parents[1:] == parents[:-1]) & (last[1:] == last[:-1])):
            raise UserError(f"{source}: has a {order.words.shape[1]}-gram twice; write the file again")
        end = first + len(last)
        arrays.word[first:end] = last
        arrays.log_probability[first:end] = order.log10_probability[sorting] * np.log(10.0)
        arrays.backoff[first:end] = order.log10_backoff[sorting] * np.log(10.0)
        # The parents are the nodes of the order below, from `previous` to `first`.
        arrays.first_child[previous:first] = first + np.searchsorted(parents, np.arange(previous, first))
        arrays.first_child[first:] = end
        if previous:
            _link_suffixes(arrays, parents, first)
        first, previous = end, first
    _link_states(arrays)
    return arrays
