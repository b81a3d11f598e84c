"""The script for a GPU, on a CPU: without the package's other dependencies, and its verdicts on made-up speeds."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "gpu_check.py"

# what torch itself needs, and nothing else
PACKAGES = (
    "torch",
    "torchgen",
    "functorch",
    "numpy",
    "numpy.libs",
    "sympy",
    "mpmath",
    "networkx",
    "filelock",
    "jinja2",
)
PACKAGES += ("markupsafe", "typing_extensions.py", "setuptools")

BARE = """
import sys
sys.path[:0] = [{packages!r}, {scripts!r}]
import gpu_check
for name in ("soundfile", "pyarrow", "tyro", "transformers"):
    assert name not in sys.modules or isinstance(sys.modules[name], gpu_check.stand_ins.Module), name
assert not gpu_check.HAS_PEER
from wav2vec2.train.benchmark.turns import Worker, OURS
from wav2vec2.train.benchmark.choice import choose
w = choose({recipe!r}, "pretrain", "fp32", gpu_check.torch.device("cpu"), 1).workload
worker = Worker(OURS, w, None, keep=True)
rows = gpu_check.made_up_audio(1, 1.0, ragged=False, seed=0)
assert worker.fits(rows)
print(len(worker.parts(rows, 0)), worker.turn(rows, 0, 1, 0).seconds > 0)
"""


def test_it_runs_where_only_torch_and_numpy_are_installed(tmp_path: Path) -> None:
    installed = Path(torch.__file__).parents[1]
    for name in PACKAGES:
        if (installed / name).exists():
            (tmp_path / name).symlink_to(installed / name)
    recipe = tmp_path / "small.toml"
    recipe.write_text('[model]\narchitecture = "tiny"\nlayers = 1\n')
    code = BARE.format(packages=str(tmp_path), scripts=str(SCRIPT.parent), recipe=str(recipe))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "7 True\n", done.stderr


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_check"] = module
    path, finders = list(sys.path), list(sys.meta_path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:], sys.meta_path[:] = path, finders
    del sys.modules["gpu_check"]


class Side:
    """A side that computes ``speed(size)`` seconds of audio a second, and has room for ``most`` utterances."""

    def __init__(self, side: str, speed: dict[int, float], most: int) -> None:
        self.side, self._speed, self._most = side, speed, most

    def ask(self, name: str, *arguments: Any) -> Any:
        size = len(arguments[0]) if arguments else 0
        if name == "fits":
            return size <= self._most
        if name == "turn":
            return type("Turn", (), {"seconds": size * arguments[2] / self._speed[size]})()
        return {"peak": 2**30, "parts": {"all": 1.0}, "release": None}[name]


def test_the_verdicts_follow_from_the_speeds(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    # seconds of audio = utterances, as the rehearsal's are of one second
    plan = replace(script.REHEARSAL, batches=(1, 2, 4, 8), device=torch.device("meta"))
    check = script.Check(plan, script.time.monotonic() + 600, None)
    w = script.choose("tiny", "pretrain", "fp32", torch.device("cpu"), 1).workload
    rows = script.made_up_audio(1, 1.0, ragged=False, seed=1)
    ceiling = 100 * script.operations(w, rows)  # so that 100 audio-seconds a second are 100 %
    found: dict[str, dict[int, float]] = {"wav2vec2": {}, "transformers": {}}
    ours = Side("wav2vec2", {1: 20.0, 2: 45.0, 4: 44.0}, 8)  # the larger batch is slower: 8 is not tried
    theirs = Side("transformers", {1: 10.0, 2: 12.0}, 2)  # 4 does not fit
    check.batches("TINY", w, [ours, theirs], ceiling, found)
    check.judge("TINY", w, script.Bars(0.3, 0.4, 3.0), ceiling, found)
    shown = capsys.readouterr().out
    assert found == {"wav2vec2": {1: 20.0, 2: 45.0, 4: 44.0}, "transformers": {1: 10.0, 2: 12.0}}
    assert "TINY, transformers, 4 x 1 s: does not fit" in shown
    assert "FAILS        TINY at 1 x 1 s: 20.0 % of the ceiling, bar 30.0 %" in shown
    assert "PASSES       TINY at the best batch: 45.0 % of the ceiling, bar 40.0 %" in shown
    assert "FAILS        TINY at 1: 2.00x transformers, bar 3x" in shown
    assert "PASSES       TINY at each side's best batch: 3.75x transformers, bar 3x" in shown


def test_without_a_peer_or_a_bar_nothing_is_judged(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check = script.Check(replace(script.REHEARSAL, device=torch.device("meta")), script.time.monotonic(), None)
    w = script.choose("tiny", "pretrain", "fp32", torch.device("cpu"), 1).workload
    check.judge("TINY", w, script.Bars(0.3, 0.4), 1e9, {"wav2vec2": {1: 1e6}, "transformers": {}})
    shown = capsys.readouterr().out
    assert shown.count("PASSES") == 2
    assert shown.count("no bar") == 2
