"""Numbers for every frame of a manifest's rows: outputs of layers, and log-probabilities.

A row of results has the number of its `frames`, and for each kind of output a list of all its numbers, frame after
frame: `numpy.array(row["layer_9"]).reshape(row["frames"], -1)`.

Legend: B utterances, S samples, T frames, d channels, V symbols.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from wav2vec2.audio.recordings import Failure
from wav2vec2.bulk.job import Row
from wav2vec2.data.utterance import Utterance
from wav2vec2.device import usable_device
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.frame_outputs import frame_outputs
from wav2vec2.inference.manifest_rows import utterance_recording
from wav2vec2.inference.model_job import ModelJob
from wav2vec2.inference.pools import BatchFunction, Moments
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.encoder import SharedEncoder

Dtype = Literal["float32", "float16"]
_ARROW = {"float32": pa.float32(), "float16": pa.float16()}


def chosen_layers(wanted: Sequence[int], architecture: Architecture, *, every: bool) -> list[int]:
    """The layers that a user chose, ascending; the last one if none was. Negative ones count from the last, -1.

    Raises UserError for one that is not there.
    """
    if every and wanted:
        raise UserError("features: --layer and --all-layers exclude each other; give only one")
    last = architecture.layers
    for layer in wanted:
        if not -last - 1 <= layer <= last:
            raise UserError(
                f"--layer {layer}: this model has {last} layers: give 1 to {last}, 0 for the input of the first, or "
                f"count from the last, which is -1"
            )
    if every:
        return list(range(last + 1))
    return sorted({layer if layer >= 0 else last + 1 + layer for layer in wanted}) or [last]


def layer_outputs(model: SharedEncoder, layers: Sequence[int], *, closing_norm: bool) -> BatchFunction:
    """Return the function from waveforms (B, S) to the outputs of layers, a tuple of (T, d) for each row."""

    @torch.inference_mode()
    def compute(waveforms: Tensor, lengths: Tensor, moments: Moments) -> list[tuple[Tensor, ...]]:
        outputs, _ = model.encode_layers(waveforms, lengths, layers, closing_norm=closing_norm, moments=moments)
        return list(zip(*outputs, strict=True))

    return compute


@dataclass(frozen=True)
class FeaturesJob(ModelJob):
    """The outputs of layers for the rows of a manifest; closing_norm: the last layer is taken after the final norm."""

    layers: tuple[int, ...] = ()
    every: bool = False
    closing_norm: bool = True
    dtype: Dtype = "float16"
    command: str = "features"

    def identity(self) -> Mapping[str, Any]:
        """See `Job.identity`."""
        return {
            **super().identity(),
            "layers": "all" if self.every else sorted(set(self.layers)),
            "convention": "transformers" if self.closing_norm else "fairseq",
            "dtype": self.dtype,
        }

    def open(self) -> "_Features":
        """See `Job.open`."""
        return _Features(self)


class _Features:
    """See `Worker`."""

    def __init__(self, job: FeaturesJob) -> None:
        from wav2vec2.checkpoints.load import load

        self._job, self._device = job, usable_device(job.compute.device)
        self._model = load(job.model, language=job.language).to(self._device)
        self._layers = chosen_layers(job.layers, self._model.architecture, every=job.every)
        self._names = [f"layer_{layer}" for layer in self._layers]
        self.columns = _columns(self._names, job.dtype)
        self.facts = _facts(self._model.architecture)

    def rows(self, utterances: Iterable[Utterance]) -> Iterator[Row | Failure]:
        """See `Worker.rows`."""
        architecture = self._model.architecture
        compute = layer_outputs(self._model, self._layers, closing_norm=self._job.closing_norm)
        recordings = map(utterance_recording, utterances)
        pools = frame_outputs(recordings, architecture, compute, sizes=self._job.compute.sizes, device=self._device)
        empty = [torch.empty(0, architecture.hidden_size)] * len(self._layers)
        for pool in pools:
            for outputs in pool:
                if isinstance(outputs, Failure):
                    yield outputs
                else:
                    arrays = [tensor.numpy() for tensor in outputs.tensors or empty]
                    yield _row(self._names, arrays, self._job.dtype)

    def close(self) -> None:
        """See `Worker.close`."""


@dataclass(frozen=True)
class EmissionsJob(ModelJob):
    """The log-probabilities (T, V) of the symbols, in nats, for the rows of a manifest."""

    dtype: Dtype = "float16"
    command: str = "features --emissions"

    def identity(self) -> Mapping[str, Any]:
        """See `Job.identity`."""
        return {**super().identity(), "dtype": self.dtype}

    def open(self) -> "_Emissions":
        """See `Job.open`."""
        return _Emissions(self)


class _Emissions:
    """See `Worker`."""

    def __init__(self, job: EmissionsJob) -> None:
        self._model = AcousticModel(job.model, compute=job.compute, language=job.language)
        self._dtype = job.dtype
        self.columns = _columns(["emissions"], job.dtype)
        vocabulary = self._model.vocabulary
        symbols = {"symbols": list(vocabulary.symbols), "blank": vocabulary.blank}
        self.facts = {**_facts(self._model.architecture), **symbols}

    def rows(self, utterances: Iterable[Utterance]) -> Iterator[Row | Failure]:
        """See `Worker.rows`."""
        for pool in self._model.pools(map(utterance_recording, utterances), log_probs=True):
            for output in pool:
                if isinstance(output, Failure):
                    yield output
                else:
                    assert output.log_probs is not None
                    yield _row(["emissions"], [output.log_probs], self._dtype)

    def close(self) -> None:
        """See `Worker.close`."""


def _columns(names: Sequence[str], dtype: Dtype) -> list[pa.Field]:
    numbers = [pa.field(name, pa.large_list(_ARROW[dtype])) for name in names]
    return [pa.field("frames", pa.int32()), *numbers]


def _facts(architecture: Architecture) -> dict[str, Any]:
    """When a frame is: the centre of frame f lies at first_frame + f * frame_step seconds."""
    first = architecture.frame_center(0)
    return {"first_frame": first, "frame_step": architecture.frame_center(1) - first}


def _row(names: Sequence[str], arrays: "Sequence[np.ndarray[Any, Any]]", dtype: Dtype) -> Row:
    numbers = {name: array.reshape(-1).astype(dtype) for name, array in zip(names, arrays, strict=True)}
    return {"frames": len(arrays[0]), **numbers}
