import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from wav2vec2.compiled import announcement, compiled


def function_of(file: Path) -> Callable[[int], int]:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return compiled(module.double)


def test_compiling_is_announced_and_loading_what_is_stored_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcement(), "said", False)
    file = tmp_path / "doubling.py"
    file.write_text("def double(x):\n    return 2 * x\n", encoding="utf-8")
    assert function_of(file)(4) == 8
    first = capsys.readouterr()
    assert first.err.count("once") == 1
    assert first.out == ""
    monkeypatch.setattr(announcement(), "said", False)
    assert function_of(file)(4) == 8
    assert capsys.readouterr().err == ""
