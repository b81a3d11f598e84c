import subprocess
import sys
from pathlib import Path


def test_twenty_steps_give_the_stored_losses() -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "loss_check.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("as expected") == 3
