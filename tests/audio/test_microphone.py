"""The microphone, through PortAudio and a real sound server whose input hears what its output plays."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.bursts import burst
from tests.inference.live.test_session import MODELS

import wav2vec2

PROGRAMS = ("pulseaudio", "pactl", "paplay")
CONFIGURATION = """load-module module-native-protocol-unix
load-module module-null-sink sink_name=speaker rate=48000
set-default-sink speaker
set-default-source speaker.monitor
"""
RECORD = """import sys, numpy as np
from wav2vec2.audio.microphone import Microphone
with Microphone() as microphone:
    blocks = microphone.blocks()
    print("open", flush=True)
    heard = [next(blocks)]
    while sum(map(len, heard)) < 80_000:
        heard.append(next(blocks))
np.save(sys.argv[1], np.concatenate(heard))
"""


def installed() -> str:
    """What is missing, or ''."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):  # OSError: without the library PortAudio
        missing.append("sounddevice with PortAudio")
    return ", ".join(missing)


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(installed()), reason=f"not installed: {installed()}")]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A sound server of our own; the environment of programs that use it."""
    home = tmp_path_factory.mktemp("sound")
    (home / "default.pa").write_text(CONFIGURATION)
    (home / ".asoundrc").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
    (home / "run").mkdir(mode=0o700)
    environment = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}
    command = ["pulseaudio", "-n", "-F", str(home / "default.pa"), "--exit-idle-time=-1", "--daemonize=no"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 30
            while subprocess.run(["pactl", "info"], env=environment, capture_output=True, check=False).returncode:
                if server.poll() is not None or time.monotonic() > until:
                    pytest.skip("the sound server does not start here")
                time.sleep(0.2)
            yield environment
        finally:
            server.terminate()


def play(audio: np.ndarray, path: Path, sound: dict[str, str]) -> None:
    soundfile.write(path, audio, 16_000)
    subprocess.run(["paplay", str(path)], env=sound, check=True, timeout=120)


def test_what_is_played_is_heard(sound: dict[str, str], tmp_path: Path) -> None:
    """A busy machine may lose a moment of it, so tones are compared, not samples."""
    tones = (400, 900, 1500, 2200)
    times = np.arange(8_000) / 16_000
    audio = np.concatenate([0.3 * np.sin(2 * np.pi * tone * times) for tone in tones]).astype(np.float32)
    command = [sys.executable, "-c", RECORD, str(tmp_path / "heard.npy")]
    with subprocess.Popen(command, env=sound, stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdout is not None
        assert recorder.stdout.readline() == "open\n"
        play(audio, tmp_path / "tones.wav", sound)
        assert recorder.wait(120) == 0
    frames = np.load(tmp_path / "heard.npy")[:80_000].reshape(-1, 1600)
    levels = frames.std(axis=1)
    whole = np.flatnonzero((levels > 0.9 * np.std(audio)) & (levels < 1.1 * np.std(audio)))
    loudest = 10 * np.abs(np.fft.rfft(frames[whole])).argmax(axis=1)  # Hz
    assert [tone for tone in dict.fromkeys(loudest.tolist()) if (loudest == tone).sum() >= 2] == list(tones)


def test_listen_writes_what_the_microphone_hears(sound: dict[str, str], tmp_path: Path) -> None:
    wav2vec2.save(MODELS["group"].model, tmp_path / "model")  # type: ignore[arg-type]
    command = [sys.executable, "-m", "wav2vec2", "listen", "--model", str(tmp_path / "model"), "--chunk", "0.5"]
    with (tmp_path / "messages").open("w") as messages:
        listener = subprocess.Popen(command, env=sound, stdout=subprocess.PIPE, stderr=messages, text=True)
    with listener:
        until = time.monotonic() + 120
        while "speak now" not in (tmp_path / "messages").read_text():
            assert listener.poll() is None, (tmp_path / "messages").read_text()
            assert time.monotonic() < until
            time.sleep(0.2)
        play(np.concatenate([burst(2.0, 1), np.zeros(48_000, np.float32)]), tmp_path / "burst.wav", sound)
        listener.send_signal(signal.SIGINT)
        events, _ = listener.communicate(timeout=60)
    assert listener.returncode == 0
    assert '"kind": "final"' in events
