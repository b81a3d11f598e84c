"""A small version of ``scripts/two_nodes.py``: a cable between two network namespaces is pulled, and plugged again."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def namespaces() -> bool:
    """Whether this machine lets us make network namespaces."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    name = f"w2v-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made


@pytest.mark.skipif("not namespaces()", reason="network namespaces need root, and the program ip")
def test_two_nodes_that_lose_each_other_meet_again_and_end_with_the_same_weights(tmp_path: Path) -> None:
    words = ["-m", "scripts.two_nodes", "--work", str(tmp_path / "work"), "--updates", "20", "--cuts", "15"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"15 s without a network: began [2-9] times, 0 numbers differ\n", done.stdout)
