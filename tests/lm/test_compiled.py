import importlib.util
import shutil
import subprocess
import sys
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


COMPILER = """
import sys, time
from pathlib import Path
from numba.core import event
from wav2vec2.lm.compiled import compiled

folder = Path(sys.argv[1])

class Count(event.Listener):
    def on_start(self, event):
        print("compiles", event.data["dispatcher"].py_func.__name__, flush=True)
        (folder / "compiling").touch()
        for _ in range(5000):  # not for ever: the test may have failed
            if (folder / "another waits").exists():
                break
            time.sleep(0.02)
    def on_end(self, event):
        pass

event.register("numba:compile", Count())
sys.path.insert(0, sys.argv[1])
import doubling
doubling.double = compiled(doubling.double)
print(compiled(doubling.quadruple)(4))
"""


def compiler(folder: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", COMPILER, str(folder)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("killed", [False, True])
def test_of_two_processes_one_compiles_and_the_other_waits_and_loads(killed: bool, tmp_path: Path) -> None:
    source = "def double(x):\n    return 2 * x\n\n\ndef quadruple(x):\n    return double(double(x))\n"
    (tmp_path / "doubling.py").write_text(source, encoding="utf-8")
    compiles = ["compiles quadruple", "compiles double", "16"]
    with compiler(tmp_path) as first:
        while not (tmp_path / "compiling").exists():
            assert first.poll() is None, first.communicate()[1]
        with compiler(tmp_path) as second:
            assert second.stderr is not None
            assert "waiting for another process" in second.stderr.readline()
            if killed:
                first.kill()
                first.wait()
            (tmp_path / "another waits").touch()
            printed, said = second.communicate(timeout=100)
            assert printed.splitlines() == (compiles if killed else ["16"])
            assert ("takes a minute" in said) is killed
        if not killed:
            assert first.communicate(timeout=100)[0].splitlines() == compiles
