import os
import subprocess
import sys
import time

import pytest

from wav2vec2.errors import UserError
from wav2vec2.pipeline.process import locked, run_command

# A training command that saves when it is interrupted, as ours do.
SAVES = """
import signal, sys, time, pathlib
def stop(*_):
    pathlib.Path(sys.argv[-1]).write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGINT, stop)
pathlib.Path(sys.argv[-1]).write_text("began")
time.sleep(60)
"""


def test_a_command_runs_as_printed(capfd):
    run_command(["--version"])
    assert capfd.readouterr().out.startswith("wav2vec2 ")


def test_a_failure_is_one_line(capfd):
    with pytest.raises(UserError, match=r"'wav2vec2 no-such-command ...' failed with status 2"):
        run_command(["no-such-command"])
    assert "no command 'no-such-command'" in capfd.readouterr().err


def test_at_the_deadline_the_command_is_asked_once_and_saves(tmp_path):
    script, state = tmp_path / "train.py", tmp_path / "state"
    script.write_text(SAVES)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_command(["pretrain", str(state)], launch=f"{sys.executable} {script}", deadline=began + 2.0)
    assert time.monotonic() - began < 30
    assert state.read_text() == "saved"


def test_one_process_a_folder(tmp_path):
    code = "import sys, pathlib; from wav2vec2.pipeline.process import locked; "
    code += "locked(pathlib.Path(sys.argv[1])).__enter__()"
    with locked(tmp_path):
        found = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=os.environ
        )
    assert "another process is working here" in found.stderr
    with locked(tmp_path):
        pass
