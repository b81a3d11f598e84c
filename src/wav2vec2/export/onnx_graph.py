"""An ONNX graph, built node by node, with the layers that occur throughout the model, in float32 or int8.

In int8 the weights of a layer use 7 bits, with one scale for each output channel: on CPUs without VNNI the sum of two
products of 8 x 8 bits would exceed 16 bits and saturate. Inputs are quantized to 8 bits by their range at run time.

A value is the name of a tensor, or an array that becomes a constant of the graph.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[Any]
Value = str | Array

OPSET = 20
"""The first opset with Gelu, and the last that ONNX Runtime 1.17 supports."""
LARGEST_FILE = (1 << 31) - (1 << 24)
"""Most bytes of weights inside the file: protobuf's limit less room for the graph. If there are more, a second file
holds them."""
_IR_VERSION = 9
_WEIGHT_LIMIT = 64  # largest 7-bit weight; 2 * 255 * 64 fits into 16 bits
_ALIGNMENT = 4096


def array(tensor: Tensor) -> Array:
    """A float32 copy of a parameter."""
    return tensor.detach().float().cpu().numpy()


def integers(*values: int) -> Array:
    """An int64 array: a shape, axes or indices."""
    return np.array(values, np.int64)


def number(value: float) -> Array:
    """A float32 scalar."""
    return np.array(value, np.float32)


class Graph:
    """An ONNX graph. Calling it adds a node and returns the name of its output: ``g("Add", x, y)``."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: dict[str, Array] = {}
        self._small: dict[tuple[object, ...], str] = {}

    def __call__(self, operator: str, *inputs: Value, **attributes: Any) -> str:
        """Add a node with one output."""
        return self.several(operator, 1, *inputs, **attributes)[0]

    def several(self, operator: str, outputs: int, *inputs: Value, **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        place = len(self._nodes)
        names = [f"{operator}_{place}" if i == 0 else f"{operator}_{place}_{i}" for i in range(outputs)]
        given = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        self._nodes.append(self._onnx.helper.make_node(operator, given, names, name=names[0], **attributes))
        return names

    def rename(self, value: str, name: str) -> None:
        """Name an output of the graph."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=name))

    def cast(self, value: Value, kind: Any) -> str:
        """Convert to another type, such as np.float32."""
        return self("Cast", value, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    def linear(self, x: str, weight: Array, bias: Array | None, quantized: "Quantized | None" = None) -> str:
        """A linear layer on the last axis of x; weight (out, in). ``quantized`` is x in 8 bits, for an int8 product."""
        matrix = np.ascontiguousarray(weight.T)
        y = self("MatMul", x, matrix) if quantized is None else self._product(quantized, matrix)
        return y if bias is None else self("Add", y, bias)

    def convolution(
        self,
        x: str,
        weight: Array,
        bias: Array | None = None,
        *,
        stride: int = 1,
        pads: tuple[int, int] = (0, 0),
        groups: int = 1,
    ) -> str:
        """(B, C, T) -> (B, C', T'), as a 2D convolution of height 1, for which ONNX Runtime has a fast kernel."""
        plane = self("Unsqueeze", x, integers(2))
        inputs: list[str | Array] = [plane, weight[:, :, None], *([] if bias is None else [bias])]
        y = self("Conv", *inputs, strides=[1, stride], pads=[0, pads[0], 0, pads[1]], group=groups)
        return self("Squeeze", y, integers(2))

    def gelu(self, x: str, *, exact: bool) -> str:
        """GELU by erf if ``exact``, else by tanh: faster, and within 5e-4, far below the error of int8."""
        return self("Gelu", x, approximate="none" if exact else "tanh")

    def layer_norm(self, x: str, norm: nn.LayerNorm, eps: float | None = None) -> str:
        """Layer norm over the last axis."""
        return self("LayerNormalization", x, array(norm.weight), array(norm.bias), axis=-1, epsilon=eps or norm.eps)

    def quantize(self, x: str) -> "Quantized":
        """Quantize x to 8 bits by its own range."""
        return Quantized(*self.several("DynamicQuantizeLinear", 3, x))

    def _product(self, x: "Quantized", matrix: Array) -> str:
        """An int8 product in the form that ONNX Runtime fuses into one operation."""
        weight, scale = seven_bits(matrix)
        product = self.cast(self("MatMulInteger", x.value, weight, x.zero), np.float32)
        return self("Mul", product, self("Mul", x.scale, scale))

    def _constant(self, value: Array) -> str:
        key = (value.dtype.str, value.shape, value.tobytes()) if value.size <= 16 else (len(self._constants),)
        if key not in self._small:
            self._small[key] = name = f"constant_{len(self._constants)}"
            self._constants[name] = value
        return self._small[key]

    def save(
        self,
        path: Path,
        inputs: Mapping[str, tuple[Any, tuple[str, ...]]],
        outputs: Mapping[str, tuple[Any, tuple[str, ...]]],
        metadata: Mapping[str, str],
    ) -> None:
        """Write the file and, if its weights exceed `LARGEST_FILE`, PATH.data beside it.

        Args:
            path: the file to write.
            inputs: type and axes of each input, by name.
            outputs: type and axes of each output, by name.
            metadata: properties of the file.
        """
        outside = sum(value.nbytes for value in self._constants.values()) > LARGEST_FILE
        helper = self._onnx.helper
        tensors = self._written_outside(path) if outside else self._inside()
        ends = (
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), axes)
                for name, (kind, axes) in side.items()
            ]
            for side in (inputs, outputs)
        )
        graph = helper.make_graph(self._nodes, "wav2vec2", *ends, initializer=tensors)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="wav2vec2")
        helper.set_model_props(model, dict(metadata))
        path.write_bytes(model.SerializeToString())

    def _inside(self) -> list[Any]:
        return [self._onnx.numpy_helper.from_array(value, name) for name, value in self._constants.items()]

    def _written_outside(self, path: Path) -> list[Any]:
        """Write large constants to the data file, each aligned to a page so that it can be memory-mapped."""
        tensors = []
        with data_file(path).open("wb") as file:
            for name, value in self._constants.items():
                if value.nbytes <= 1024:
                    tensors.append(self._onnx.numpy_helper.from_array(value, name))
                    continue
                file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                kind = self._onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
                tensor = self._onnx.TensorProto(name=name, data_type=kind, dims=value.shape)
                tensor.data_location = self._onnx.TensorProto.EXTERNAL
                place = {"location": data_file(path).name, "offset": file.tell(), "length": value.nbytes}
                for key, fact in place.items():
                    tensor.external_data.add(key=key, value=str(fact))
                file.write(np.ascontiguousarray(value).data)
                tensors.append(tensor)
        return tensors


class Quantized:
    """A tensor quantized to 8 bits: (value - zero) * scale."""

    def __init__(self, value: str, scale: str, zero: Value) -> None:
        self.value, self.scale, self.zero = value, scale, zero


def seven_bits(matrix: Array) -> tuple[Array, Array]:
    """Quantize a matrix (in, out) to 7 bits: int8 values, and one scale for each column."""
    scale = np.maximum(np.abs(matrix).max(0), np.finfo(np.float32).tiny * 2**10) / _WEIGHT_LIMIT
    return np.rint(matrix / scale).astype(np.int8), scale.astype(np.float32)


def data_file(path: Path) -> Path:
    """The file for the weights that do not fit into the file at ``path``."""
    return path.with_name(path.name + ".data")
