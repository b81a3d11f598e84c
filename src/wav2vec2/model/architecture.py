"""Sizes of the model (section 4.2), and settings of its regularisation and masking (sections 3.1, 4.2, 4.3).

Three frozen dataclasses: a weight file fixes ``Architecture``, a recipe may change ``Regularization`` and ``Masking``.
``ARCHITECTURES`` holds the published models and three small ones.
"""

from dataclasses import dataclass, replace
from typing import Literal

from wav2vec2.audio.normalize import TRANSFORMERS_EPSILON
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.config import option
from wav2vec2.input_file import check_numbers
from wav2vec2.model.variants.variant import PROPOSED, Variant

# Beyond these sizes a file is damaged or hostile: building such a model would take all memory, or for ever.
_LARGEST = {
    "layers": 1000,
    "hidden_size": 1 << 16,
    "ffn_size": 1 << 18,
    "pos_conv_kernel": 1 << 14,
    "pos_conv_depth": 100,
    "codebook_entries": 1 << 20,
    "negatives": 1 << 20,
}
_LARGEST_OTHER = 1 << 16
SAME_NETWORK = ("hubert", "unispeech", "unispeech-sat")
"""Families of published models with wav2vec 2.0's network, pre-trained in another way."""
_MOST_CONVOLUTIONS = 100


@dataclass(frozen=True)
class Architecture:
    """Everything on which the shape of a weight tensor or the meaning of the input depends.

    ``conv_norm`` "group" is the BASE family: one group norm after the first convolution, raw input. "layer" is the
    LV-60k family: a layer norm after every convolution, and input that the caller normalises (``normalize_input``).
    ``input_epsilon`` is what this normalisation adds to the variance: a model keeps that of the tool which trained it.
    ``pos_conv_depth`` above 1 replaces the one long positional convolution by that many short ones (data2vec).
    ``adapter_size`` is the width of the residual block at the end of every layer that holds one language of a
    multilingual model (MMS); 0 for none. ``family`` names the same network in transformers, see ``SAME_NETWORK``.
    """

    name: str = "base"
    conv_channels: tuple[int, ...] = (512,) * 7
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    conv_norm: Literal["group", "layer"] = "group"
    normalize_input: bool = False
    input_epsilon: float = TRANSFORMERS_EPSILON
    hidden_size: int = 768
    layers: int = 12
    ffn_size: int = 3072
    heads: int = 12
    layer_norm_first: bool = False
    pos_conv_kernel: int = 128
    pos_conv_groups: int = 16
    pos_conv_depth: int = 1
    adapter_size: int = 0
    layer_norm_eps: float = 1e-5
    codebook_groups: int = 2
    codebook_entries: int = 320
    codevector_size: int = 256
    final_size: int = 256
    negatives: int = 100
    logit_temperature: float = 0.1
    variant: Variant = PROPOSED
    family: str = "wav2vec2"

    def __post_init__(self) -> None:
        """Raise ValueError when a size is impossible or beyond any model's, or sizes contradict each other."""
        check_numbers(self, _LARGEST, _LARGEST_OTHER)
        if len(self.conv_channels) > _MOST_CONVOLUTIONS:
            raise ValueError(f"{len(self.conv_channels)} convolutions are more than in any model")
        if not len(self.conv_channels) == len(self.conv_kernels) == len(self.conv_strides) > 0:
            raise ValueError("conv_channels, conv_kernels and conv_strides must have the same length")
        if min(*self.conv_channels, *self.conv_kernels, *self.conv_strides) < 1:
            raise ValueError("conv_channels, conv_kernels and conv_strides must be at least 1")
        if any(k < s for k, s in zip(self.conv_kernels, self.conv_strides, strict=True)):
            raise ValueError("every convolution kernel must be at least as long as its stride")
        for small, large, names in (
            (self.heads, self.hidden_size, "hidden_size must be a multiple of heads"),
            (self.pos_conv_groups, self.hidden_size, "hidden_size must be a multiple of pos_conv_groups"),
            (self.codebook_groups, self.codevector_size, "codevector_size must be a multiple of codebook_groups"),
        ):
            if small < 1 or large < 1 or large % small:
                raise ValueError(names)
        for name in ("layers", "ffn_size", "pos_conv_kernel", "codebook_entries", "final_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.negatives < 0 or self.all_negatives < 1:
            raise ValueError("negatives must be at least 1")
        if not self.logit_temperature > 0:
            raise ValueError("logit_temperature must be above 0")
        if not 0 < self.input_epsilon < 1:
            raise ValueError("input_epsilon must be above 0 and below 1")
        if self.pos_conv_depth < 1 or self.adapter_size < 0:
            raise ValueError("pos_conv_depth must be at least 1 and adapter_size at least 0")
        if self.family not in ("wav2vec2", *SAME_NETWORK):
            raise ValueError(f"no family of models is called {self.family[:80]}")
        self.variant.check()

    @property
    def normalization_epsilon(self) -> float | None:
        """Epsilon with which the caller normalises the input; None for raw input."""
        return self.input_epsilon if self.normalize_input else None

    @property
    def all_negatives(self) -> int:
        """Number of distractors per masked frame, all kinds together."""
        return self.negatives + self.variant.batch_negatives + self.variant.codebook_negatives

    @property
    def feature_size(self) -> int:
        """Channels of the feature encoder's output."""
        return self.conv_channels[-1]

    @property
    def stride(self) -> int:
        """Samples from one frame to the next (320, or 20 ms)."""
        product = 1
        for stride in self.conv_strides:
            product *= stride
        return product

    @property
    def receptive_field(self) -> int:
        """Samples that one frame covers (400, or 25 ms)."""
        field, jump = 1, 1
        for kernel, stride in zip(self.conv_kernels, self.conv_strides, strict=True):
            field += (kernel - 1) * jump
            jump *= stride
        return field

    def frame_length(self, samples: int) -> int:
        """Number of frames that ``samples`` samples give; 0 below the receptive field."""
        for kernel, stride in zip(self.conv_kernels, self.conv_strides, strict=True):
            samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
        return samples

    def frame_center(self, frame: int) -> float:
        """Time in seconds of the middle of a frame's receptive field."""
        return (frame * self.stride + self.receptive_field / 2) / SAMPLE_RATE

    def frame_span(self, first: int, last: int) -> tuple[float, float]:
        """Start and end in seconds of what frames `first` to `last` stand for.

        A frame stands for one stride around the middle of its receptive field, so that neighbours touch.
        """
        before = (self.receptive_field - self.stride) / 2
        return (first * self.stride + before) / SAMPLE_RATE, ((last + 1) * self.stride + before) / SAMPLE_RATE


@dataclass(frozen=True)
class Regularization:
    """Dropout, LayerDrop, gradient scale and Gumbel temperature (sections 4.2 and 4.3)."""

    dropout: float = option(0.1, low=0.0, below=1.0)
    """Dropout at the input of the Transformer, and at the output of attention and feed-forward networks."""
    attention_dropout: float = option(0.1, low=0.0, below=1.0)
    """Dropout of attention probabilities."""
    activation_dropout: float = option(0.0, low=0.0, below=1.0)
    """Dropout after the GELU of the feed-forward networks."""
    input_dropout: float = option(0.1, low=0.0, below=1.0)
    """Dropout of the projected features, before masking."""
    feature_dropout: float = option(0.1, low=0.0, below=1.0)
    """Dropout of the quantizer's input."""
    final_dropout: float = option(0.0, low=0.0, below=1.0)
    """Dropout before the CTC head."""
    layerdrop: float = option(0.05, low=0.0, below=1.0)
    """Probability that a Transformer block is skipped in an update."""
    feature_grad_mult: float = option(0.1, low=0.0)
    """Factor on the gradient that enters the feature encoder; 0 freezes the encoder."""
    tau_start: float = option(2.0, above=0.0)
    """Temperature of the Gumbel softmax at the first update."""
    tau_end: float = option(0.5, above=0.0)
    """Lowest temperature of the Gumbel softmax."""
    tau_decay: float = option(0.999995, above=0.0, high=1.0)
    """Factor by which each update multiplies the temperature."""

    def temperature(self, step: int) -> float:
        """Temperature of the Gumbel softmax at an update: max(start * decay^step, end)."""
        return max(self.tau_start * self.tau_decay**step, self.tau_end)


@dataclass(frozen=True)
class Masking:
    """Span masking over time and over channels (section 3.1, appendix A; Table 6 for fine-tuning).

    ``time_start`` and ``channel_start`` are the paper's p. ``mask_prob`` of fairseq and transformers is p times the
    span length.
    """

    time_start: float = option(0.065, low=0.0, high=1.0)
    """Expected proportion of frames that start a masked span."""
    time_span: int = option(10, low=1)
    """Length of a span in frames; for random lengths, see ``span_lengths``."""
    min_spans: int = option(2, low=0)
    """Minimum number of spans over time in an utterance."""
    channel_start: float = option(0.0, low=0.0, high=1.0)
    """Expected proportion of channels that start a masked span."""
    channel_span: int = option(64, low=1)
    """Channels of a span."""
    span_lengths: Literal["static", "uniform", "normal", "poisson"] = "static"
    """Distribution of the lengths of spans over time (appendix A); the shortest length is 1. static: always
    ``time_span``; uniform: from ``span_spread`` to twice ``time_span``; normal: mean ``time_span``, standard deviation
    ``span_spread``; poisson: mean ``time_span``."""
    span_spread: float = option(0.0, low=0.0)
    """Second parameter of the distribution that ``span_lengths`` names."""
    overlap: bool = True
    """Whether spans over time may overlap."""
    min_space: int = option(1, low=0)
    """Minimum number of visible frames between two spans, where spans may not overlap."""

    @property
    def varied(self) -> bool:
        """Whether ``model/variants/spans.py`` draws the masks over time, instead of ``model/masking.py``.

        So if spans have random lengths, may not overlap, or are together longer than their row on average.
        """
        return self.span_lengths != "static" or not self.overlap or self.time_start * self.time_span > 1.0

    def check(self) -> None:
        """Raise ValueError if ``span_spread`` does not fit ``span_lengths``, or ``min_space`` is negative."""
        if self.span_lengths == "uniform" and not 0 <= self.span_spread <= 2 * self.time_span:
            raise ValueError("span_lengths = uniform needs span_spread between 0 and twice time_span")
        if self.span_lengths == "normal" and not self.span_spread > 0:
            raise ValueError("span_lengths = normal needs span_spread above 0")
        if self.min_space < 0:
            raise ValueError("min_space must be at least 0")


def _large_lv60k() -> Architecture:
    return Architecture(
        name="large_lv60k",
        conv_bias=True,
        conv_norm="layer",
        normalize_input=True,
        hidden_size=1024,
        layers=24,
        ffn_size=4096,
        heads=16,
        layer_norm_first=True,
        codevector_size=768,
        final_size=768,
    )


def _published() -> tuple[Architecture, ...]:
    lv60k = _large_lv60k()
    large = replace(
        lv60k, name="large", conv_bias=False, conv_norm="group", normalize_input=False, layer_norm_first=False
    )
    wide = replace(lv60k, layers=48, codevector_size=1024, final_size=1024)
    return (
        Architecture(),
        large,
        lv60k,
        replace(lv60k, name="300m"),
        replace(wide, name="1b", hidden_size=1280, ffn_size=5120),
        replace(wide, name="2b", hidden_size=1920, ffn_size=7680),
        replace(wide, name="3b", hidden_size=2048, ffn_size=8192, layers=60),
        replace(wide, name="7b", hidden_size=2048, ffn_size=8192, layers=128),
    )


def _small() -> tuple[Architecture, ...]:
    """Small models. Their first convolutions have fewer channels: the paper's 512 would take most of the time."""
    tiny = Architecture(
        name="tiny",
        conv_channels=(64,) + (128,) * 6,
        hidden_size=192,
        layers=4,
        ffn_size=768,
        heads=4,
        codebook_entries=128,
        codevector_size=128,
        final_size=128,
    )
    small = replace(
        tiny,
        name="small",
        conv_channels=(64, 128, 128, 192, 256, 256, 256),
        hidden_size=256,
        layers=6,
        ffn_size=1024,
    )
    medium = Architecture(
        name="medium",
        conv_channels=(256,) * 4 + (384,) * 3,
        hidden_size=384,
        layers=6,
        ffn_size=1536,
        heads=6,
    )
    return tiny, small, medium


ARCHITECTURES: dict[str, Architecture] = {a.name: a for a in (*_published(), *_small())}
