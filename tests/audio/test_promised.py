from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2vec2.audio.promised import promised_lengths, promised_seconds


def write(path: Path, seconds: float) -> Path:
    soundfile.write(path, np.zeros(int(8_000 * seconds), np.float32), 8_000)
    return path


def test_headers_tell_the_length(tmp_path: Path) -> None:
    for suffix in ("wav", "flac", "mp3", "ogg"):
        assert promised_seconds(write(tmp_path / f"a.{suffix}", 2.5)) == pytest.approx(2.5, abs=0.1)
    cut = tmp_path / "cut.wav"
    cut.write_bytes((tmp_path / "a.wav").read_bytes()[:10_000])
    assert promised_seconds(cut) == 2.5
    assert promised_seconds((tmp_path / "a.flac").read_bytes()) == 2.5


def test_what_promises_nothing_is_unknown(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.wav", 1.0).read_bytes()
    # A recorder that writes to a pipe cannot fill in the sizes; FFmpeg leaves all bits set.
    piped = whole[:4] + b"\xff" * 4 + whole[8:40] + b"\xff" * 4 + whole[44:]
    assert promised_seconds(piped) == 0.0
    (tmp_path / "bad.wav").write_bytes(b"RIFFnothing")
    assert promised_seconds(tmp_path / "bad.wav") == promised_seconds(tmp_path / "absent.wav") == 0.0


def test_of_many_files_some_are_opened_and_the_others_weighed(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{place}.wav", 1.0 + place % 2) for place in range(250)]
    (tmp_path / "7.wav").unlink()
    lengths = promised_lengths(files)
    assert len(lengths) == 250
    assert lengths[7] == 0.0
    assert sum(lengths) == pytest.approx(250 * 1.5 - 2.0, rel=0.05)
    assert promised_lengths([]) == []
