import multiprocessing
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.object_store import FlakyServer

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.data import waveforms
from wav2vec2.data.utterance import Utterance
from wav2vec2.data.waveforms import DecodedAudio, fetch, read_utterance
from wav2vec2.errors import UserError

WAVE = (np.sin(np.arange(20_000) / 9) * 0.5).astype(np.float32)


def test_a_piece_of_a_file_and_of_a_shard_are_read_by_range(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, WAVE, 16_000, subtype="FLOAT")
    piece = Utterance(id="a", path=str(path), start=300, samples=1_000)
    assert np.array_equal(read_utterance(piece), WAVE[300:1300])
    shard = tmp_path / "s.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(path, "a.wav")
        offset = tar.getmember("a.wav").offset_data or 0
    with tarfile.open(shard) as tar:
        offset = tar.getmember("a.wav").offset_data
    inside = replace(piece, path=str(shard), offset=offset, size=path.stat().st_size)
    assert np.array_equal(read_utterance(inside), WAVE[300:1300])
    with pytest.raises(UserError, match=r"s\.tar"):
        read_utterance(replace(inside, size=10**9))


def test_an_utterance_without_a_length_reads_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, WAVE, 16_000, subtype="FLOAT")
    assert np.array_equal(read_utterance(Utterance("a", str(path), start=7)), WAVE[7:])
    assert np.array_equal(read_utterance(Utterance("a", str(path), offset=0, size=path.stat().st_size)), WAVE)
    with pytest.raises(UserError, match=r"a\.wav"):
        read_utterance(Utterance("a", str(path), start=19_000, samples=1_001))


def test_decoded_speech_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"batch\.in_memory: 80000\.0 GB .* set it to false"):
        DecodedAudio(np.full(4, 10**13, dtype=np.int64))


def test_decoded_speech_fits_if_there_is_just_enough_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(waveforms, "_SHARED_MEMORY", tmp_path)
    free = lambda size: lambda _: type("Usage", (), {"free": size})  # noqa: E731
    monkeypatch.setattr(waveforms.shutil, "disk_usage", free(20))
    DecodedAudio(np.array([4, 6]))
    monkeypatch.setattr(waveforms.shutil, "disk_usage", free(19))
    with pytest.raises(UserError, match=r"batch\.in_memory"):
        DecodedAudio(np.array([4, 6]))


def test_decoded_speech_keeps_each_utterance_in_its_place() -> None:
    lengths = np.array([3, 5, 1, 4])
    rng = np.random.default_rng(0)
    signals = [rng.uniform(-1, 1, n).astype(np.float32) for n in lengths]
    signals[1][:3] = 1.0, -1.0, 0.0
    calls: list[int] = []

    def reader(index: int) -> Callable[[], np.ndarray]:
        return lambda: (calls.append(index), signals[index])[1]

    decoded = DecodedAudio(lengths)
    for index in (2, 0, 3, 1, 1, 0, 2, 3):
        found = decoded.waveform(index, reader(index))
        assert found.dtype == np.float32
        assert np.array_equal(found, np.clip(np.rint(signals[index] * 32_768), -32_768, 32_767) / 32_768)
    assert calls == [2, 0, 3, 1]
    found[:] = 0.5  # a copy: the caller may change it
    assert np.abs(decoded.waveform(3, reader(3)) - signals[3]).max() <= 1 / 65_536


def test_processes_share_decoded_speech() -> None:
    decoded = DecodedAudio(np.array([2, 2]))
    child = multiprocessing.get_context("fork").Process(
        target=decoded.waveform, args=(1, lambda: np.array([0.25, -0.5], np.float32))
    )
    child.start()
    child.join()
    assert decoded.waveform(1, lambda: np.ones(2, np.float32)).tolist() == [0.25, -0.5]


def test_a_damaged_member_of_an_archive_is_named_by_the_archive_and_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(bytes(100) + b"this is not audio at all" * 9)
    with pytest.raises(AudioError, match=r"a\.tar \(bytes 100 to 316\): is damaged"):
        read_utterance(Utterance(id="a", path=str(tmp_path / "a.tar"), offset=100, size=216))


def test_segments_of_remote_recordings_are_fetched_once(tmp_path: Path, flaky: FlakyServer) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, WAVE, 16_000, subtype="FLOAT")
    size = path.stat().st_size
    flaky.files["/s.tar"] = bytes(700) + path.read_bytes() + bytes(1000) + path.read_bytes()
    url = f"{flaky.url}/s.tar"
    rows = [Utterance("a", url, 700, size, start, 900) for start in (0, 300, 4000)]
    rows.append(Utterance("b", url, 1700 + size, size, 7, 60))
    lost = Utterance("c", f"{flaky.url}/no.tar", 0, 5, 0, 9)
    fetched = fetch([*rows, lost, Utterance("d", str(path))])
    for row in rows:
        assert np.array_equal(read_utterance(row, fetched), WAVE[row.start : row.start + row.samples])
    with pytest.raises(AudioError, match=r"no\.tar: does not exist"):
        read_utterance(lost, fetched)
    assert sorted(flaky.asked) == [("/no.tar", "bytes=0-4"), ("/s.tar", f"bytes=700-{1700 + 2 * size - 1}")]
    flaky.files["/a.wav"] = path.read_bytes()  # a recording that is a file of its own
    assert np.array_equal(read_utterance(Utterance("a", f"{flaky.url}/a.wav", start=7, samples=20)), WAVE[7:27])
