"""Torch programs (.pt2) that were changed to run code, to take all memory, or to name what is not there.

The ways to run code are those that the source of torch 2.13's ``torch.export.load`` and ``module()`` leaves open.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.small_models import GROUP, recognizer

from wav2vec2.errors import UserError
from wav2vec2.export.formats import write_program
from wav2vec2.inference.exported import ExportMetadata
from wav2vec2.inference.torch_program import TorchProgram
from wav2vec2.text.vocabulary import Vocabulary

GRAPH, INPUTS, EXTRA = "models/model.json", "data/sample_inputs/model.pt", "extra/wav2vec2.json"
WEIGHTS = "data/weights/model_weights_config.json"
VOCABULARY = Vocabulary.from_transcripts(["THE QUICK BROWN FOX"])
Parts = dict[str, bytes]


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.path}'",)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """The parts of a small program."""
    sizes = {"conv_channels": (16, 24), "conv_kernels": (10, 3), "conv_strides": (5, 2)}
    architecture = replace(GROUP, layers=1, **sizes)
    path = tmp_path_factory.mktemp("good") / "m.pt2"
    metadata = ExportMetadata(architecture, VOCABULARY, log_softmax=True, precision="float32")
    write_program(recognizer(architecture, VOCABULARY), path, metadata)
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(parts: Parts, path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(f"archive/{name}", content)
    return path


def changed(parts: Parts, name: str, change: Callable[[Any], object]) -> Parts:
    content = json.loads(parts[name])
    change(content)
    return {**parts, name: json.dumps(content).encode()}


def graph_of(content: Any) -> Any:
    return content["graph_module"]["graph"]


def refused(parts: Parts, folder: Path, match: str = "torch.export cannot open it") -> None:
    with pytest.raises(UserError, match=match) as caught:
        TorchProgram(write(parts, folder / "m.pt2"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(folder))
    assert not (folder / "ran").exists()


def test_example_inputs_are_never_unpickled(good: Parts, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(((Touch(tmp_path / "ran"),), {}), buffer)
    program = TorchProgram(write({**good, INPUTS: buffer.getvalue()}, tmp_path / "m.pt2"))
    logits, frames = program(torch.zeros(1, 4000))
    assert (frames.tolist(), logits.shape[2]) == ([program.architecture.frame_length(4000)], len(VOCABULARY))
    assert not (tmp_path / "ran").exists()


def _first_expression(content: Any, text: str) -> None:
    value = next(iter(graph_of(content)["sym_int_values"].values()))
    value["as_expr"]["expr_str"] = text


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch RAN')",
        "Integer(__import__('os').system('touch RAN'))",
        "Symbol(__import__('os').system('touch RAN'))",
        "Symbol('s0', positive=__import__('os').system('touch RAN'))",
        "Add(Symbol('s0').func.__class__, Integer(1))",
        "(lambda: 0)()",
        "Integer(9**9**9)",
        "Pow(Integer(99999999), Pow(Integer(99999999), Integer(99999999)))",
        "Integer(" + "9" * 4000 + ")",
        "Add(" * 3000,
        "factorial(Integer(1000000000))",
        "s0",
        "",
        "\0",
        "Symbol('s0'); Integer(1)",
    ],
)
def test_expressions_are_sums_of_symbols_and_numbers(text: str, good: Parts, tmp_path: Path) -> None:
    evil = text.replace("RAN", str(tmp_path / "ran"))
    refused(changed(good, GRAPH, lambda content: _first_expression(content, evil)), tmp_path)


def _node(content: Any, **fields: Any) -> None:
    graph_of(content)["nodes"][0].update(fields)


def _command(path: Path) -> list[dict[str, Any]]:
    return [{"name": "command", "arg": {"as_string": f"touch{path}"}, "kind": 1}]


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.load",
        "torch.hub.load",
        "torch.ops.load_library",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.higher_order.cond",
        "_operator.methodcaller",
        "_operator.attrgetter",
        "_operator.pow",
        "math.factorial",
        "#x:y",
        "os.system",
        "torch.ops.aten.add.Tensor\n",
        "",
    ],
)
def test_only_operators_of_the_network_are_called(target: str, good: Parts, tmp_path: Path) -> None:
    def change(content: Any) -> None:
        _node(content, target=target, inputs=_command(tmp_path / "ran"))

    refused(changed(good, GRAPH, change), tmp_path, "cannot open it .its graph calls")


def test_the_code_of_guards_is_left_out(good: Parts, tmp_path: Path) -> None:
    code = [f"__import__('os').system('touch {tmp_path}/ran') or True"]
    parts = changed(good, GRAPH, lambda content: content.update(guards_code=code))
    TorchProgram(write(parts, tmp_path / "m.pt2"))(torch.zeros(1, 4000))
    assert not (tmp_path / "ran").exists()


def test_the_structure_of_inputs_imports_nothing(good: Parts, tmp_path: Path) -> None:
    def change(content: Any) -> None:
        context = '{"default_factory_module": "this", "default_factory_name": "s", "dict_context": "[]"}'
        spec = [1, {"type": "collections.defaultdict", "context": context, "children_spec": []}]
        content["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps(spec)

    refused(changed(good, GRAPH, change), tmp_path)


def test_names_are_words(good: Parts, tmp_path: Path) -> None:
    for evil in ("x'); import os #", "a\nb", "é", "a b", "x" * 1000):
        refused(changed(good, GRAPH, lambda content, name=evil: _node(content, name=name)), tmp_path)  # type: ignore[misc]


def test_other_arguments_and_numbers_are_refused(good: Parts, tmp_path: Path) -> None:
    kinds = [{"as_graph": {}}, {"as_operator": "torch.load"}, {"as_custom_obj": {"name": "a"}}, {"as_int": 10**30}]
    for kind in kinds:

        def change(content: Any, argument: Any = kind) -> None:
            graph_of(content)["nodes"][0]["inputs"][0]["arg"] = argument

        refused(changed(good, GRAPH, change), tmp_path)

    def huge(content: Any) -> None:
        inputs = [{"name": "end", "arg": {"as_int": 10**12}, "kind": 1}]
        _node(content, target="torch.ops.aten.arange.default", inputs=inputs)

    refused(changed(good, GRAPH, huge), tmp_path, "the size 1000000000000")


def _weights(**fields: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        next(iter(content["config"].values())).update(fields)

    return change


def _sized(size: int, stride: int) -> dict[str, Any]:
    one = {"dtype": 7, "requires_grad": False, "device": {"type": "cpu", "index": None}, "layout": 7}
    return {**one, "sizes": [{"as_int": size}], "strides": [{"as_int": stride}], "storage_offset": {"as_int": 0}}


@pytest.mark.parametrize(
    "fields",
    [
        {"use_pickle": True},
        {"path_name": "../../../etc/passwd"},
        {"path_name": "weight_99999"},
        {"path_name": "opaque_obj_0"},
        {"path_name": None},
        {"tensor_meta": None},
        {"tensor_meta": _sized(10**12, 1)},
        {"tensor_meta": _sized(2, 10**12)},
        {"tensor_meta": _sized(-1, 1)},
        {"tensor_meta": {}},
    ],
)
def test_weights_are_tensors_inside_their_files(fields: dict[str, Any], good: Parts, tmp_path: Path) -> None:
    refused(changed(good, WEIGHTS, _weights(**fields)), tmp_path)


def test_native_code_and_pickled_weights_beside_the_graph_are_not_opened(good: Parts, tmp_path: Path) -> None:
    parts = {**good, "data/aotinductor/model/x.so": b"\x7fELF", "data/weights/model.pt": b"evil"}
    TorchProgram(write(parts, tmp_path / "m.pt2"))(torch.zeros(1, 4000))


def test_the_error_of_a_damaged_graph_is_one_line(
    good: Parts, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def without_argument(content: Any) -> None:
        next(node for node in graph_of(content)["nodes"] if node["target"] == "torch.sym_not")["inputs"] = []

    program = TorchProgram(write(changed(good, GRAPH, without_argument), tmp_path / "m.pt2"))
    with pytest.raises(UserError, match="its graph does not run"):
        program(torch.zeros(1, 4000), torch.tensor([4000]))
    assert capfd.readouterr().err == ""


def test_archives_that_expand_or_lack_a_part(good: Parts, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="more than its size"):
        TorchProgram(write({**good, "bomb": bytes(1 << 24)}, tmp_path / "m.pt2", zipfile.ZIP_DEFLATED))
    for name in (GRAPH, WEIGHTS, "archive_version"):
        refused({key: value for key, value in good.items() if key != name}, tmp_path)
    refused({key: value for key, value in good.items() if key != EXTRA}, tmp_path, "was not written by this version")
    for name in (GRAPH, WEIGHTS, EXTRA):
        for content in (b"", b"[]", b"{", b"[" * 100_000, b"{}", b'{"a": 1}', b"\xff", b"null"):
            refused({**good, name: content}, tmp_path, r"m\.pt2: ")


def test_facts_about_the_model_are_checked(good: Parts, tmp_path: Path) -> None:
    for architecture in ('{"layers": 1e99}', '{"conv_strides": [1000000000, 1000000000]}', "[" * 2000, "3", "null"):
        change = {"architecture": architecture}
        refused(changed(good, EXTRA, lambda content, c=change: content.update(c)), tmp_path, r"m\.pt2: ")  # type: ignore[misc]
    for vocabulary in ('{"symbols": 3}', "[]", '{"symbols": ["a"], "blank": 99, "unknown": null}'):
        change = {"vocabulary": vocabulary}
        refused(changed(good, EXTRA, lambda content, c=change: content.update(c)), tmp_path, r"m\.pt2: ")  # type: ignore[misc]
