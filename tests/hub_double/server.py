"""A double of the Hugging Face hub: its HTTP protocol, as far as downloading takes, from folders of this machine.

The real `huggingface_hub` talks to it through ``HF_ENDPOINT``. Facts, and where they come from:

- paths, headers and error codes: `huggingface_hub` 2.4.0's source, which asks for them (`constants.py`,
  `file_download.py`, `utils/_http.py`, `hf_api.py`): ``/api/models/ID[/revision/REV][?blobs=true]``,
  ``/api/models/ID/tree/REV`` with a ``Link`` to the next page, ``/ID/resolve/REV/FILE``; ``X-Repo-Commit``, ``ETag``,
  ``X-Linked-Etag``, ``X-Linked-Size``, ``X-Error-Code`` (RepoNotFound, RevisionNotFound, EntryNotFound, GatedRepo)
- a file of Git LFS answers ``resolve`` with a redirect to another host, which takes no ``Authorization``: the same
  source drops the header there, "otherwise it's a signed CDN url"
- an ETag is the SHA-256 of a file of Git LFS, and git's SHA-1 of any other: `TreeCacheEntry` has both
- a repository that is missing and one that is private answer alike, 401 without a token: `hf_raise_for_status`
- which files are large: `.gitattributes` as the hub makes it, ``*.bin``, ``*.safetensors``, ``*.pt``, ``*.model``, ...
"""

import hashlib
import http.server
import json
import os
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LARGE = (".bin", ".safetensors", ".pt", ".model", ".h5", ".msgpack", ".arpa", ".onnx")
_PAGE = 1000
_LICENCE = re.compile(r"^license:\s*(\S+)\s*$", re.MULTILINE)


def environment(endpoint: str, cache: Path, **more: str) -> dict[str, str]:
    """The environment of a process whose hub is the double: `huggingface_hub` reads it when it is imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "WAV2VEC2_"))}
    own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return {**kept, **own, "NO_PROXY": "127.0.0.1,localhost", **more}


@dataclass
class Repository:
    """A model on the hub. token: without which it does not exist, if private, or cannot be read, if gated."""

    revisions: dict[str, Path]
    private: bool = False
    gated: bool = False
    token: str = ""


@dataclass
class Faults:
    """What goes wrong. The connection of a file's first downloads ends after so many bytes; a byte of it is changed.

    Of a stalled file so many bytes are sent, and the rest never comes.
    """

    cuts: dict[str, list[int]] = field(default_factory=dict)
    stalled: dict[str, int] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    down: bool = False


class HubDouble:
    """The server. asked: what it was asked for, in order, such as "GET /owner/name/resolve/..."."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.faults = Faults()
        self.asked: list[str] = []
        self.ranges: list[str] = []
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.large_files = f"http://localhost:{self.port}"  # another host, as the hub's own

    def __enter__(self) -> "HubDouble":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, folder: Path, *, revision: str = "main", **settings: Any) -> None:
        """Serve a folder as a repository, or as another revision of one."""
        self.repositories.setdefault(name, Repository({}, **settings)).revisions[revision] = folder


def files_of(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def commit_of(folder: Path) -> str:
    content = hashlib.sha1(usedforsecurity=False)
    for name in files_of(folder):
        content.update(name.encode() + (folder / name).read_bytes())
    return content.hexdigest()


def _git_hash(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def _is_large(name: str) -> bool:
    return name.endswith(_LARGE)


def described(folder: Path, name: str) -> dict[str, Any]:
    """What the API says of a file: its size and hash and, of a large one, those of its content."""
    body = (folder / name).read_bytes()
    if not _is_large(name):
        return {"size": len(body), "blobId": _git_hash(body)}
    sha256 = hashlib.sha256(body).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(body)}\n".encode()
    lfs = {"sha256": sha256, "size": len(body), "pointerSize": len(pointer)}
    return {"size": len(body), "blobId": _git_hash(pointer), "lfs": lfs}


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: HubDouble
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urllib.parse.unquote(self.path.partition("?")[0])
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.faults.down:
            return self._answer(b"{}", 503)
        if path.startswith("/large/"):
            return self._large(*path.removeprefix("/large/").split("/", 3))
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        name, rest = "/".join(parts[2:4] if api else parts[:2]), parts[4:] if api else parts[2:]
        repository = self.hub.repositories.get(name)
        allowed = repository is not None and self._token() == repository.token
        if repository is None or (repository.private and not allowed):
            status = 404 if self._token() else 401
            return self._answer(b"{}", status, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        revision = rest[1] if len(rest) > 1 else "main"
        folder = self._folder(repository, revision)
        if folder is None:
            return self._answer(b"{}", 404, X_Error_Code="RevisionNotFound", X_Error_Message="Revision not found")
        if api:
            body, more = self._listing(name, folder, repository, tree=rest[:1] == ["tree"])
            return self._answer(body, **more)
        if repository.gated and not allowed:
            status = 403 if self._token() else 401
            return self._answer(b"{}", status, X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
        return self._resolve(name, folder, "/".join(rest[2:]))

    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _folder(self, repository: Repository, revision: str) -> Path | None:
        by_commit = {commit_of(folder): folder for folder in repository.revisions.values()}
        return repository.revisions.get(revision) or by_commit.get(revision)

    def _listing(self, name: str, folder: Path, repository: Repository, *, tree: bool) -> tuple[bytes, dict[str, str]]:
        files = files_of(folder)
        query = urllib.parse.parse_qs(self.path.partition("?")[2])
        if tree:
            start = int(query.get("cursor", ["0"])[0])
            entries = []
            for file in files[start : start + _PAGE]:
                about = described(folder, file)
                entry = {"type": "file", "path": file, "oid": about["blobId"], "size": about["size"]}
                lfs = about.get("lfs")
                entries.append(entry | ({"lfs": {**lfs, "oid": lfs["sha256"]}} if lfs else {}))
            following = f"{self.hub.endpoint}{self.path.partition('?')[0]}?recursive=True&cursor={start + _PAGE}"
            more = {"Link": f'<{following}>; rel="next"'} if start + _PAGE < len(files) else {}
            return json.dumps(entries).encode(), more
        with_sizes = query.get("blobs", ["False"])[0].lower() == "true"
        siblings = [{"rfilename": file, **(described(folder, file) if with_sizes else {})} for file in files]
        card = (folder / "README.md").read_text(encoding="utf-8") if (folder / "README.md").exists() else ""
        licence = _LICENCE.search(card)
        about = {"_id": name, "id": name, "modelId": name, "sha": commit_of(folder), "siblings": siblings}
        about |= {"private": repository.private, "gated": "manual" if repository.gated else False, "tags": []}
        if licence:
            about |= {"cardData": {"license": licence[1]}, "tags": [f"license:{licence[1]}"]}
        return json.dumps(about).encode(), {}

    def _resolve(self, name: str, folder: Path, file: str) -> None:
        commit = commit_of(folder)
        if file not in files_of(folder):
            return self._answer(b"", 404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        body = (folder / file).read_bytes()
        if not _is_large(file):
            return self._file(file, body, ETag=f'"{_git_hash(body)}"', X_Repo_Commit=commit)
        about = described(folder, file)
        headers = {"X_Linked_Etag": f'"{about["lfs"]["sha256"]}"', "X_Linked_Size": str(len(body))}
        place = f"{self.hub.large_files}/large/{name}/{commit}/{file}"
        return self._answer(b"", 302, X_Repo_Commit=commit, ETag=f'"{about["blobId"]}"', Location=place, **headers)

    def _large(self, owner: str, name: str, commit: str, file: str) -> None:
        if "Authorization" in self.headers:
            return self._answer(b"<Error><Code>InvalidArgument</Code></Error>", 400)
        folder = self._folder(self.hub.repositories[f"{owner}/{name}"], commit)
        assert folder is not None
        body = (folder / file).read_bytes()
        return self._file(file, body, ETag=f'"{hashlib.sha256(body).hexdigest()}"')

    def _file(self, file: str, body: bytes, **headers: str) -> None:
        """Send a file or a range of it, with its faults."""
        if file in self.hub.faults.damaged:
            body = body[:-1] + bytes([body[-1] ^ 1])
        status, whole = 200, len(body)
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            self.hub.ranges.append(f"{file} {asked[0]}")
            start, end = int(asked[1]), int(asked[2] or whole - 1)
            if start >= whole:
                return self._answer(b"", 416, Content_Range=f"bytes */{whole}")
            status, body = 206, body[start : end + 1]
            headers["Content_Range"] = f"bytes {start}-{start + len(body) - 1}/{whole}"
        cuts = self.hub.faults.cuts.get(file)
        cut = cuts.pop(0) if cuts and self.command == "GET" else None
        stalled = self.hub.faults.stalled.get(file)
        self._answer(body, status, Accept_Ranges="bytes", cut=cut if stalled is None else stalled, **headers)
        if stalled is not None and self.command == "GET":
            self.wfile.flush()
            self.hub.closing.wait()

    def _answer(self, body: bytes, status: int = 200, *, cut: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        if cut is not None:
            self.close_connection = True
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
