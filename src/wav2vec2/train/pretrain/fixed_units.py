"""Fixed units as targets of pre-training, where the paper learns its targets jointly (row "fixed" of the ablations).

The unit of every frame comes from an earlier model, which is not changed: the codes of its quantizer, or the k-means
cluster of the output of one of its layers. Clusters of cepstra need no earlier model. The model in training has an
embedding for each unit; for codes of a quantizer these are the frozen codebook entries.

Legend: B utterances, S samples, T frames, G units of a frame, V units to choose from, D channels.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.config import option
from wav2vec2.data.dataset import fixed_batches
from wav2vec2.data.manifest import Manifest
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.encoder import SharedEncoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.variants.targets import FixedUnits
from wav2vec2.train import distributed
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.pretrain.clusters import cepstra, fit_centroids, nearest_centroids

CENTROIDS = "kmeans.safetensors"
_FIT_BATCH_SECONDS = 60


@dataclass(frozen=True)
class UnitsConfig:
    """Source of the units when variant.targets = fixed."""

    source: str = ""
    """The earlier model: a pre-trained one for quantizer, any model for kmeans, none for mfcc."""
    kind: Literal["quantizer", "kmeans", "mfcc"] = "quantizer"
    """quantizer: codes of its quantizer. kmeans: clusters of the output of a layer. mfcc: clusters of cepstra."""
    layer: int = option(-1, low=-1)
    """kmeans: output of this Transformer block (0: input of the first block; -1: the middle block)."""
    clusters: int = option(500, low=2)
    """kmeans, mfcc: number of units."""
    fit_frames: int = option(200_000, low=2)
    """kmeans, mfcc: number of frames to fit the centroids on, before training starts."""
    iterations: int = option(30, low=1)
    """kmeans, mfcc: most passes over these frames."""

    @property
    def given(self) -> bool:
        """Whether the recipe has fixed units."""
        return bool(self.source) or self.kind == "mfcc"


class FixedUnitSource(Protocol):
    """Gives the units of every frame."""

    def __call__(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """(B, S) audio -> (B, T, G) units, int64."""


@dataclass(frozen=True)
class QuantizerUnits:
    """The codes of a pre-trained model's quantizer."""

    model: Wav2Vec2ForPretraining

    @torch.no_grad()
    def __call__(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """(B, S) audio -> (B, T, G) units."""
        with torch.autocast(waveforms.device.type, enabled=False):
            return self.model.codes(waveforms.float(), lengths)


FrameFeatures = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(B, S) audio and lengths (B,) -> features to cluster (B, T, D), and frame lengths (B,)."""


@dataclass(frozen=True)
class KMeansUnits:
    """For each frame, the one of ``centroids`` (V, D) that is nearest to its ``features``."""

    features: FrameFeatures
    centroids: Tensor

    @torch.no_grad()
    def __call__(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """(B, S) audio -> (B, T, 1) units."""
        with torch.autocast(waveforms.device.type, enabled=False):
            hidden = self.features(waveforms.float(), lengths)[0]
        nearest = nearest_centroids(hidden.flatten(0, 1), self.centroids)[0]
        return nearest.view(*hidden.shape[:2], 1)


def layer_output(model: SharedEncoder, waveforms: Tensor, lengths: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    """(B, S) audio -> output of a layer (B, T, D), of the middle one for -1, and frame lengths (B,)."""
    return model.encode(waveforms, lengths, model.architecture.layers // 2 if layer < 0 else layer)


def with_units(config: UnitsConfig, architecture: Architecture) -> Architecture:
    """The architecture with an embedding for each unit of ``config``; unchanged if there are no fixed units.

    Raises:
        UserError: the source has no such units, different frames, or another input normalisation.
    """
    if config.kind == "mfcc":
        return replace(architecture, codebook_groups=1, codebook_entries=config.clusters)
    if not config.source:
        return architecture
    from wav2vec2.checkpoints.load import describe

    source = describe(config.source)
    theirs = source.architecture
    if (theirs.conv_kernels, theirs.conv_strides) != (architecture.conv_kernels, architecture.conv_strides):
        raise UserError(
            f"units.source: {config.source} has different frames; set model.conv_kernels and conv_strides to its own"
        )
    if theirs.normalize_input != architecture.normalize_input:
        raise UserError(f"units.source: {config.source} was trained with another model.normalize_input; set the same")
    if config.kind == "kmeans":
        if config.layer > theirs.layers:
            raise UserError(f"units.layer is {config.layer}: {config.source} has layers 0 to {theirs.layers}")
        return replace(architecture, codebook_groups=1, codebook_entries=config.clusters)
    if source.kind != "pretraining" or theirs.variant.targets != "quantized":
        raise UserError(
            f"units.source: {config.source} has no quantizer; give a pre-trained model, or units.kind = kmeans"
        )
    return replace(
        architecture,
        codebook_groups=theirs.codebook_groups,
        codebook_entries=theirs.codebook_entries,
        codevector_size=theirs.codevector_size,
    )


def fix_entries(config: UnitsConfig, model: Wav2Vec2ForPretraining) -> str:
    """Copy the codebook entries of the source into a new model and freeze them; embeddings of clusters are learned.

    Returns a note on which of the two it was.
    """
    if config.kind != "quantizer":
        return f"{config.clusters} k-means clusters of {config.source or 'cepstra'}, embeddings learned"
    source = _load(config.source)
    assert isinstance(source, Wav2Vec2ForPretraining)
    assert isinstance(model.quantizer, FixedUnits)
    shared = source.encoder.input_quantizer if source.architecture.variant.input_quantizer == "shared" else None
    entries = source.quantizer.codevectors if shared is None else shared.codevectors
    assert isinstance(entries, nn.Parameter)
    with torch.no_grad():
        model.quantizer.codevectors.copy_(entries)
    model.quantizer.codevectors.requires_grad_(False)
    return f"codes of the quantizer of {config.source}, its entries frozen"


def unit_source(
    config: UnitsConfig, model: Wav2Vec2ForPretraining, manifest: Manifest, output: Path, seed: int, ranks: Ranks
) -> FixedUnitSource | None:
    """The source of a run's units; None if its targets are learned.

    Centroids are fitted on the speech of ``manifest`` by the main process, and kept in the run's folder ``output``.

    Raises:
        UserError: the source cannot be read, or there is too little speech for so many clusters.
    """
    if model.architecture.variant.targets != "fixed":
        return None
    if not config.given:
        raise UserError("units.source is not set: give the model that defines the units")
    source = None if config.kind == "mfcc" else _load(config.source).to(ranks.device)
    if config.kind == "quantizer":
        assert isinstance(source, Wav2Vec2ForPretraining)
        return QuantizerUnits(source)
    features: FrameFeatures = (
        partial(cepstra, architecture=model.architecture)
        if source is None
        else partial(layer_output, source, layer=config.layer)
    )
    path = output / CENTROIDS
    if ranks.is_main and _stored(path, config) is None:
        points = _fitting_points(config.fit_frames, features, model.architecture, manifest, seed, ranks.device)
        try:
            centroids = fit_centroids(points, config.clusters, iterations=config.iterations, seed=seed)
        except ValueError as error:
            raise UserError(f"units.clusters: {error}; lower it, or give more speech") from None
        output.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        save_file({"centroids": centroids.cpu()}, temporary, metadata={"units": json.dumps(asdict(config))})
        os.replace(temporary, path)
    distributed.barrier()
    stored = _stored(path, config)
    if stored is None:
        raise UserError(f"{path}: cannot be read on every machine; choose an output folder that all machines share")
    return KMeansUnits(features, stored.to(ranks.device))


def _load(source: str) -> SharedEncoder:
    from wav2vec2.checkpoints.load import load

    model = load(source)
    model.requires_grad_(False)
    return model.eval()


def _stored(path: Path, config: UnitsConfig) -> Tensor | None:
    """Centroids fitted earlier with these settings; None if there are none."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        if (file.metadata() or {}).get("units") != json.dumps(asdict(config)):
            return None
        centroids: Tensor = file.get_tensor("centroids")
        return centroids


@torch.no_grad()
def _fitting_points(
    fit_frames: int,
    features: FrameFeatures,
    architecture: Architecture,
    manifest: Manifest,
    seed: int,
    device: torch.device,
) -> Tensor:
    """(N, D) features of about ``fit_frames`` frames, from utterances drawn at random."""
    order = np.random.default_rng(seed).permutation(len(manifest))
    chosen, frames = [], 0
    for place in order:
        if frames >= fit_frames:
            break
        chosen.append(int(place))
        frames += architecture.frame_length(int(manifest.samples[place]))
    points = []
    epsilon = architecture.normalization_epsilon
    limit = _FIT_BATCH_SECONDS * SAMPLE_RATE
    for batch in fixed_batches(manifest.select(chosen), limit, epsilon=epsilon, max_samples=limit):
        if len(batch.rows):
            there = batch.to(device)
            hidden, lengths = features(there.waveforms, there.lengths)
            points += [row[:length] for row, length in zip(hidden, lengths.tolist(), strict=True)]
    return torch.cat(points) if points else torch.zeros(0, 1)
