"""Units fixed in an earlier step, as targets of pre-training (against units that are learned jointly)."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class UnitsConfig:
    """Where the units of ``variant.targets`` = "fixed" come from: an earlier model, which is never changed."""

    source: str = ""
    """A pre-trained model (for k-means: a readable model of any kind)."""
    kind: Literal["quantizer", "kmeans"] = "quantizer"
    """quantizer: its codes, from its own features. kmeans: clusters of the output of one of its layers."""
    layer: int = 6
    """k-means: 0 is what enters the first Transformer block, k the output of block k."""
    clusters: int = 500
    """k-means: number of units."""
    fit_frames: int = 200_000
    """k-means: frames that the centroids are fitted on, before training starts."""
    iterations: int = 30
    """k-means: passes over them."""
