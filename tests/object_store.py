"""Real servers to read speech from: moto's S3 (real HTTP, spoken to by s3fs) and a file server that fails on demand."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def forget_connections() -> None:
    """File systems are kept by their address, not by the server that answers there."""
    import s3fs

    from wav2vec2.data import remote

    s3fs.S3FileSystem.clear_instance_cache()
    remote._of_host.cache_clear()


@contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's S3 and yield its address."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class FlakyServer:
    """Serves `files` by path, with ranges. Answers of `script` come first: status, "reset", "cut", "whole", "hang"."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.script: list[int | str] = []
        self.asked: list[tuple[str, str]] = []
        """(path, range) of every GET."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._answer(self)

            def do_HEAD(self) -> None:
                content = outer.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range", "")
        self.asked.append((request.path, asked))
        what = self.script.pop(0) if self.script else "good"
        request.close_connection = True
        if what == "hang":
            time.sleep(1.5)
            return
        if what == "reset":
            request.connection.close()
            return
        content = self.files.get(request.path.partition("?")[0])
        if isinstance(what, int) or content is None:
            status = what if isinstance(what, int) else 404
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if asked and what != "whole":
            first, last = asked.removeprefix("bytes=").split("-")
            piece = content[int(first) : int(last) + 1]
            request.send_response(206 if piece else 416)
        else:
            piece = content
            request.send_response(200)
        request.send_header("Content-Length", str(len(piece)))
        request.end_headers()
        request.wfile.write(piece[: len(piece) // 2] if what == "cut" else piece)
