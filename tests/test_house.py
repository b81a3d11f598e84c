"""The limits of size that keep the package readable: files, functions, modules at the root, layers."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src/wav2vec2"
FILES = sorted(PACKAGE.rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_at_most_450_files_of_at_most_300_lines() -> None:
    assert 0 < len(FILES) <= 450
    lines = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > 300} == {}


def test_functions_have_at_most_60_lines() -> None:
    lengths = {
        f"{path}: {one.name}": one.end_lineno - one.lineno + 1
        for path in FILES
        for one in functions(path)
        if one.end_lineno is not None
    }
    assert {name: count for name, count in lengths.items() if count > 60} == {}


def test_at_most_eight_modules_at_the_root_beside_init_and_main() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]) <= 8


def test_at_most_ten_layers_without_exceptions() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = settings["contracts"]
    assert len(contract["layers"]) <= 10
    assert "ignore_imports" not in contract
