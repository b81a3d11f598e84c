import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import wav2vec2
from wav2vec2.lm import compiled as module
from wav2vec2.lm.compiled import announcement, compiled


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


@pytest.mark.parametrize("source", ["decode/prefix/step.py", "lm/ngram/arpa_lines.py", "lm/words.py"])
def test_a_change_in_any_room_makes_stored_code_stale(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "wav2vec2"
    shutil.copytree(Path(wav2vec2.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "__file__", str(package / "lm" / "compiled.py"))
    before = module._sources_stamp.__wrapped__()
    with (package / source).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert module._sources_stamp.__wrapped__() != before
