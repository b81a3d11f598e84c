import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up_speech import librispeech_tree

from wav2vec2.data.download import LIBRISPEECH_MD5, download_librispeech, fetch, unpack
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare import PrepareLibriSpeech, run
from wav2vec2.errors import UserError


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` by path; closes the connection after `stop_after` bytes of each of the next `breaks` replies."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[str, bytes] = {}
        self.breaks = 0
        self.stop_after = 0
        self.ranges = True
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.headers.get("Range"))
        content = self.server.content.get(self.path)
        if content is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range") if self.server.ranges else None
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if first >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        rest = content[first:]
        if self.server.breaks:
            self.server.breaks -= 1
            rest = rest[: self.server.stop_after]
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield running
        running.shutdown()


CONTENT = bytes(range(256)) * 40
MD5 = hashlib.md5(CONTENT).hexdigest()


def archive_of(folder: Path, name: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder, name)
    return packed.getvalue()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_connection_is_continued(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.content["/a"] = CONTENT
    server.ranges, server.stop_after, server.breaks = ranges, 4_000, 2 if ranges else 1
    if ranges:
        fetch(f"{server.url}/a", tmp_path / "a", MD5)
        assert server.asked == [None, "bytes=4000-", "bytes=8000-"]
    else:
        fetch(f"{server.url}/a", tmp_path / "a", MD5)
        assert server.asked == [None, "bytes=4000-"]
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert not (tmp_path / "a.part").exists()


def test_an_interrupted_download_goes_on_in_the_next_run(server: Server, tmp_path: Path) -> None:
    server.content["/a"] = CONTENT
    for have in (1_000, len(CONTENT)):
        (tmp_path / "a.part").write_bytes(CONTENT[:have])
        fetch(f"{server.url}/a", tmp_path / "a", MD5)
        assert server.asked.pop() == f"bytes={have}-"
        assert (tmp_path / "a").read_bytes() == CONTENT
        (tmp_path / "a").unlink()


def test_a_bad_checksum_removes_the_file(server: Server, tmp_path: Path) -> None:
    server.content["/a"] = CONTENT + b"!"
    with pytest.raises(UserError, match=f"instead of {MD5} and was removed"):
        fetch(f"{server.url}/a", tmp_path / "a", MD5)
    assert list(tmp_path.iterdir()) == []


def test_no_server_no_file_and_a_dead_connection_are_user_errors(server: Server, tmp_path: Path) -> None:
    server.content["/a"] = CONTENT
    server.breaks = 9
    for url in (f"{server.url}/a", f"{server.url}/none", "http://127.0.0.1:9/a"):
        with pytest.raises(UserError, match="cannot be downloaded"):
            fetch(url, tmp_path / "a", MD5)


def test_librispeech_is_fetched_unpacked_and_prepared(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = librispeech_tree(tmp_path / "made", splits=("dev-clean",), speakers=2)
    content = archive_of(tree, "LibriSpeech")
    server.content["/resources/12/dev-clean.tar.gz"] = content
    monkeypatch.setitem(LIBRISPEECH_MD5, "dev-clean", hashlib.md5(content).hexdigest())
    options = PrepareLibriSpeech(
        root=tmp_path / "corpus",
        out=tmp_path / "out",
        download="dev-clean",
        base_url=f"{server.url}/resources/12/",
        workers=1,
    )
    manifest = Manifest.open(run(options))
    assert len(manifest) == 4
    assert {row.split for row in manifest} == {"dev-clean"}
    run(options)
    assert len(server.asked) == 1
    assert not list((tmp_path / "corpus").rglob("*.tar.gz"))


def test_an_unknown_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--download dev: is no part"):
        download_librispeech(["dev"], tmp_path)


@pytest.mark.parametrize("name", ["../outside", "LibriSpeech/../../outside"])
def test_nothing_leaves_the_folder(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 3
        tar.addfile(member, io.BytesIO(b"bad"))
    with pytest.raises(UserError, match="cannot be unpacked safely"):
        unpack(archive, tmp_path / "root")
    assert not (tmp_path / "outside").exists()


def test_links_do_not_leave_the_folder_and_damage_is_reported(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(UserError, match="cannot be unpacked safely"):
        unpack(archive, tmp_path / "root")
    archive.write_bytes(archive.read_bytes()[:40])
    with pytest.raises(UserError, match="remove it and download it again"):
        unpack(archive, tmp_path / "root")
