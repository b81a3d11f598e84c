"""An ONNX graph put together node by node, with the few layers that occur everywhere, in float32 or int8.

In int8 a layer's weights keep to 7 bits, one scale an output channel: on CPUs without VNNI the sum of two 8 x 8 bit
products overflows 16 bits and saturates. Its inputs are quantized to 8 bits by their range at run time.

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
"""The first with Gelu and the last that needs nothing newer than ONNX Runtime 1.17."""
LARGEST_FILE = (1 << 31) - (1 << 24)
"""Bytes of weights inside the file: protobuf's limit, less the graph. What is more goes to a file beside it."""
_IR_VERSION = 9
_WEIGHT_LIMIT = 64  # of 7 bits; 2 * 255 * 64 fits into 16 bits
_ALIGNMENT = 4096


def array(tensor: Tensor) -> Array:
    """A float32 copy of a parameter."""
    return tensor.detach().float().cpu().numpy()


def integers(*values: int) -> Array:
    """Shapes, axes, indices."""
    return np.array(values, np.int64)


def number(value: float) -> Array:
    """A float32 scalar."""
    return np.array(value, np.float32)


class Graph:
    """Calling it adds a node and returns the name of its output: ``g("Add", x, y)``."""

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
        """Give an output of the graph its name."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=name))

    def cast(self, value: Value, kind: Any) -> str:
        """To another kind of number, such as np.float32."""
        return self("Cast", value, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    def linear(self, x: str, weight: Array, bias: Array | None, quantized: "Quantized | None" = None) -> str:
        """Of x over its last axis; weight (out, in). ``quantized`` is x in 8 bits, for an int8 product."""
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
        """(B, C, T) -> (B, C', T'). In two dimensions, one of them 1: ONNX Runtime has its fast kernel for these."""
        plane = self("Unsqueeze", x, integers(2))
        inputs: list[str | Array] = [plane, weight[:, :, None], *([] if bias is None else [bias])]
        y = self("Conv", *inputs, strides=[1, stride], pads=[0, pads[0], 0, pads[1]], group=groups)
        return self("Squeeze", y, integers(2))

    def gelu(self, x: str, *, exact: bool) -> str:
        """By erf, or by tanh: within 5e-4, which is far below the error of int8, and faster."""
        return self("Gelu", x, approximate="none" if exact else "tanh")

    def layer_norm(self, x: str, norm: nn.LayerNorm, eps: float | None = None) -> str:
        """Over the last axis."""
        return self("LayerNormalization", x, array(norm.weight), array(norm.bias), axis=-1, epsilon=eps or norm.eps)

    def quantize(self, x: str) -> "Quantized":
        """All of x by its own range, rounded to 8 bits."""
        return Quantized(*self.several("DynamicQuantizeLinear", 3, x))

    def _product(self, x: "Quantized", matrix: Array) -> str:
        """Written as ONNX Runtime knows it: it makes one operation of these."""
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
        """Write the file and, where its weights are more than `LARGEST_FILE`, PATH.data beside it.

        ``inputs`` and ``outputs`` give kind and axes of each name.
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
        """The large constants go to the file one after the other, each at the start of a page: it can be mapped."""
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
    """A tensor in 8 bits: (value - zero) * scale."""

    def __init__(self, value: str, scale: str, zero: Value) -> None:
        self.value, self.scale, self.zero = value, scale, zero


def seven_bits(matrix: Array) -> tuple[Array, Array]:
    """(in, out) -> int8 values within 7 bits and one scale a column."""
    scale = np.maximum(np.abs(matrix).max(0), np.finfo(np.float32).tiny * 2**10) / _WEIGHT_LIMIT
    return np.rint(matrix / scale).astype(np.int8), scale.astype(np.float32)


def data_file(path: Path) -> Path:
    """Where the weights lie that a file at ``path`` cannot hold."""
    return path.with_name(path.name + ".data")
