import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.object_store import FlakyServer

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.data.utterance import Utterance
from wav2vec2.data.waveforms import fetch, read_utterance
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
