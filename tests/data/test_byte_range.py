import os
from pathlib import Path

import pytest
from tests.object_store import KEYS, FlakyServer

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.data import byte_range, remote
from wav2vec2.data.byte_range import ByteRange, described, joined, open_remote, read_bytes, read_ranges

SHARD = bytes(range(256)) * 20


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait hundredths of seconds where a user waits seconds."""
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)


def test_a_range_of_a_shard_in_s3(s3: str) -> None:
    import s3fs

    s3fs.S3FileSystem().pipe_file("speech/a/shard.tar", SHARD)
    assert read_bytes("s3://speech/a/shard.tar", 300, 40) == SHARD[300:340]
    assert read_bytes("s3://speech/a/shard.tar") == SHARD
    assert read_bytes("s3://speech/a/shard.tar", 3, 0) == b""
    for path, offset, reason, message in (
        ("speech/none.tar", 0, "missing", r"s3://speech/none\.tar: does not exist: correct the path"),
        ("no-bucket/a.tar", 0, "missing", r"s3://no-bucket/a\.tar: there is no bucket 'no-bucket'"),
        ("speech/a/shard.tar", 5110, "cut short", r"s3://speech/a/shard\.tar: ends before byte 5150"),
        ("speech/a/shard.tar", 9999, "cut short", r"s3://speech/a/shard\.tar: is shorter than the manifest says"),
    ):
        with pytest.raises(AudioError, match=message) as caught:
            read_bytes(f"s3://{path}", offset, 40)
        assert caught.value.reason == reason


def test_wrong_keys_are_one_line(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests
    import s3fs

    s3fs.S3FileSystem().pipe_file("speech/a.tar", SHARD)
    requests.post(f"{s3}/moto-api/reset-auth", data=b"0", timeout=10)  # from now on, moto looks at the keys
    try:
        with pytest.raises(AudioError, match=r"s3://speech/a\.tar: access is denied \(.*\): check AWS_PROFILE, or"):
            read_bytes("s3://speech/a.tar", 0, 4)
    finally:
        requests.post(f"{s3}/moto-api/reset-auth", data=b"inf", timeout=10)
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nowhere")
    remote._of_host.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(AudioError, match=r"s3://speech/a\.tar: access is denied \(.*\): check AWS_PROFILE, or"):
        read_bytes("s3://speech/a.tar", 0, 4)


# What S3 documents of its errors: 500 InternalError and 503 SlowDown are to be repeated with back-off
# (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html); 429 is RFC 6585.
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("script", [[503, "reset", 500], ["cut", 429, 502, 504], ["reset"] * 4])
def test_what_passes_is_tried_again(flaky: FlakyServer, script: list[int | str]) -> None:
    flaky.files["/speech/a.tar"] = SHARD
    flaky.script = list(script)
    assert read_bytes(f"{flaky.url}/speech/a.tar", 300, 40) == SHARD[300:340]
    assert flaky.asked == [("/speech/a.tar", "bytes=300-339")] * (len(script) + 1)


@pytest.mark.usefixtures("hasty")
def test_s3_is_asked_again_by_us_alone(flaky: FlakyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": flaky.url}).items():
        monkeypatch.setenv(name, value)
    flaky.files["/speech/a.tar"] = SHARD
    flaky.script = [503, "reset", "cut", 500]
    assert read_bytes("s3://speech/a.tar", 300, 40) == SHARD[300:340]
    assert flaky.asked == [("/speech/a.tar", "bytes=300-339")] * 5


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("protocol", ["http", "s3"])
def test_a_server_that_falls_silent_is_asked_again(
    flaky: FlakyServer, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.2)
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": flaky.url}).items():
        monkeypatch.setenv(name, value)
    flaky.files["/speech/a.tar"] = SHARD
    flaky.script = ["hang", "hang"]
    address = f"{flaky.url}/speech" if protocol == "http" else "s3://speech"
    assert read_bytes(f"{address}/a.tar", 300, 40) == SHARD[300:340]
    assert len(flaky.asked) == 3


@pytest.mark.usefixtures("hasty")
def test_what_does_not_pass_ends_in_bounded_time_and_says_how_often_it_was_tried(
    flaky: FlakyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "RETRY_SECONDS", 0.3)
    flaky.script = [503] * 1000
    with pytest.raises(AudioError, match=r"/a\.tar: cannot be read \(tried \d+ times in 0 s, at last: 503") as caught:
        read_bytes(f"{flaky.url}/a.tar", 0, 4)
    assert f"tried {len(flaky.asked)} times" in str(caught.value)
    assert len(flaky.asked) > 2
    assert caught.value.reason == "unreachable"


def test_what_will_not_pass_is_asked_for_once(flaky: FlakyServer) -> None:
    flaky.files["/a.tar"] = SHARD
    for script, path, message in (
        ([403], "a.tar", "access is denied"),
        ([401], "a.tar", "access is denied"),
        ([], "none.tar", "does not exist"),
        ([400], "a.tar", r"cannot be read \(400"),
        (["whole"], "a.tar", "sends the whole file when it is asked for a range"),
    ):
        flaky.asked.clear()
        flaky.script = list(script)
        with pytest.raises(AudioError, match=message):
            read_bytes(f"{flaky.url}/{path}", 3, 4)
        assert len(flaky.asked) == 1


def test_neighbours_are_one_request_and_each_range_is_fetched_once(
    flaky: FlakyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_range, "LARGEST_GAP", 100)
    flaky.files |= {"/a.tar": SHARD, "/b.tar": SHARD[::-1], "/c.flac": b"whole"}
    a, b, c = (f"{flaky.url}/{name}" for name in ("a.tar", "b.tar", "c.flac"))
    wanted = [ByteRange(a, 300, 40), ByteRange(a, 0, 200), ByteRange(a, 441, 9), ByteRange(b, 5, 5), ByteRange(c)]
    found = read_ranges([*wanted, *wanted])
    assert [found[one] for one in wanted] == [SHARD[300:340], SHARD[:200], SHARD[441:450], SHARD[::-1][5:10], b"whole"]
    assert found[wanted[0]].name == f"{a} (bytes 300 to 340)"  # type: ignore[union-attr]
    asked = [("/a.tar", "bytes=0-339"), ("/a.tar", "bytes=441-449"), ("/b.tar", "bytes=5-9"), ("/c.flac", "")]
    assert sorted(flaky.asked) == asked


def test_one_range_beyond_the_end_does_not_take_its_neighbours_along(flaky: FlakyServer) -> None:
    flaky.files["/a.tar"] = SHARD
    url = f"{flaky.url}/a.tar"
    found = read_ranges([ByteRange(url, 5000, 100), ByteRange(url, 5080, 100), ByteRange(f"{flaky.url}/b", 0, 1)])
    assert found[ByteRange(url, 5000, 100)] == SHARD[5000:5100]
    for one in (ByteRange(url, 5080, 100), ByteRange(f"{flaky.url}/b", 0, 1)):
        assert isinstance(found[one], AudioError)


def test_joined_ranges_overlap_touch_and_stay_below_the_largest_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_range, "LARGEST_GAP", 10)
    monkeypatch.setattr(byte_range, "LARGEST_REQUEST", 100)

    def groups(*spans: tuple[int, int]) -> list[list[int]]:
        return [[one.offset for one in request] for request in joined(ByteRange("x://a", *span) for span in spans)]

    assert groups((0, 50), (20, 5), (60, 40), (110, 1)) == [[0, 20, 60], [110]]
    assert groups((0, 50), (61, 1)) == [[0], [61]]
    assert groups((0, 200), (205, 5)) == [[0], [205]]
    assert joined([ByteRange("x://a"), ByteRange("x://a", 0, 1)]) == [[ByteRange("x://a", 0, 1)], [ByteRange("x://a")]]


def test_a_url_is_read_as_a_file_in_large_pieces(flaky: FlakyServer, s3: str) -> None:
    import s3fs

    s3fs.S3FileSystem().pipe_file("speech/a.bin", SHARD)
    with open_remote("s3://speech/a.bin", 1000) as file:
        assert file.read(3) == SHARD[:3]
        file.seek(-10, os.SEEK_END)
        assert file.read() == SHARD[-10:]
        file.seek(0)
        assert file.read() == SHARD
    assert described("s3://speech/a.bin")["size"] == len(SHARD)
    with pytest.raises(AudioError, match="does not exist"):
        open_remote("s3://speech/b.bin")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def lacking(url: str, **_: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lacking)
    remote._of_host.cache_clear()
    with pytest.raises(AudioError, match=r"s3://b/a: needs a package .*: pip install 'wav2vec2\[s3\]'"):
        read_bytes("s3://b/a", 0, 1)


def test_ranges_of_fsspec_urls() -> None:
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    files.pipe_file("/bucket/shard.tar", b"0123456789")
    assert read_bytes("memory://bucket/shard.tar", 2, 3) == b"234"
    assert read_bytes("memory://bucket/shard.tar") == b"0123456789"
    for url, offset, size in (
        ("memory://bucket/none.tar", 0, 1),
        ("memory://bucket/shard.tar", 8, 5),
        ("x-no://a/b", 0, 1),
    ):
        with pytest.raises(AudioError, match=url):
            read_bytes(url, offset, size)


def test_a_file_system_is_made_once_for_each_host_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    made: list[str] = []
    real = fsspec.core.url_to_fs
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: (made.append(url), real(url))[1])
    remote._of_host.cache_clear()
    fsspec.filesystem("memory").pipe_file("/one/a", b"a")
    for _ in range(3):
        assert read_bytes("memory://one/a") == b"a"
    with pytest.raises(AudioError, match="does not exist"):
        read_bytes("memory://two/a")
    assert made == ["memory://one", "memory://two"]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    read_bytes("memory://one/a")
    assert made[2:] == ["memory://one"]


def test_a_range_beyond_a_local_file(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"12345")
    with pytest.raises(AudioError, match=r"a\.tar: ends before byte 9"):
        read_bytes(str(tmp_path / "a.tar"), 3, 6)
    with pytest.raises(AudioError, match="does not exist"):
        read_bytes(str(tmp_path / "b.tar"), 3, 6)


def test_local_bytes_by_range_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(range(200)))
    assert read_bytes(str(path), 0, 3) == b"\0\1\2"
    assert read_bytes(str(path), 197, 3) == bytes((197, 198, 199))
    assert read_bytes(str(path), 5, 0) == b""
    assert read_bytes(str(path)) == bytes(range(200))
    with pytest.raises(AudioError, match=r"cannot be read \(.*\): check") as caught:
        read_bytes(str(tmp_path))
    assert caught.value.reason == "unreadable"
    with pytest.raises(AudioError) as caught:
        read_bytes(str(path), 199, 2)
    assert caught.value.reason == "cut short"


def test_bytes_that_arrive_in_pieces_are_joined() -> None:
    class Slow:
        def __init__(self) -> None:
            self.left = b"0123456789"

        def read(self, size: int) -> bytes:
            piece, self.left = self.left[: min(size, 3)], self.left[min(size, 3) :]
            return piece

    assert byte_range._read_fully(Slow(), 7) == b"0123456"
    assert byte_range._read_fully(Slow(), 12) == b"0123456789"
