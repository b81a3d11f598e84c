"""Torch programs (.pt2) opened without trust.

``torch.export.load`` runs what a file says: it unpickles the example inputs, evaluates the expressions of sizes and the
code of guards as Python, imports modules that the structure of the inputs names, looks up any function below ``torch``
as an operator, and loads native libraries. So torch never sees a file from outside. The archive is taken apart here;
its graph is checked value by value against what a program of ``wav2vec2 export`` consists of; and torch is given a new
archive made of the checked parts alone.
"""

import ast
import io
import json
import logging
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.inference.exported import METADATA_FILE, ExportedRecognizer, ExportMetadata
from wav2vec2.input_file import MOST_SETTINGS, open_input, parse_json

_GRAPH = "models/model.json"
_INPUTS = "data/sample_inputs/model.pt"
_EXTRA = f"extra/{METADATA_FILE}"
# Payloads, and the table that describes them.
_PAYLOADS = {
    "data/weights/model_weights_config.json": re.compile(r"weight_\d{1,9}"),
    "data/constants/model_constants_config.json": re.compile(r"tensor_\d{1,9}"),
}
_SMALL = ("archive_format", "archive_version", "byteorder")
_MOST_MEMBERS = 100_000

_WORD = re.compile(r"[\w.+-]{0,500}", re.ASCII)
_NUMBER_MOST = 1 << 63
_SIZE_MOST = 1 << 20
_EXPRESSION_MOST = 5000
# What the operators of the network may be: functions of tensors without any other effect. No int of theirs allocates
# more than a size does, which is checked for those that could.
_OPERATORS = re.compile(
    r"torch\.ops\.aten\.(__and__|__or__|_assert_scalar|_assert_tensor_metadata|add|arange|bitwise_and|bitwise_not|"
    r"bitwise_or|bmm|cat|clamp|clamp_max|clamp_min|clone|contiguous|conv1d|cumsum|detach|div|eq|exp|expand|flatten|"
    r"floor_divide|ge|gelu|glu|group_norm|gt|layer_norm|le|linear|log_softmax|logical_and|logical_not|logical_or|lt|"
    r"masked_fill|matmul|maximum|mean|minimum|mul|ne|neg|pad|permute|relu|reshape|rsqrt|scaled_dot_product_attention|"
    r"select|sigmoid|slice|softmax|split|sqrt|squeeze|stack|sub|sum|sym_size|tanh|to|transpose|unbind|unflatten|"
    r"unsqueeze|view|where)\.\w+"
    r"|_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|not_|or_|sub|truediv)"
    r"|torch\.sym_(float|int|ite|max|min|not)",
    re.ASCII,
)
_ALLOCATING = re.compile(r"torch\.ops\.aten\.(arange|pad|conv1d|unflatten|expand)\.")
_ARGUMENTS = {
    *("as_tensor", "as_tensors", "as_optional_tensor", "as_optional_tensors", "as_int", "as_ints", "as_float"),
    *("as_floats", "as_bool", "as_bools", "as_string", "as_none", "as_name", "as_expr", "as_sym_int", "as_sym_ints"),
    *("as_sym_bool", "as_sym_bools", "as_sym_float", "as_sym_floats", "as_device", "as_scalar_type"),
    *("as_memory_format", "as_layout"),
}
_FUNCTIONS = {
    *("Add", "Mul", "FloorDiv", "CleanDiv", "CeilDiv", "Mod", "PythonMod", "Max", "Min", "Rational", "ToFloat"),
    *("Equality", "Unequality", "GreaterThan", "LessThan", "StrictGreaterThan", "StrictLessThan", "And", "Or", "Not"),
}
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")
# Left out of the graph: remarks for people, code, and what no program of ours has.
_EMPTY: dict[str, Any] = {
    "metadata": {},
    "guards_code": [],
    "treespec_namedtuple_fields": {},
    "custom_obj_values": {},
}


class TorchProgram(ExportedRecognizer):
    """A torch program (.pt2) of `wav2vec2 export`. Raises UserError for a missing, damaged, foreign or hostile file."""

    def __init__(self, path: str | Path) -> None:
        self._path = path
        if not Path(path).exists():
            raise UserError(f"{path}: no such file; give one that wav2vec2 export wrote")
        try:
            with open_input(path) as file:
                metadata, archive = _rebuilt(file, str(path))
            with _without_torchs_report():
                program = torch.export.load(archive)
            self._graph: Any = _unwrapped(program.module())
        except UserError:
            raise
        except Exception as error:  # torch raises anything for a damaged archive
            raise UserError(f"{path}: torch.export cannot open it ({cause(error)}); export the model again") from None
        super().__init__(metadata)

    @torch.inference_mode()
    def run(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """See `ExportedRecognizer.run`."""
        try:
            logits, frames = self._graph(waveforms, lengths)
        except Exception as error:  # the graph is a stranger's
            raise UserError(f"{self._path}: its graph does not run ({cause(error)}); export the model again") from None
        return logits, frames


def _unwrapped(graph: nn.Module) -> nn.Module:
    """The graph, called as any module is: torch wraps the call of a graph to print the traceback of its errors."""
    for part in graph.modules():
        if isinstance(part, torch.fx.GraphModule):
            type(part).__call__ = nn.Module.__call__  # type: ignore[method-assign]
    return graph


@contextmanager
def _without_torchs_report() -> Iterator[None]:
    """Silence the traceback that torch logs of a damaged program, besides raising an exception."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _rebuilt(file: Any, source: str) -> tuple[ExportMetadata, io.BytesIO]:
    """Return the facts about the model, and an archive of the checked parts. Raises ValueError for a part of others."""
    if not zipfile.is_zipfile(file):
        raise ValueError("not a .pt2 archive")
    out = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        members = _members(old, file.seek(0, io.SEEK_END))
        facts = _json(old, members, _EXTRA) if _EXTRA in members else {}
        if not all(isinstance(value, str) for value in facts.values()):
            raise ValueError(f"{METADATA_FILE} is not a table of texts")
        metadata = ExportMetadata.from_strings(facts, source)
        if metadata.minimum_samples > _SIZE_MOST:
            raise ValueError(f"its frames take {metadata.minimum_samples} samples")
        graph = _checked_graph(_json(old, members, _GRAPH))
        new.writestr(f"archive/{_GRAPH}", json.dumps(graph))
        example = io.BytesIO()
        samples = 9 * metadata.minimum_samples
        torch.save(((torch.zeros(3, samples), torch.tensor([samples] * 3)), {}), example)
        new.writestr(f"archive/{_INPUTS}", example.getvalue())
        for table, pattern in _PAYLOADS.items():
            content = _json(old, members, table)
            for name in _checked_payloads(content, pattern, table.rpartition("/")[0], members):
                new.writestr(f"archive/{name}", old.read(members[name]))
            new.writestr(f"archive/{table}", json.dumps(content))
        for name in _SMALL:
            value = old.read(members[name])[:16] if name in members else b""
            if re.fullmatch(rb"\w{1,16}", value) is None:
                raise ValueError(f"{name} is missing or damaged")
            new.writestr(f"archive/{name}", value)
        new.writestr("archive/.data/version", b"3\n")
    out.seek(0)
    return metadata, out


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members below the archive's folder by name: stored as they are, each once, together no larger."""
    listed = archive.infolist()
    if len(listed) > _MOST_MEMBERS or sum(member.file_size for member in listed) > size:
        raise ValueError("it holds more than its size")
    if any(member.compress_type != zipfile.ZIP_STORED for member in listed):
        raise ValueError("it is compressed, which torch.export never does")
    return {member.filename.partition("/")[2]: member for member in listed}


def _json(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> dict[str, Any]:
    if name not in members or members[name].file_size > MOST_SETTINGS:
        raise ValueError(f"{name} is missing or too large")
    content = parse_json(archive.read(members[name]))
    if not isinstance(content, dict):
        raise ValueError(f"{name} is not an object")
    return content


def _checked_payloads(
    content: dict[str, Any], pattern: re.Pattern[str], folder: str, members: Mapping[str, zipfile.ZipInfo]
) -> list[str]:
    """Return the files that a table describes. Raises ValueError for anything but tensors that lie inside them."""
    files: dict[str, None] = {}
    payloads = content.get("config")
    for name, payload in payloads.items() if isinstance(payloads, dict) else [("config", None)]:
        if not isinstance(payload, dict) or payload.get("use_pickle") is not False:
            raise ValueError(f"{quoted(name)} is not a plain tensor")
        path, meta = payload.get("path_name"), payload.get("tensor_meta")
        if not isinstance(path, str) or not pattern.fullmatch(path) or f"{folder}/{path}" not in members:
            raise ValueError(f"{quoted(name)} is in {quoted(path)}, which is not there")
        _walk(payload, "")
        if not isinstance(meta, dict):
            raise ValueError(f"{quoted(name)} has no size")
        sizes, strides = ([one["as_int"] for one in meta[key]] for key in ("sizes", "strides"))
        span = 1 + meta["storage_offset"]["as_int"] + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
        bytes_there = members[f"{folder}/{path}"].file_size
        if min([0, *sizes, *strides]) < 0 or (span if math.prod(sizes) else 0) > bytes_there or not bytes_there:
            raise ValueError(f"{quoted(name)} is larger than its file")
        files[f"{folder}/{path}"] = None
    return list(files)


def _checked_graph(graph: dict[str, Any]) -> dict[str, Any]:
    """Return the graph with remarks and code removed. Raises ValueError for whatever is not known to be harmless."""
    return {key: _walk(value, key) for key, value in graph.items()} | {"guards_code": []}


def _walk(value: Any, key: str) -> Any:
    """Return a checked copy of a value in the graph that is kept under ``key``."""
    if key in _EMPTY:
        return _EMPTY[key]
    if key.startswith("as_") and key not in _ARGUMENTS:
        raise ValueError(f"its graph has an argument of the kind {quoted(key)}")
    if isinstance(value, dict):
        target = value.get("target")
        if isinstance(target, str) and _ALLOCATING.match(target):
            _check_sizes(value)
        if key == "device" and value.get("type") != "cpu":
            raise ValueError(f"its graph is for {quoted(value.get('type'))}")
        return {_word(name): _walk(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_walk(inner, key) for inner in value]
    if isinstance(value, str):
        return _checked_text(value, key)
    if isinstance(value, int | float) and not abs(value) <= _NUMBER_MOST:
        raise ValueError(f"its graph has the number {quoted(value)}")
    return value


def _checked_text(text: str, key: str) -> str:
    if key == "target" and not _OPERATORS.fullmatch(text):
        raise ValueError(f"its graph calls {quoted(text)}, which no program of wav2vec2 export does")
    if key == "expr_str":
        if len(text) > _EXPRESSION_MOST:
            raise ValueError("its graph has a size that is longer than any")
        _check_expression(ast.parse(text, mode="eval").body)
        return text
    if key in ("in_spec", "out_spec"):
        spec = parse_json(text)
        if not isinstance(spec, list) or len(spec) != 2 or spec[0] != 1:
            raise ValueError(f"its graph has inputs of the kind {quoted(text)}")
        _check_structure(spec[1])
        return json.dumps(spec)
    if key == "as_string" and not _WORD.fullmatch(text):
        return "assertion"  # the message of an assertion, for people
    return _word(text)


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError(f"its graph has the text {quoted(text)}")
    return text


def _check_sizes(node: Any) -> None:
    """Raise ValueError for a number among a node's arguments that no size of a model reaches."""
    waiting = [node.get("inputs")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
        elif isinstance(value, int | float) and not abs(value) <= _SIZE_MOST:
            raise ValueError(f"its graph has the size {quoted(value)}")


def _check_expression(node: ast.expr) -> None:
    """Raise ValueError for anything but sums, products, quotients and comparisons of whole numbers and symbols."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name, flags = node.func.id, node.keywords
        flagged = all(isinstance(one.value, ast.Constant) and isinstance(one.value.value, bool) for one in flags)
        if name == "Symbol" and len(node.args) == 1 and flagged:
            symbol = node.args[0]
            if isinstance(symbol, ast.Constant) and isinstance(symbol.value, str) and _WORD.fullmatch(symbol.value):
                return
        elif name == "Integer" and len(node.args) == 1 and not flags:
            number = node.args[0].operand if isinstance(node.args[0], ast.UnaryOp) else node.args[0]
            if isinstance(number, ast.Constant) and type(number.value) is int and number.value <= _NUMBER_MOST:
                return
        elif name in _FUNCTIONS and not flags:
            for argument in node.args:
                _check_expression(argument)
            return
    raise ValueError(f"its graph has the size {quoted(ast.unparse(node))}")


def _check_structure(spec: Any) -> None:
    if not isinstance(spec, dict) or set(spec) != {"type", "context", "children_spec"}:
        raise ValueError(f"its graph has inputs of the kind {quoted(spec)}")
    context = spec["context"]
    if spec["type"] not in _CONTAINERS or not (context is None or context in ("null", "[]")):
        raise ValueError(f"its graph has inputs of the kind {quoted(spec['type'])}")
    for inner in spec["children_spec"]:
        _check_structure(inner)
