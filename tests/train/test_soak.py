"""A small version of the soak in ``scripts/soak.py``; how the whole one went is in docs/results/tests.md."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_a_run_that_is_interrupted_everywhere_is_the_undisturbed_one(tmp_path: Path) -> None:
    words = ["-m", "scripts.soak", "--count", "6", "--updates", "12", "--seed", "2"]
    done = subprocess.run(
        [sys.executable, *words, "--work", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 differ from the undisturbed run" in done.stdout
