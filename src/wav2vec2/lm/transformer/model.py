"""A Transformer language model in a search, and on disk.

Keys and values of all histories are kept, and many continuations are scored at once. The hidden state of a history is
computed once, when it is first needed, in one batch with all others needed at the same time. Of the softmax only the
normalisers and the logits of the words asked for are computed.

On disk a model is a directory with ``config.json`` (with a ``model_type`` of our own), ``model.safetensors`` and
``tokens.txt``.

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

MODEL_TYPE = "wav2vec2-language-model"
CONFIG, WEIGHTS = "config.json", "model.safetensors"

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
        """Write the model's directory. Raises UserError if that is not possible."""
        save_language_model(self.network, self.vocabulary, directory)

    def forget(self) -> None:
        """Forget all histories; the memory used is then as after loading."""
        a, k = self.network.sizes, len(self.network.vocabulary.tables)
        features = self.network.vocabulary.columns[-1].stop
        like = self.network.norm.weight
        self._tree = HistoryTree(mark=0)
        self._collected = 0
        self._past = [like.new_empty(0, 2, a.hidden_size) for _ in range(a.layers)]
        self._features, self._offsets = like.new_empty(0, features), like.new_empty(0, k)

    def index(self, token: str) -> int:
        """Index of a token, ``unknown`` if the model does not know it."""
        return self.vocabulary.numbers.get(token, self.unknown)

    def start(self) -> int:
        """The history of a sentence's beginning."""
        return START

    def score(self, histories: Integers, tokens: Integers) -> tuple[NDArray[np.float32], Integers]:
        """Log-probability of ``tokens[i]`` after ``histories[i]``, and the following histories; all (N,).

        Equal pairs give equal histories.
        """
        histories, tokens = np.asarray(histories, np.int64), np.asarray(tokens, np.int64)
        return self._log_probabilities(histories, tokens), self._tree.follow(histories, tokens)

    def finish(self, histories: Integers) -> NDArray[np.float32]:
        """Log-probability of the sentence's end after each history, (N,)."""
        histories = np.asarray(histories, np.int64)
        return self._log_probabilities(histories, np.zeros_like(histories))

    def retain(self, histories: Integers) -> None:
        """Allow all histories to be forgotten but these, their ancestors and the start.

        That happens when the nodes have doubled since the last time, so a call costs little on average.
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


def save_language_model(network: TransformerNetwork, vocabulary: TokenVocabulary, directory: str | Path) -> None:
    """Write a model directory; a failed save leaves the old model as it was.

    Raises:
        UserError: the directory cannot be written (disk full, no permission).
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
    """Read a model directory: the network, in evaluation mode and float32 on the CPU, and its vocabulary.

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
        raise UserError(
            f"{source / CONFIG}: is incomplete ({error}); copy the complete model directory again"
        ) from None
    vocabulary = TokenVocabulary.load(source, unit, normalization)
    if len(vocabulary) != size:
        raise UserError(
            f"{source}/tokens.txt: has {len(vocabulary)} tokens, the model {size}; use the list it was trained with"
        )
    network = TransformerNetwork(sizes, size)
    try:
        network.load_state_dict(load_file(source / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{source / WEIGHTS}: is damaged or cut short ({error}); copy the file again") from None
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
        raise UserError(f"{source / CONFIG}: is damaged ({error}); copy the model directory again") from None
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != MODEL_TYPE:
        raise UserError(f"{source}: is a model of type {found!r}, not a language model ({MODEL_TYPE!r}); name another")
    return dict(config)


def _known(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name in names}
