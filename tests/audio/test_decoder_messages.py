import ctypes
import multiprocessing
import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2vec2.audio import read as audio
from wav2vec2.audio.decoder_messages import silent_decoder
from wav2vec2.audio.read import read_audio

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="silent with glibc only")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """An MP3 file with a hole in its middle, which libmpg123 gives up on."""
    path = tmp_path / "broken.mp3"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 48_000).clip(-1, 1), 16_000, format="MP3")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(3000) + content[middle + 3000 :])
    return path


def say_in_c(text: bytes) -> None:
    library = ctypes.CDLL(None)
    library.fputs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    library.fputs(text, ctypes.c_void_p.in_dll(library, "stderr"))


def test_a_damaged_mp3_is_our_line_and_no_other(
    broken: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(read_audio(broken)) > 16_000
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(audio, "quietly", iter)
    read_audio(broken)
    assert "Illegal Audio-MPEG-Header" in capfd.readouterr().err


def test_many_threads_are_silent_and_stderr_is_there_afterwards(broken: Path, capfd: pytest.CaptureFixture) -> None:
    def read(_: int) -> int:
        return len(read_audio(broken))

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(read, range(64)))) == 1
    say_in_c(b"still here\n")
    assert capfd.readouterr().err == "still here\n"


def test_what_python_and_other_processes_write_meanwhile_comes_through(capfd: pytest.CaptureFixture) -> None:
    with silent_decoder(), silent_decoder():
        say_in_c(b"lost\n")
        os.write(2, b"descriptor\n")
        print("python", file=sys.stderr, flush=True)
        os.system("echo process >&2")
        child = multiprocessing.get_context("fork").Process(target=say_in_c, args=(b"fork\n",))
        child.start()
        child.join()
    assert capfd.readouterr().err.split() == ["descriptor", "python", "process", "fork"]
