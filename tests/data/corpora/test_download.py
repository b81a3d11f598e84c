import base64
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.data.made_up_speech import librispeech_tree, voice, write

from wav2vec2.data.corpora.download import (
    LIBRILIGHT_MD5,
    LIBRISPEECH_MD5,
    LIMITED_SHA256,
    fetch,
    fleurs_archives,
    librilight_archives,
    librispeech_archives,
    mls_archives,
    unpack,
)
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.command import PrepareLibriSpeech, run
from wav2vec2.data.prepare.published import PrepareFleurs, PrepareLibriLight, PrepareLimited, PrepareMls
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
        self.hashes: dict[str, str] = {}

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

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path in self.server.content else 404)
        if self.path in self.server.hashes:
            self.send_header("x-goog-hash", "crc32c=AAAAAA==")
            self.send_header("x-goog-hash", self.server.hashes[self.path])
        self.end_headers()

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
    with pytest.raises(UserError, match="--download dev: is not a part"):
        librispeech_archives("dev")
    with pytest.raises(UserError, match="--download tiny: is not a subset of Libri-light"):
        librilight_archives("small, tiny")
    with pytest.raises(UserError, match="--download klingon: is not a language of MLS"):
        mls_archives("klingon", opus=False)
    with pytest.raises(UserError, match=r"--download ../x: is not a language code of FLEURS"):
        fleurs_archives("../x")


def test_all_of_librispeech_is_seven_archives_with_the_checksums_of_openslr() -> None:
    archives = librispeech_archives("all")
    assert len(archives) == len({archive.checksum for archive in archives}) == 7
    assert all(len(archive.checksum) == 32 and int(archive.checksum, 16) for archive in archives)
    assert archives[-1].url == "https://www.openslr.org/resources/12/train-other-500.tar.gz"
    assert next(a.checksum for a in archives if a.name == "test-clean.tar.gz") == "32fa31d27d2e1cad72775fee3f4849a9"


def test_librilight_and_the_limited_sets(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = tmp_path / "made" / "small" / "9" / "book"
    write(book / "c.flac", voice(1.0))
    (book / "c.json").write_text('{"voice_activity": [[0.0, 0.9]]}')
    limited = tmp_path / "made" / "librispeech_finetuning"
    for kind in ("clean", "other"):
        write(limited / "1h" / "0" / kind / "7" / "1" / f"7-1-{kind}.flac", voice(0.3))
        (limited / "1h" / "0" / kind / "7" / "1" / "7-1.trans.txt").write_text(f"7-1-{kind} HELLO\n")
    small, tuning = archive_of(book.parents[1], "small"), archive_of(limited, "librispeech_finetuning")
    server.content |= {"/data/small.tar": small, "/data/librispeech_finetuning.tgz": tuning}
    monkeypatch.setitem(LIBRILIGHT_MD5, "small", hashlib.md5(small).hexdigest())
    monkeypatch.setitem(LIMITED_SHA256, "librispeech_finetuning", hashlib.sha256(tuning).hexdigest())
    common = {"base_url": f"{server.url}/data", "out": tmp_path / "out", "workers": 1}
    light = PrepareLibriLight(root=tmp_path / "light", download="small", **common)  # type: ignore[arg-type]
    assert Manifest.open(run(light)).ids == ["9/book/c_0000"]
    ten = PrepareLimited(root=tmp_path / "corpus", size="10min", download=True, **common)  # type: ignore[arg-type]
    assert Manifest.open(run(ten)).ids == ["7-1-clean", "7-1-other"]
    monkeypatch.setitem(LIMITED_SHA256, "librispeech_finetuning", "0" * 64)
    with pytest.raises(UserError, match=f"has SHA-256 .* instead of {'0' * 64} and was removed"):
        run(replace(ten, root=tmp_path / "other"))


def test_checksums_are_taken_from_the_servers_list(server: Server, tmp_path: Path) -> None:
    split = tmp_path / "made" / "dev"
    write(split / "audio" / "1" / "2" / "1_2_000000.flac", voice(0.3))
    (split / "transcripts.txt").write_text("1_2_000000\tdzie\u0144 dobry\n", encoding="utf-8")
    content = archive_of(split.parent, "mls_polish")
    server.content["/mls/mls_polish.tar.gz"] = content
    options = PrepareMls(
        root=tmp_path / "mls", download="polish", base_url=f"{server.url}/mls", out=tmp_path / "out", workers=1
    )
    with pytest.raises(UserError, match=r"md5sum.txt: cannot be read"):
        run(options)
    server.content["/mls/md5sum.txt"] = b"0 other.tar.gz\n"
    with pytest.raises(UserError, match=r"md5sum.txt: lists no checksum of mls_polish.tar.gz"):
        run(options)
    server.content["/mls/md5sum.txt"] = f"{'0' * 32}  ./mls_polish.tar.gz\n".encode()
    with pytest.raises(UserError, match="and was removed"):
        run(options)
    server.content["/mls/md5sum.txt"] = f"{hashlib.md5(content).hexdigest()}  mls_polish.tar.gz\n".encode()
    assert [row.language for row in Manifest.open(run(options))] == ["pl"]


@pytest.mark.parametrize("kind", ["right", "wrong", "none"])
def test_checksums_are_taken_from_the_servers_header(
    server: Server, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made"
    write(made / "audio" / "test" / "5.wav", voice(0.3))
    (made / "test.tsv").write_text("1\t5.wav\tHej.\they\th\t4800\tMALE\n")
    content = archive_of(made, "sv_se")
    server.content["/sv_se.tar.gz"] = content
    digest = hashlib.md5(content if kind == "right" else b"").digest()
    if kind != "none":
        server.hashes["/sv_se.tar.gz"] = "md5=" + base64.b64encode(digest).decode()
    options = PrepareFleurs(
        root=tmp_path / "fleurs", download="sv_se", base_url=server.url, out=tmp_path / "out", workers=1
    )
    if kind == "wrong":
        with pytest.raises(UserError, match="and was removed"):
            run(options)
        return
    assert Manifest.open(run(options)).ids == ["sv_se/test/5"]
    assert ("gives no checksum" in capsys.readouterr().err) == (kind == "none")
    run(options)
    assert len(server.asked) == 1


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
