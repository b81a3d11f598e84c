"""A Transformer language model for a search, which scores many continuations at once.

The histories form a tree of tokens (`HistoryTree`) and keep their keys and values. The hidden state of a history is
computed once, when it is first needed, in one batch with all others needed at the same time. Only the normalisers of
the softmax and the logits of the words asked for are computed.

Legend: N histories or pairs, T tokens before, d width, F and K as in ``AdaptiveVocabulary``.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wav2vec2.lm.language_model import Unit
from wav2vec2.lm.transformer.model_directory import TokenVocabulary, load_language_model_directory, save_language_model
from wav2vec2.lm.transformer.network import TransformerNetwork

Integers = NDArray[np.int64]

START = 0
_FIRST_CAPACITY = 1024

GATHERED_ELEMENTS = 1 << 24
"""Most elements of one layer's keys and values that are gathered at a time (64 MB)."""
COLLECT_NODES = 4096
"""``retain`` lets this many nodes accumulate before it forgets any."""


class TransformerLM:
    """A Transformer as a ``LanguageModel`` over words or characters."""

    def __init__(self, network: TransformerNetwork, vocabulary: TokenVocabulary) -> None:
        self.network, self.vocabulary = network.eval(), vocabulary
        self.tokens: Sequence[str] = vocabulary.tokens
        self.unknown = 1
        self.unit: Unit = vocabulary.unit
        self.forget()

    @classmethod
    def load(cls, directory: str | Path) -> "TransformerLM":
        """Read a directory that ``wav2vec2 lm transformer`` or ``save`` wrote.

        Raises:
            UserError: a file is missing, cut short, of another kind of model, or does not fit the others.
        """
        return cls(*load_language_model_directory(directory))

    def save(self, directory: str | Path) -> None:
        """Write the model's directory. Raises UserError if writing fails."""
        save_language_model(self.network, self.vocabulary, directory)

    def to(self, device: torch.device) -> "TransformerLM":
        """Compute on this device from now on, and return the model itself; all histories are forgotten."""
        self.network.to(device)
        self.forget()
        return self

    def forget(self) -> None:
        """Forget all histories and free their memory."""
        a, k = self.network.sizes, len(self.network.vocabulary.tables)
        features = self.network.vocabulary.columns[-1].stop
        like = self.network.norm.weight
        self._tree = HistoryTree(mark=0)
        self._collected = 0
        self._past = [like.new_empty(0, 2, a.hidden_size) for _ in range(a.layers)]
        self._features, self._offsets = like.new_empty(0, features), like.new_empty(0, k)

    def index(self, token: str) -> int:
        """Return the index of a token, ``unknown`` if the model lacks it."""
        return self.vocabulary.numbers.get(token, self.unknown)

    def start(self) -> int:
        """Return the history at the beginning of a sentence."""
        return START

    def score(self, histories: Integers, tokens: Integers) -> tuple[NDArray[np.float32], Integers]:
        """Return the log-probability of ``tokens[i]`` after ``histories[i]``, and the next histories; all (N,).

        Equal pairs give equal histories.
        """
        histories, tokens = np.asarray(histories, np.int64), np.asarray(tokens, np.int64)
        return self._log_probabilities(histories, tokens), self._tree.follow(histories, tokens)

    def finish(self, histories: Integers) -> NDArray[np.float32]:
        """Return the log-probability that the sentence ends after each history, (N,)."""
        histories = np.asarray(histories, np.int64)
        return self._log_probabilities(histories, np.zeros_like(histories))

    def retain(self, histories: Integers) -> None:
        """Allow all histories but these, their ancestors and the start to be forgotten.

        They are forgotten once the number of nodes has doubled since the last time, so a call costs little on average.
        """
        if len(self._tree) > 2 * self._collected + COLLECT_NODES:
            self._tree.retain(np.asarray(histories, np.int64))
            self._collected = len(self._tree)

    @property
    def states(self) -> int:
        """Number of histories for which memory of keys and values is reserved."""
        return len(self._offsets)

    @torch.inference_mode()
    def _log_probabilities(self, histories: Integers, tokens: Integers) -> NDArray[np.float32]:
        if not len(histories):
            return np.zeros(0, np.float32)
        nodes = np.unique(histories)
        self._compute(nodes[self._tree.row[nodes] < 0])
        device = self._offsets.device
        rows = torch.from_numpy(self._tree.row[histories]).to(device)
        picked = self.network.vocabulary.pick(self._features, self._offsets, rows, torch.from_numpy(tokens).to(device))
        return picked.float().cpu().numpy()

    def _compute(self, nodes: Integers) -> None:
        """Compute the hidden states of nodes that have none, in a few forward passes, parents before their children."""
        nodes = nodes[np.argsort(self._tree.depth[nodes], kind="stable")]
        longest = int(self._tree.depth[nodes].max(initial=0)) + 1
        together = max(1, GATHERED_ELEMENTS // (2 * self.network.sizes.hidden_size * longest))
        for first in range(0, len(nodes), together):
            self._extend(nodes[first : first + together])

    def _extend(self, nodes: Integers) -> None:
        device = self._offsets.device
        before, visible = (torch.from_numpy(array).to(device) for array in self._tree.ancestor_rows(nodes))
        tokens, places = (torch.from_numpy(array[nodes]).to(device) for array in (self._tree.token, self._tree.depth))
        hidden, own = self.network.extend(tokens, places, (tensor[before] for tensor in self._past), visible)
        features, offsets = self.network.vocabulary.prepare(hidden)
        rows = torch.from_numpy(self._tree.take_rows(nodes)).to(device)
        self._reserve(self._tree.rows)
        for layer, values in enumerate(own):
            self._past[layer][rows] = values
        self._features[rows], self._offsets[rows] = features, offsets.to(self._offsets.dtype)

    def _reserve(self, rows: int) -> None:
        """Make all tensors at least this long; a tensor that grows doubles its length."""
        if rows > len(self._offsets):
            size = max(rows, 2 * len(self._offsets), 256)
            self._past = [_grown(tensor, size) for tensor in self._past]
            self._features, self._offsets = _grown(self._features, size), _grown(self._offsets, size)


def _grown(tensor: Tensor, rows: int) -> Tensor:
    larger = tensor.new_zeros(rows, *tensor.shape[1:])
    larger[: len(tensor)] = tensor
    return larger


class HistoryTree:
    """The histories of a search as a tree of tokens, so that histories with the same beginning share it.

    A node is an integer handle for one token after its parent; node 0, the sentence's beginning, is never forgotten. A
    search makes about a thousand nodes for each one that it continues from, so a new node has no state: it gets a row
    of the caller's tensors only when a token after it is first scored.
    """

    def __init__(self, mark: int) -> None:
        self.parent = np.full(_FIRST_CAPACITY, -1, np.int64)
        self.token = np.full(_FIRST_CAPACITY, mark, np.int64)
        self.depth = np.zeros(_FIRST_CAPACITY, np.int64)
        self.row = np.full(_FIRST_CAPACITY, -1, np.int64)
        self._children: dict[tuple[int, int], int] = {}
        self._free = list(range(_FIRST_CAPACITY - 1, START, -1))
        self._free_rows: list[int] = []
        self.rows = 0
        """Largest number of rows in use at any time; the caller's tensors must have this many."""

    def __len__(self) -> int:
        return len(self.parent) - len(self._free)

    def follow(self, histories: Integers, tokens: Integers) -> Integers:
        """Return the node of each (history, token), (N,); a new one is made."""
        out = np.empty(len(histories), np.int64)
        children, pairs = self._children, zip(histories.tolist(), tokens.tolist(), strict=True)
        for place, pair in enumerate(pairs):
            node = children.get(pair)
            out[place] = self._make(pair) if node is None else node
        return out

    def _make(self, pair: tuple[int, int]) -> int:
        if not self._free:
            self._grow()
        node = self._free.pop()
        self.parent[node], self.token[node] = pair
        self.depth[node] = self.depth[pair[0]] + 1
        self.row[node] = -1
        self._children[pair] = node
        return node

    def _grow(self) -> None:
        old = len(self.parent)
        for name in ("parent", "token", "depth", "row"):
            values = getattr(self, name)
            setattr(self, name, np.concatenate([values, np.full(old, -1, np.int64)]))
        self._free = list(range(2 * old - 1, old - 1, -1))

    def take_rows(self, nodes: Integers) -> Integers:
        """Give rows to nodes that have none, and return the rows (N,)."""
        reused = min(len(nodes), len(self._free_rows))
        rows = [self._free_rows.pop() for _ in range(reused)]
        rows.extend(range(self.rows, self.rows + len(nodes) - reused))
        self.rows += len(nodes) - reused
        self.row[nodes] = rows
        return self.row[nodes]

    def ancestor_rows(self, nodes: Integers) -> tuple[Integers, NDArray[np.bool_]]:
        """Return the rows of each node's ancestors, nearest first, and a mask of those that exist.

        Both are (N, T), where T is the largest depth.
        """
        depths = self.depth[nodes]
        longest = int(depths.max(initial=0))
        rows = np.zeros((len(nodes), longest), np.int64)
        above = nodes
        for step in range(longest):
            above = np.where(depths > step, self.parent[above], START)
            rows[:, step] = self.row[above]
        return rows, np.arange(longest) < depths[:, None]

    def retain(self, histories: Integers) -> None:
        """Forget all nodes but the start, these and their ancestors."""
        kept = np.zeros(len(self.parent), bool)
        kept[START] = True
        nodes = np.unique(histories)
        while len(nodes):
            kept[nodes] = True
            nodes = np.unique(self.parent[nodes])
            nodes = nodes[(nodes >= 0) & ~kept[nodes]]
        dropped = [(pair, node) for pair, node in self._children.items() if not kept[node]]
        for pair, node in dropped:
            del self._children[pair]
            self._free.append(node)
            if self.row[node] >= 0:
                self._free_rows.append(int(self.row[node]))
                self.row[node] = -1
