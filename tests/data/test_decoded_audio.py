import multiprocessing
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wav2vec2.data import decoded_audio
from wav2vec2.data.decoded_audio import DecodedAudio, audio_key
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, record_batch
from wav2vec2.errors import UserError


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /dev/shm."""
    monkeypatch.setattr(decoded_audio, "_SHARED_MEMORY", tmp_path)
    return tmp_path


def kept_in(memory: Path) -> list[str]:
    return sorted(path.name for path in memory.rglob("*.pcm"))


def test_decoded_speech_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"batch\.in_memory: 80000\.0 GB .* set it to false"):
        DecodedAudio(np.full(4, 10**13, dtype=np.int64), "k")


def test_decoded_speech_fits_if_there_is_just_enough_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free = lambda size: lambda _: type("Usage", (), {"free": size})  # noqa: E731
    monkeypatch.setattr(decoded_audio.shutil, "disk_usage", free(22))
    kept = DecodedAudio(np.array([4, 6]), "k")
    monkeypatch.setattr(decoded_audio.shutil, "disk_usage", free(21))
    DecodedAudio(np.array([4, 6]), "k")  # is there
    with pytest.raises(UserError, match=r"batch\.in_memory"):
        DecodedAudio(np.array([4, 6]), "other")
    monkeypatch.setattr(decoded_audio.shutil, "disk_usage", free(5 * 10**6))
    promised = DecodedAudio(np.array([2 * 10**6]), "a")
    with pytest.raises(UserError, match=r"batch\.in_memory"):  # another run has been promised nearly all
        DecodedAudio(np.array([2 * 10**6]), "b")
    assert not kept.has(0)
    assert not promised.has(0)


def test_decoded_speech_keeps_each_utterance_in_its_place() -> None:
    lengths = np.array([3, 5, 1, 4])
    rng = np.random.default_rng(0)
    signals = [rng.uniform(-1, 1, n).astype(np.float32) for n in lengths]
    signals[1][:3] = 1.0, -1.0, 0.0
    calls: list[int] = []

    def reader(index: int) -> Callable[[], np.ndarray]:
        return lambda: (calls.append(index), signals[index])[1]

    decoded = DecodedAudio(lengths, "k")
    for index in (2, 0, 3, 1, 1, 0, 2, 3):
        found = decoded.waveform(index, reader(index))
        assert found.dtype == np.float32
        assert np.array_equal(found, np.clip(np.rint(signals[index] * 32_768), -32_768, 32_767) / 32_768)
    assert calls == [2, 0, 3, 1]
    found[:] = 0.5  # a copy: the caller may change it
    assert np.abs(decoded.waveform(3, reader(3)) - signals[3]).max() <= 1 / 65_536


def test_processes_share_decoded_speech() -> None:
    decoded = DecodedAudio(np.array([2, 2]), "k")
    child = multiprocessing.get_context("fork").Process(
        target=decoded.waveform, args=(1, lambda: np.array([0.25, -0.5], np.float32))
    )
    child.start()
    child.join()
    assert decoded.waveform(1, lambda: np.ones(2, np.float32)).tolist() == [0.25, -0.5]


RANK = """
import sys
from pathlib import Path
import numpy as np
from wav2vec2.data import decoded_audio
decoded_audio._SHARED_MEMORY = Path(sys.argv[1])
decoded = decoded_audio.DecodedAudio(np.array([2, 2]), sys.argv[2])
if not decoded.has(0):
    decoded.waveform(0, lambda: np.array([0.5, -0.25], np.float32))
print("ready", flush=True)
sys.stdin.read()
"""


def rank(memory: Path, key: str = "k") -> "subprocess.Popen[str]":
    """Another process that has decoded the first utterance; it ends when its input does."""
    command = [sys.executable, "-c", RANK, str(memory), key]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_ranks_share_one_memory_and_the_last_one_removes_it(memory: Path) -> None:
    other = rank(memory)
    mine = DecodedAudio(np.array([2, 2]), "k")
    assert mine.has(0)
    assert mine.waveform(0, lambda: np.zeros(2, np.float32)).tolist() == [0.5, -0.25]
    assert kept_in(memory) == ["k.pcm"]
    other.communicate("", timeout=30)
    assert kept_in(memory) == ["k.pcm"]
    del mine
    assert kept_in(memory) == []


def test_what_a_killed_run_left_is_removed_at_the_next_start(memory: Path) -> None:
    other = rank(memory, "old")
    other.send_signal(signal.SIGKILL)
    other.communicate(timeout=30)
    assert kept_in(memory) == ["old.pcm"]
    new = DecodedAudio(np.array([2, 2]), "new")
    assert kept_in(memory) == ["new.pcm"]
    del new
    other = rank(memory, "old")
    other.send_signal(signal.SIGKILL)
    other.communicate(timeout=30)
    again = DecodedAudio(np.array([2, 2]), "old")  # the files may have changed meanwhile
    assert not again.has(0)


def test_a_worker_that_is_spawned_maps_the_same_memory(memory: Path) -> None:
    mine = DecodedAudio(np.array([2, 2]), "k")
    mine.waveform(1, lambda: np.array([0.5, 0.25], np.float32))
    copy = pickle.loads(pickle.dumps(mine))
    assert copy.has(1)
    copy.waveform(0, lambda: np.array([0.125, 0.5], np.float32))
    assert mine.has(0)


def test_a_folder_of_somebody_elses_is_refused(memory: Path) -> None:
    del_me = DecodedAudio(np.array([2]), "k")
    (folder,) = memory.glob("wav2vec2-audio-*")
    folder.chmod(0o777)
    with pytest.raises(UserError, match=r"batch\.in_memory: .* set it to false"):
        DecodedAudio(np.array([2]), "k")
    folder.chmod(0o700)
    assert not del_me.has(0)


def test_a_key_says_what_is_decoded() -> None:
    rows = [Utterance(f"u{number}", f"{number}.flac", samples=9 + number) for number in range(4)]
    manifest = Manifest([record_batch(rows)])
    again = Manifest([record_batch(rows)])
    keys = [audio_key(manifest), audio_key(manifest.select([0, 1])), audio_key(manifest.select([1, 2]))]
    assert audio_key(again) == keys[0]
    assert len(set(keys)) == 3
