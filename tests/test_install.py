"""The wheel and the source distribution, as pip makes and installs them: in an environment of its own, run from another
folder. torch and the other packages are those of the environment that runs the tests.
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

REPOSITORY = Path(__file__).resolve().parents[1]


def quiet_run(*line: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in line]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=900, env=environment)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist. Skips where pip has no index to take hatchling from."""
    folder = tmp_path_factory.mktemp("dist")
    tools = quiet_run(
        sys.executable, "-m", "pip", "install", "-q", "--target", folder / "tools", "hatchling", folder=folder
    )
    if tools.returncode:
        pytest.skip(f"hatchling cannot be had: {tools.stderr[-200:]}")
    code = (
        f"import sys; sys.path.insert(0, {str(folder / 'tools')!r}); from hatchling.cli import hatchling; hatchling()"
    )
    for target in ("wheel", "sdist"):
        done = quiet_run(sys.executable, "-c", code, "build", "-t", target, "-d", folder, folder=REPOSITORY)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def program(built: Path) -> Path:
    """The command of the installed wheel."""
    environment = built / "venv"
    assert quiet_run(sys.executable, "-m", "venv", "--without-pip", environment, folder=built).returncode == 0
    (packages,) = environment.glob("lib/python*/site-packages")
    wheel = next(built.glob("*.whl"))
    line = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        environment / "bin" / "python",
        "install",
        "-q",
        "--no-deps",
        wheel,
    ]
    done = quiet_run(*line, folder=built)
    assert done.returncode == 0, done.stderr
    # A plain path: the .pth files there, such as that of an editable installation of this package, are not read.
    (packages / "others.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
    return environment / "bin" / "wav2vec2"


@pytest.mark.slow
def test_both_archives_hold_what_they_need(built: Path) -> None:
    names = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    assert {"wav2vec2/py.typed", "wav2vec2/recipes/pretrain_base.toml", "wav2vec2/cli/program.py"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "docs/", "runs/"))]
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "recipes/pretrain_base.toml",
        "scripts/packaged_recipes.py",
    } <= members


@pytest.mark.slow
def test_the_installed_wheel_runs_the_demo_from_another_folder(program: Path, tmp_path: Path) -> None:
    where = quiet_run(program.parent / "python", "-c", "import wav2vec2; print(wav2vec2.__file__)", folder=tmp_path)
    assert where.stdout.startswith(str(program.parents[1])), where.stderr
    listed = quiet_run(program, "recipes", folder=tmp_path)
    assert "pretrain_small_mfcc" in listed.stdout, listed.stderr
    rng = np.random.default_rng(0)
    for split, speaker in (("train-a", 1), ("train-a", 2), ("train-b", 3), ("test-clean", 4)):
        chapter = tmp_path / "tree" / split / str(speaker) / "7"
        chapter.mkdir(parents=True)
        names = [f"{speaker}-7-{number:04d}" for number in range(6)]
        for name in names:
            soundfile.write(chapter / f"{name}.flac", rng.normal(0, 0.1, 17_000), 16_000)
        lines = "".join(f"{name} RED BOX\n" for name in names)
        (chapter / f"{speaker}-7.trans.txt").write_text(lines)
    few = ("--pretrain-updates", "2", "--finetune-updates", "2")
    done = quiet_run(program, "demo", "--speech", tmp_path / "tree", "--out", "out", *few, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Pre-training changed the word error rate by" in done.stdout
    assert (tmp_path / "out" / "finetune" / "model" / "model.safetensors").is_file()
