"""How many floating-point operations a model needs, by formula from its architecture.

Counted are matrix products and convolutions, a multiplication and an addition as two; everything else (norms, GELU,
softmax, dropout, the optimiser) is below one per cent of them. Counted is what the model asks for, on the frames of the
utterances: neither padding, nor what an implementation computes twice to save memory, nor what it saves by a transform.

The backward pass of a product costs two products of the same size, one for each factor. The first convolution has no
gradient with respect to the audio, and frozen convolutions have none at all.

Legend: S samples, T frames, M masked frames, C feature channels, d context channels, V entries, D final size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.model.architecture import Architecture, Masking
from wav2vec2.model.variants.variant import PROPOSED

Task = Literal["pretrain", "finetune", "inference"]
PARTS = ("feature encoder", "context network", "head and loss")
"""The head is the quantizer, both projections and the contrastive loss, or the layer of a recogniser and CTC."""


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of a part of the model."""

    forward: float
    backward: float

    @property
    def both(self) -> float:
        """Of both directions together."""
        return self.forward + self.backward

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.forward + other.forward, self.backward + other.backward)


def batch_flops(
    architecture: Architecture,
    samples: Sequence[int],
    task: Task = "pretrain",
    *,
    masked: Sequence[int] | None = None,
    symbols: int = 32,
    frozen: bool = False,
    layerdrop: float = 0.0,
) -> dict[str, Flops]:
    """Operations of one pass over utterances of ``samples`` samples, for each of ``PARTS``.

    Args:
        architecture: the model: the paper's, not a variant of its pre-training.
        samples: length of each utterance.
        task: "inference" has no backward pass.
        masked: masked frames of each utterance, for pre-training; None: as many as are expected at the paper's masking.
        symbols: size of the output layer of a recogniser.
        frozen: whether the convolutions are not trained.
        layerdrop: share of the Transformer's blocks that are skipped.

    Raises:
        ValueError: the architecture is a variant, whose operations this does not count.
    """
    a = architecture
    if a.variant != PROPOSED:
        raise ValueError("operations are counted for the paper's model only, not for a variant of it")
    frames = [a.frame_length(n) for n in samples]
    if masked is None:
        masked = [round(expected_masked(t)) for t in frames]
    trained = task != "inference"
    convolutions = _convolutions(a, samples)
    context = sum(_context(a, t, layerdrop) for t in frames)
    if task == "pretrain":
        head = sum(_pretraining_head(a, m) for m in masked)
    else:
        head = sum(2.0 * t * a.hidden_size * symbols for t in frames)
    return {
        PARTS[0]: Flops(sum(convolutions), 2 * sum(convolutions) - convolutions[0] if trained and not frozen else 0.0),
        PARTS[1]: Flops(context, 2 * context if trained else 0.0),
        PARTS[2]: Flops(head, 2 * head if trained else 0.0),
    }


def flops_per_second(architecture: Architecture, task: Task = "pretrain", *, seconds: float = 15.625) -> float:
    """Operations for a second of audio in utterances of ``seconds``: one training step, or inference.

    Attention costs more a second in longer utterances; the paper's crops of BASE have 15.625 s.
    """
    parts = batch_flops(architecture, [round(seconds * SAMPLE_RATE)], task)
    return sum(part.both for part in parts.values()) / seconds


def expected_masked(frames: int, masking: Masking | None = None) -> float:
    """Expected number of masked frames of an utterance of ``frames`` frames (section 3.1: about 49 % of them)."""
    m = masking or Masking()
    return frames * (1.0 - (1.0 - min(1.0, m.time_start)) ** m.time_span)


def _convolutions(a: Architecture, samples: Sequence[int]) -> list[float]:
    """Operations of each convolution of the feature encoder, forward."""
    lengths, before, operations = list(samples), 1, []
    for channels, kernel, stride in zip(a.conv_channels, a.conv_kernels, a.conv_strides, strict=True):
        lengths = [(n - kernel) // stride + 1 if n >= kernel else 0 for n in lengths]
        operations.append(2.0 * sum(lengths) * channels * before * kernel)
        before = channels
    return operations


def _context(a: Architecture, t: int, layerdrop: float) -> float:
    """Operations of projection, positional convolution and Transformer over ``t`` frames, forward."""
    d, depth = a.hidden_size, a.pos_conv_depth
    # several short convolutions share the length of the long one (data2vec)
    kernel = a.pos_conv_kernel if depth == 1 else depth * max(3, a.pos_conv_kernel // depth)
    before = 2.0 * t * d * (a.feature_size + kernel * d // a.pos_conv_groups)
    products = 4 * d * d + 2 * d * a.ffn_size + 2 * d * a.adapter_size
    return before + a.layers * (1.0 - layerdrop) * 2.0 * t * (products + 2 * t * d)


def _pretraining_head(a: Architecture, m: int) -> float:
    """Operations of the quantizer, both projections, and the similarity of all masked frames to all targets."""
    logits = a.feature_size * a.codebook_groups * a.codebook_entries
    entries = a.codebook_entries * a.codevector_size
    projections = (a.codevector_size + a.hidden_size) * a.final_size
    return 2.0 * m * (logits + entries + projections + m * a.final_size)
