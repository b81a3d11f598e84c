"""Units fixed in an earlier step, as targets of pre-training (the paper learns them jointly).

An earlier model, never changed, tells the unit of every frame: the codes of its quantizer, or the k-means cluster of
one of its layers. Clusters of cepstra need no earlier model. The model in training has an embedding for each unit; with
a quantizer these are its entries, frozen.

Legend: B utterances, S samples, T frames, G units a frame, V units of a kind, D channels.
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
    """Where the units of ``variant.targets`` = "fixed" come from."""

    source: str = ""
    """An earlier model, which is never changed: a pre-trained one (kmeans: a model of any kind; mfcc: none)."""
    kind: Literal["quantizer", "kmeans", "mfcc"] = "quantizer"
    """quantizer: its codes, from its own features. kmeans: clusters of the output of one of its layers. mfcc: clusters
    of mel-frequency cepstra and their slopes."""
    layer: int = option(-1, low=-1)
    """kmeans: 0 is what enters the first Transformer block, k the output of block k; -1: the middle block's."""
    clusters: int = option(500, low=2)
    """kmeans, mfcc: number of units."""
    fit_frames: int = option(200_000, low=2)
    """kmeans, mfcc: frames that the centroids are fitted on, before training starts; kept in the run's folder."""
    iterations: int = option(30, low=1)
    """kmeans, mfcc: passes over them."""

    @property
    def given(self) -> bool:
        """Whether a recipe names units."""
        return bool(self.source) or self.kind == "mfcc"


class FixedUnitSource(Protocol):
    """Tells the units of every frame."""

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
"""(B, S) audio and lengths (B,) -> what is clustered (B, T, D), and frame lengths (B,)."""


@dataclass(frozen=True)
class KMeansUnits:
    """The nearest of ``centroids`` (V, D) to what ``features`` gives; one unit a frame."""

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
    """(B, S) audio -> a layer's output (B, T, D), -1 the middle one's, and frame lengths (B,)."""
    return model.encode(waveforms, lengths, model.architecture.layers // 2 if layer < 0 else layer)


def with_units(config: UnitsConfig, architecture: Architecture) -> Architecture:
    """The architecture with an embedding for each unit of ``config``; unchanged where it names none.

    Raises:
        UserError: the source has no such units, other frames, or another normalisation of its input.
    """
    if config.kind == "mfcc":
        return replace(architecture, codebook_groups=1, codebook_entries=config.clusters)
    if not config.source:
        return architecture
    from wav2vec2.checkpoints.load import describe

    source = describe(config.source)
    theirs = source.architecture
    if (theirs.conv_kernels, theirs.conv_strides) != (architecture.conv_kernels, architecture.conv_strides):
        raise UserError(f"units.source: {config.source} has other frames (model.conv_kernels, conv_strides)")
    if theirs.normalize_input != architecture.normalize_input:
        raise UserError(f"units.source: {config.source} was trained with the other value of model.normalize_input")
    if config.kind == "kmeans":
        if config.layer > theirs.layers:
            raise UserError(f"units.layer is {config.layer}: {config.source} has the layers 0 to {theirs.layers}")
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
    """Give a new model the source's codebook entries, frozen; those of clusters are learned. Says which."""
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
    """What tells the units of a run; None where the targets are learned.

    Raises:
        UserError: the source cannot be read, or there is too little speech for the clusters.
    """
    if model.architecture.variant.targets != "fixed":
        return None
    if not config.given:
        raise UserError("units.source is not set: name the model that fixed the units")
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
            raise UserError(f"units.clusters: {error}; lower it or give more speech") from None
        output.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        save_file({"centroids": centroids.cpu()}, temporary, metadata={"units": json.dumps(asdict(config))})
        os.replace(temporary, path)
    distributed.barrier()
    stored = _stored(path, config)
    if stored is None:
        raise UserError(f"{path}: not readable on every machine; put the output where all of them see it")
    return KMeansUnits(features, stored.to(ranks.device))


def _load(source: str) -> SharedEncoder:
    from wav2vec2.checkpoints.load import load

    model = load(source)
    model.requires_grad_(False)
    return model.eval()


def _stored(path: Path, config: UnitsConfig) -> Tensor | None:
    """Centroids that were fitted with these settings; None without."""
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
    """(N, D) features of utterances drawn at random, about ``fit_frames`` of them."""
    order = np.random.default_rng(seed).permutation(len(manifest))
    chosen, frames = [], 0
    for place in order:
        if frames >= fit_frames:
            break
        chosen.append(int(place))
        frames += architecture.frame_length(int(manifest.samples[place]))
    points = []
    normalize = architecture.normalize_input
    limit = _FIT_BATCH_SECONDS * SAMPLE_RATE
    for batch in fixed_batches(manifest.select(chosen), limit, normalize=normalize, max_samples=limit):
        if len(batch.rows):
            there = batch.to(device)
            hidden, lengths = features(there.waveforms, there.lengths)
            points += [row[:length] for row, length in zip(hidden, lengths.tolist(), strict=True)]
    return torch.cat(points) if points else torch.zeros(0, 1)
