"""Options of the pre-training model: the paper's ablations (Table 4, appendix F), and some of the released code.

``inputs`` changes the encoder, and therefore the fine-tuned model too. All other options change only parts that are
discarded after pre-training.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

from wav2vec2.config import option


@dataclass(frozen=True)
class Variant:
    """Differences between a model and the one that the paper proposes."""

    inputs: Literal["continuous", "quantized"] = "continuous"
    """Input of the Transformer: features, or the codebook entries chosen for them (Table 4)."""
    input_quantizer: Literal["own", "shared"] = "own"
    """Codebooks of quantized inputs: their own, or the same as those of the targets."""
    targets: Literal["quantized", "continuous", "fixed"] = "quantized"
    """Targets of the contrastive task: codebook entries, features (Table 4), or embeddings of given units."""
    target_mlp: bool = False
    """Project continuous targets with two layers instead of one (Table 4)."""
    separate_encoder: bool = False
    """Compute the targets with a second feature encoder (Table 4)."""
    target_glu: bool = False
    """Put a gated linear unit after the projection of the targets."""
    quantizer_depth: int = option(1, low=1, high=100)
    """Number of layers that compute the codebook logits. All but the last are 3 times as wide as the features, and a
    GELU follows each."""
    gumbel_noise: bool = True
    """Add Gumbel noise to the codebook logits in training; without noise the best entry is chosen."""
    target_gradient: bool = True
    """Let the gradient flow from the targets into the feature encoder."""
    negatives_from: Literal["masked", "anywhere"] = "masked"
    """Frames of the utterance from which model.negatives distractors are drawn: the masked ones, or all."""
    batch_negatives: int = option(0, low=0)
    """Additional distractors, from masked frames of other utterances of the same forward pass."""
    codebook_negatives: int = option(0, low=0)
    """Additional distractors: random combinations of codebook entries."""
    edge_frames: int = option(0, low=0)
    """Predict only masked frames at most this far from an unmasked one; 0 predicts all."""

    def check(self) -> None:
        """Raise ValueError for a number out of range, or for options that contradict each other."""
        least = {"quantizer_depth": 1, "batch_negatives": 0, "codebook_negatives": 0, "edge_frames": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} must be at least {value}")
        if self.quantizer_depth > 100:
            raise ValueError("quantizer_depth must be at most 100")
        fixed, quantized = self.targets == "fixed", "quantized" in (self.inputs, self.targets)
        shared = self.input_quantizer == "shared"
        for wrong, reason in (
            (
                shared and not self.inputs == self.targets == "quantized",
                "input_quantizer = shared is for quantized inputs and targets",
            ),
            (shared and self.separate_encoder, "a shared quantizer needs one feature encoder: separate_encoder is on"),
            (self.target_mlp and self.targets != "continuous", "target_mlp is for continuous targets"),
            (self.separate_encoder and fixed, "fixed targets have no encoder: separate_encoder is on"),
            (
                not self.target_gradient and self.separate_encoder,
                "separate_encoder never learns without target_gradient",
            ),
            (not self.target_gradient and fixed, "fixed targets have no gradient: target_gradient is off"),
            (not self.gumbel_noise and not quantized, "gumbel_noise is off, but nothing is quantized"),
            (self.quantizer_depth > 1 and not quantized, "quantizer_depth is set, but nothing is quantized"),
            (
                self.codebook_negatives > 0 and self.targets == "continuous",
                "continuous targets have no codebook_negatives",
            ),
        ):
            if wrong:
                raise ValueError(reason)

    @property
    def other_negatives(self) -> bool:
        """Whether distractors come from elsewhere than the utterance's masked frames."""
        return self.negatives_from != "masked" or self.batch_negatives > 0 or self.codebook_negatives > 0

    def differences(self) -> dict[str, Any]:
        """The options that differ from the paper's proposal."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}


PROPOSED = Variant()
"""The model that the paper proposes."""
