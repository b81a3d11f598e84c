"""The CTC model as an ONNX graph: padded batches (model/layout.py), with constant parts folded.

Two things differ from the model and give the same results:

- Group norm is folded into the first convolution: mean and variance of w * x follow from the moments of the input
  windows. They are taken over each utterance's own frames, so padding changes nothing.
- Weight normalisation and the scale of the attention's queries are multiplied out.

An int8 convolution is a matrix product of its windows, each with a scale of its own. With one scale for the whole
recording, quiet frames would use few of the 256 steps, and the norm after the encoder would amplify their error to the
level of speech.

Legend: B utterances, S samples, T frames, C channels, k kernel, s stride, d context channels, H heads, V symbols.
"""

from typing import cast

import numpy as np
from torch import Tensor, nn

from wav2vec2.errors import UserError
from wav2vec2.export.onnx_graph import Graph, Quantized, array, integers, number, seven_bits
from wav2vec2.inference.exported import Precision
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.context_network import ContextNetwork, PositionalConvolution
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import Encoder
from wav2vec2.model.feature_encoder import ConvLayer, FeatureEncoder
from wav2vec2.model.precision import WideLayerNorm
from wav2vec2.model.transformer import SelfAttention, TransformerLayer
from wav2vec2.model.variants.layers import LanguageAdapter, StackedPositionalConvolution

INPUTS = {"waveforms": (np.float32, ("batch", "samples")), "lengths": (np.int64, ("batch",))}
OUTPUTS = {"logits": (np.float32, ("batch", "frames", "symbols")), "frame_lengths": (np.int64, ("batch",))}

_KNOWN = (
    *(Wav2Vec2ForCTC, Encoder, FeatureEncoder, ConvLayer, ContextNetwork, PositionalConvolution),
    *(StackedPositionalConvolution, TransformerLayer, SelfAttention, LanguageAdapter),
    *(nn.ModuleList, nn.Conv1d, nn.Linear, nn.LayerNorm, WideLayerNorm),
)
_HIDDEN = -1e30
"""Added to the attention scores of masked frames."""
_CENTRE = 128
"""The 8-bit value of zero."""


def build(graph: Graph, model: Wav2Vec2ForCTC, *, log_softmax: bool, precision: Precision) -> None:
    """Add the whole model, from `INPUTS` to `OUTPUTS`; frames beyond the end of an utterance are zero.

    Raises UserError if a part of the model has no ONNX form.
    """
    for name, part in model.named_modules():
        if type(part) not in _KNOWN:
            raise UserError(f"{name} ({type(part).__name__}) has no ONNX form; use --to torch-export")
    encoder = model.encoder
    layers = cast(list[ConvLayer], list(encoder.feature_encoder.layers))
    features = FeatureEncoderNodes(graph, model.architecture, precision)
    x, frame_lengths = features.add(layers)
    context = ContextNodes(graph, x, frame_lengths, int8=precision != "float32")
    x = graph.layer_norm(x, encoder.feature_norm)
    x = context.network(context.linear(x, encoder.feature_projection), encoder.context)
    logits = graph.linear(x, array(model.head.weight), array(model.head.bias))
    if log_softmax:
        logits = graph("LogSoftmax", logits, axis=-1)
    graph.rename(graph("Where", context.valid, logits, number(0.0)), "logits")
    graph.rename(frame_lengths, "frame_lengths")


class FeatureEncoderNodes:
    """The feature encoder: waveforms (B, S) -> (B, T, C), before the norm that follows it."""

    def __init__(self, graph: Graph, architecture: Architecture, precision: Precision) -> None:
        self.g, self.a = graph, architecture
        self.exact = precision == "float32"
        self.channels_last = precision == "int8 with convolutions"

    def add(self, layers: list[ConvLayer]) -> tuple[str, str]:
        """Return the features and their lengths (B,)."""
        g = self.g
        shapes = list(zip(self.a.conv_kernels, self.a.conv_strides, strict=True))
        lengths = "lengths"
        for kernel, stride in shapes:
            lengths = self._frames(lengths, kernel, stride)
        waveforms = g("Unsqueeze", "waveforms", integers(1))
        if self.a.conv_norm == "group":
            x = self._first_with_group_norm(waveforms, layers[0], *shapes[0])
        else:
            x = self._convolution(waveforms, layers[0], shapes[0][1])
            x = self._norm_and_gelu(self._transposed(x) if self.channels_last else x, layers[0])
        for layer, (kernel, stride) in zip(layers[1:], shapes[1:], strict=True):
            if self.channels_last:
                x = self._int8_product(x, layer, kernel, stride)
            else:
                x = self._convolution(x, layer, stride)
            x = self._norm_and_gelu(x, layer)
        return x if self.channels_last else self._transposed(x), lengths

    def _transposed(self, x: str) -> str:
        """(B, C, T) to (B, T, C) or back."""
        return self.g("Transpose", x, perm=[0, 2, 1])

    def _frames(self, samples: str, kernel: int, stride: int) -> str:
        whole = self.g("Max", self.g("Sub", samples, integers(kernel - stride)), integers(0))
        return self.g("Div", whole, integers(stride))

    def _convolution(self, x: str, layer: ConvLayer, stride: int) -> str:
        bias = None if layer.conv.bias is None else array(layer.conv.bias)
        return self.g.convolution(x, array(layer.conv.weight), bias, stride=stride)

    def _norm_and_gelu(self, x: str, layer: ConvLayer) -> str:
        if self.a.conv_norm == "group" or layer.norm is None:
            return self.g.gelu(x, exact=self.exact)
        x = x if self.channels_last else self._transposed(x)
        x = self.g.gelu(self.g.layer_norm(x, layer.norm, self.a.layer_norm_eps), exact=self.exact)
        return x if self.channels_last else self._transposed(x)

    def _first_with_group_norm(self, waveforms: str, layer: ConvLayer, kernel: int, stride: int) -> str:
        """First convolution, group norm and GELU; a bias of the convolution would cancel in the norm.

        The moments are in float64, because a filter that suppresses most of the speech has a variance far below that of
        the windows.
        """
        g = self.g
        assert layer.norm is not None
        # the windows and a row of ones for the offset: (B, k + 1, T)
        taps = np.concatenate([np.eye(kernel), np.zeros((1, kernel))]).astype(np.float32)[:, None]
        ones = np.array([0.0] * kernel + [1.0], np.float32)
        windows = g.convolution(waveforms, taps, ones, stride=stride)
        frames = g("Unsqueeze", self._frames("lengths", kernel, stride), integers(1, 2))
        steps = g("Range", np.array(0), g("Squeeze", g("Shape", windows, start=2, end=3)), np.array(1))
        valid = g.cast(g("Less", steps, frames), np.float32)
        seen = g.cast(g("Mul", windows, valid), np.float64)
        count = g.cast(g("Max", frames, integers(1)), np.float64)
        moments = g("Div", g("MatMul", seen, self._transposed(seen)), count)
        inner, last = integers(0, 0), integers(kernel, kernel)
        axes = integers(1, 2)
        second = g("Slice", moments, inner, last, axes)
        mean = g("Slice", moments, integers(0, kernel), integers(kernel, kernel + 1), axes)
        covariance = g("Sub", second, g("MatMul", mean, self._transposed(mean)))
        weight = layer.conv.weight.detach()[:, 0].double().cpu().numpy()
        spread = g("ReduceSum", g("Mul", g("MatMul", weight, covariance), weight), integers(2))
        deviation = g("Sqrt", g("Add", g("Max", spread, np.array(0.0)), np.array(self.a.layer_norm_eps)))
        gain, shift = (p.detach().double().cpu().numpy()[:, None] for p in (layer.norm.weight, layer.norm.bias))
        scale = g("Div", gain, deviation)
        offset = g("Sub", shift, g("Mul", g("MatMul", weight, mean), scale))
        folded = g.cast(g("Concat", g("Mul", weight, scale), offset, axis=2), np.float32)
        if self.channels_last:
            x = g("MatMul", self._transposed(windows), self._transposed(folded))
        else:
            x = g("MatMul", folded, windows)
        return g.gelu(x, exact=self.exact)

    def _taps(self, x: str, kernel: int, stride: int) -> list[str]:
        """For each tap of the kernel, the frames of x (B, T, ...) that it multiplies."""
        g = self.g
        size = g("Shape", x, start=1, end=2)
        frames = g("Add", g("Div", g("Sub", size, integers(kernel)), integers(stride)), integers(1))
        covered = g("Mul", g("Sub", frames, integers(1)), integers(stride))
        ends = (g("Add", covered, integers(tap + 1)) for tap in range(kernel))
        return [g("Slice", x, integers(t), end, integers(1), integers(stride)) for t, end in enumerate(ends)]

    def _int8_product(self, x: str, layer: ConvLayer, kernel: int, stride: int) -> str:
        """The convolution of x (B, T, C) as one int8 product of its windows, each scaled by its largest value."""
        g = self.g
        highest = g("ReduceMax", x, integers(2), keepdims=1)
        largest = g("Max", highest, g("Neg", g("ReduceMin", x, integers(2), keepdims=1)))
        peaks = g("Max", *self._taps(largest, kernel, stride), number(1e-30))
        scales = g("Mul", peaks, number(1 / (_CENTRE - 1)))  # (B, T', 1)
        rows = g("Reshape", scales, integers(-1))
        zeros = g("Expand", np.array([_CENTRE], np.uint8), g("Shape", rows))
        channels = layer.conv.in_channels
        flat = (g("Reshape", tap, integers(-1, channels)) for tap in self._taps(x, kernel, stride))
        windows = g("Concat", *(g("QuantizeLinear", tap, rows, zeros, axis=0) for tap in flat), axis=1)
        kernels = array(layer.conv.weight)  # (C', C, k)
        weight, columns = seven_bits(np.ascontiguousarray(kernels.transpose(2, 1, 0).reshape(-1, len(kernels))))
        product = g.cast(g("MatMulInteger", windows, weight, np.array(_CENTRE, np.uint8)), np.float32)
        product = g("Mul", g("Mul", product, g("Unsqueeze", rows, integers(1))), columns)
        shape = g("Concat", g("Shape", scales, start=0, end=2), integers(layer.conv.out_channels), axis=0)
        y = g("Reshape", product, shape)
        return y if layer.conv.bias is None else g("Add", y, array(layer.conv.bias))


class ContextNodes:
    """Everything after the norm of the features, on (B, T, d)."""

    def __init__(self, graph: Graph, frames: str, lengths: str, *, int8: bool) -> None:
        g = graph
        self.g, self.int8 = g, int8
        steps = g("Range", np.array(0), g("Squeeze", g("Shape", frames, start=1, end=2)), np.array(1))
        seen = g("Less", steps, g("Unsqueeze", lengths, integers(1)))
        self.valid = g("Unsqueeze", seen, integers(2))
        """(B, T, 1): whether a frame is real."""
        self.mask = g("Unsqueeze", g("Where", seen, number(0.0), number(_HIDDEN)), integers(1, 2))
        """(B, 1, 1, T), added to the attention's scores."""

    def linear(self, x: str, layer: nn.Linear, quantized: Quantized | None = None, *, scale: float = 1.0) -> str:
        """A linear layer whose outputs are multiplied by ``scale``."""
        if self.int8 and quantized is None:
            quantized = self.g.quantize(x)
        return self.g.linear(x, scale * array(layer.weight), scale * array(layer.bias), quantized)

    def network(self, x: str, network: ContextNetwork) -> str:
        """The context network: positional convolution, blocks and norm."""
        g = self.g
        x = g("Add", x, self._positions(x, network.pos_conv))
        if not network.norm_first:
            x = g.layer_norm(x, network.norm)
        for layer in network.layers:
            x = self._block(x, cast(TransformerLayer, layer))
        return g.layer_norm(x, network.norm) if network.norm_first else x

    def _positions(self, x: str, layer: nn.Module) -> str:
        if isinstance(layer, PositionalConvolution):
            return self._gelu(self._positional(x, layer.weight, layer.bias, layer.groups))
        assert isinstance(layer, StackedPositionalConvolution)
        for conv in cast(list[nn.Conv1d], list(layer.layers)):
            assert conv.bias is not None
            x = self._positional(x, conv.weight, conv.bias, conv.groups)
            ones = np.ones(conv.out_channels, np.float32)
            x = self._gelu(self.g("LayerNormalization", x, ones, axis=-1, epsilon=1e-5))
        return x

    def _positional(self, x: str, weight: Tensor, bias: Tensor, groups: int) -> str:
        """Frames beyond the end of an utterance count as zeros; an even kernel has one zero fewer on the right."""
        g, kernel = self.g, weight.shape[2]
        x = g("Transpose", g("Where", self.valid, x, number(0.0)), perm=[0, 2, 1])
        pads = (kernel // 2, kernel - 1 - kernel // 2)
        return g("Transpose", g.convolution(x, array(weight), array(bias), pads=pads, groups=groups), perm=[0, 2, 1])

    def _block(self, x: str, block: TransformerLayer) -> str:
        g = self.g
        if block.norm_first:
            x = g("Add", x, self._attention(g.layer_norm(x, block.attention_norm), block.attention))
            x = g("Add", x, self._feed_forward(g.layer_norm(x, block.ffn_norm), block))
        else:
            x = g.layer_norm(g("Add", x, self._attention(x, block.attention)), block.attention_norm)
            x = g.layer_norm(g("Add", x, self._feed_forward(x, block)), block.ffn_norm)
        if block.adapter is None:
            return x
        inner = self.linear(g.layer_norm(x, block.adapter.norm), block.adapter.down)
        return g("Add", x, self.linear(g("Relu", inner), block.adapter.up))

    def _feed_forward(self, x: str, block: TransformerLayer) -> str:
        return self.linear(self._gelu(self.linear(x, block.ffn_in)), block.ffn_out)

    def _gelu(self, x: str) -> str:
        return self.g.gelu(x, exact=not self.int8)

    def _attention(self, x: str, attention: SelfAttention) -> str:
        g, heads = self.g, attention.heads
        size = attention.query.out_features // heads
        quantized = g.quantize(x) if self.int8 else None

        def by_head(layer: nn.Linear, order: list[int], scale: float = 1.0) -> str:
            y = self.linear(x, layer, quantized, scale=scale)
            return g("Transpose", g("Reshape", y, integers(0, 0, heads, size)), perm=order)

        queries = by_head(attention.query, [0, 2, 1, 3], size**-0.5)
        keys = by_head(attention.key, [0, 2, 3, 1])
        scores = g("Add", g("MatMul", queries, keys), self.mask)
        mixed = g("MatMul", g("Softmax", scores, axis=-1), by_head(attention.value, [0, 2, 1, 3]))
        mixed = g("Reshape", g("Transpose", mixed, perm=[0, 2, 1, 3]), integers(0, 0, heads * size))
        return self.linear(mixed, attention.out)
