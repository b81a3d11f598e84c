"""A Transformer language model inside a search: scores many continuations at once from kept keys and values.

A history's hidden state is computed once, when it is first asked for, together with all others asked for at the same
time; of the softmax over the words only the normalisers are computed for it, and then the asked words' own rows.

Legend: N histories or pairs, T tokens before, d width, F and K as in ``AdaptiveVocabulary``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import Unit
from wav2vec2.lm.transformer.history_tree import START, HistoryTree, Integers
from wav2vec2.lm.transformer.network import LanguageModelSizes, TransformerNetwork
from wav2vec2.lm.transformer.token_vocabulary import TokenVocabulary
from wav2vec2.output_file import writing_together
from wav2vec2.text.normalize import TextNormalization

GATHERED_ELEMENTS = 1 << 24
"""Keys and values of one layer that are brought together at a time (64 MB)."""
COLLECT_NODES = 4096
"""``retain`` lets this many nodes pile up before it looks for those to forget."""


class TransformerLM:
    """A ``LanguageModel``; ``unit`` says whether its tokens are words or characters."""

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
        """Write ``config.json``, ``model.safetensors`` and ``tokens.txt``; UserError when that is not possible."""
        save_language_model(self.network, self.vocabulary, directory)

    def forget(self) -> None:
        """Drop every history: memory as after loading."""
        a, k = self.network.sizes, len(self.network.vocabulary.tables)
        features = self.network.vocabulary.columns[-1].stop
        like = self.network.norm.weight
        self._tree = HistoryTree(mark=0)
        self._collected = 0
        self._past = [like.new_empty(0, 2, a.hidden_size) for _ in range(a.layers)]
        self._features, self._offsets = like.new_empty(0, features), like.new_empty(0, k)

    def index(self, token: str) -> int:
        """Number of a word (or character), ``unknown`` for another."""
        return self.vocabulary.numbers.get(token, self.unknown)

    def start(self) -> int:
        """The history of a sentence's beginning."""
        return START

    def score(self, histories: Integers, tokens: Integers) -> tuple[NDArray[np.float32], Integers]:
        """Ln P(tokens[i] | histories[i]) and the histories that follow, (N,) each; equal pairs give equal histories."""
        histories, tokens = np.asarray(histories, np.int64), np.asarray(tokens, np.int64)
        return self._log_probabilities(histories, tokens), self._tree.follow(histories, tokens)

    def finish(self, histories: Integers) -> NDArray[np.float32]:
        """Ln P(sentence end | histories[i]), (N,)."""
        histories = np.asarray(histories, np.int64)
        return self._log_probabilities(histories, np.zeros_like(histories))

    def retain(self, histories: Integers) -> None:
        """Keep these histories, what they grow from and the start; the others may go.

        Nodes are collected when they have doubled since the last time, so a call costs little on average.
        """
        if len(self._tree) > 2 * self._collected + COLLECT_NODES:
            self._tree.retain(np.asarray(histories, np.int64))
            self._collected = len(self._tree)

    @property
    def states(self) -> int:
        """Histories whose keys and values are held in memory (used or to be used again)."""
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
        """Hidden states of nodes that have none, in a few forward passes: a parent has its own before its children."""
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
        """Let all tensors have at least this many rows, twice as many as before when they grow."""
        if rows > len(self._offsets):
            size = max(rows, 2 * len(self._offsets), 256)
            self._past = [_grown(tensor, size) for tensor in self._past]
            self._features, self._offsets = _grown(self._features, size), _grown(self._offsets, size)


def _grown(tensor: Tensor, rows: int) -> Tensor:
    larger = tensor.new_zeros(rows, *tensor.shape[1:])
    larger[: len(tensor)] = tensor
    return larger


MODEL_TYPE = "wav2vec2-language-model"
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save_language_model(network: TransformerNetwork, vocabulary: TokenVocabulary, directory: str | Path) -> None:
    """Write the directory aside, then into place: a failed save leaves the old model.

    Raises:
        UserError: it cannot be written (disk full, no permission).
    """
    config = {
        "model_type": MODEL_TYPE,
        "unit": vocabulary.unit,
        "vocab_size": len(vocabulary),
        "normalization": asdict(vocabulary.normalization),
        "sizes": asdict(network.sizes),
    }
    tensors = {
        name: value.detach().to("cpu", torch.float32).contiguous() for name, value in network.state_dict().items()
    }
    with writing_together(directory) as folder:
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        vocabulary.save(folder)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def load_language_model_directory(directory: str | Path) -> tuple[TransformerNetwork, TokenVocabulary]:
    """Read a directory: the network in evaluation mode, as float32 on the CPU, and its vocabulary.

    Raises:
        UserError: a file is missing, cut short, of another kind of model, or does not fit the others.
    """
    source = Path(directory)
    config = _read_config(source)
    try:
        sizes = LanguageModelSizes(**_known(LanguageModelSizes, config["sizes"]))
        normalization = TextNormalization(**_known(TextNormalization, config["normalization"]))
        unit, size = config["unit"], int(config["vocab_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{source / CONFIG}: incomplete ({error}); copy the complete model directory again") from None
    vocabulary = TokenVocabulary.load(source, unit, normalization)
    if len(vocabulary) != size:
        raise UserError(
            f"{source}/tokens.txt: has {len(vocabulary)} tokens, the model {size}; give the list it was trained with"
        )
    network = TransformerNetwork(sizes, size)
    try:
        network.load_state_dict(load_file(source / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{source / WEIGHTS}: damaged or cut short ({error}); copy the file again") from None
    except RuntimeError as error:
        why = " ".join(str(error).split())[-200:]
        raise UserError(f"{source / WEIGHTS}: does not fit {CONFIG} ({why}); copy the directory again") from None
    return network.eval(), vocabulary


def _read_config(source: Path) -> dict[str, Any]:
    if not source.is_dir():
        raise UserError(f"{source}: no such language model; give the directory that 'wav2vec2 lm transformer' wrote")
    try:
        config = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{source}: has no {CONFIG}; give the directory that 'wav2vec2 lm transformer' wrote") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{source / CONFIG}: damaged ({error}); copy the model directory again") from None
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != MODEL_TYPE:
        raise UserError(f"{source}: is a model of type {found!r}, not a language model ({MODEL_TYPE!r}); give another")
    return dict(config)


def _known(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name in names}
