"""torchrun's launcher with the status of the run. Its processes here are scripts without torch."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from wav2vec2.train.launch import main

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
what, folder = sys.argv[1], Path(sys.argv[2])
if what == "signalled":
    def save(*_):
        (folder / f"saved-{os.environ['RANK']}").touch()
        sys.exit(75)
    signal.signal(signal.SIGTERM, save)
    signal.signal(signal.SIGINT, save)
    (folder / f"ready-{os.environ['RANK']}").touch()
    while len(list(folder.glob("ready-*"))) < 2:
        time.sleep(0.01)
    if os.environ["RANK"] == "0":
        os.kill(os.getppid(), getattr(signal, sys.argv[3]))
    time.sleep(60)
if what == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "once":
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        sys.exit(1)
    what = "0"
sys.exit(int(what))
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[str]:
    """The script; torchrun's handlers of signals are taken away again after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    path = tmp_path / "worker.py"
    path.write_text(SCRIPT)
    yield str(path)
    for number, handler in before.items():
        signal.signal(number, handler)


def launched(script: str, *words: str, options: tuple[str, ...] = ()) -> int:
    return main(["--nproc-per-node", "2", "--standalone", *options, script, *words])


@pytest.mark.parametrize(("words", "status"), [("0", 0), ("75", 75), ("killed", 128 + signal.SIGKILL), ("once", 0)])
def test_the_status_is_that_of_the_processes(
    words: str, status: int, script: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert launched(script, words, str(tmp_path), options=("--max-restarts", "1") if words == "once" else ()) == status
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert ("was killed by SIGKILL" in said) == (words == "killed")


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 75), ("SIGINT", 130)])
def test_a_signal_to_the_launcher_reaches_all_processes_which_may_save(
    name: str, status: int, script: str, tmp_path: Path
) -> None:
    assert launched(script, "signalled", str(tmp_path), name) == status
    assert sorted(path.name for path in tmp_path.glob("saved-*")) == ["saved-0", "saved-1"]


def test_torchruns_own_launcher_ends_in_a_traceback_whatever_the_status(script: str, tmp_path: Path) -> None:
    # why there is a launcher here; when this fails, torchrun has learned it and ours can go
    with pytest.raises(ChildFailedError):
        torchrun(["--nproc-per-node", "1", "--standalone", script, "75", str(tmp_path)])
