"""Bodies that are half sent, too slow, too large, or no form; none of them keeps memory."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serve.conftest import Served

from wav2vec2.serve.failures import ApiError
from wav2vec2.serve.limits import Keys, Rate
from wav2vec2.serve.uploads import Budget, Upload, UploadLimits, read_upload

KIND = "multipart/form-data; boundary=X"


def form(content: bytes, name: str = "file", more: bytes = b"") -> bytes:
    head = f'--X\r\nContent-Disposition: form-data; name="{name}"; filename="a.wav"\r\n\r\n'.encode()
    return more + head + content + b"\r\n--X--\r\n"


def read(body: bytes, *, block: int = 7, kind: str = KIND, most: int = 1000, budget: Budget | None = None) -> Upload:
    async def blocks() -> AsyncIterator[bytes]:
        for begin in range(0, len(body), block):
            yield body[begin : begin + block]

    limits = UploadLimits(most, 1)
    return asyncio.run(read_upload(kind, str(len(body)), blocks(), limits, budget or Budget(10_000)))


def content(upload: Upload) -> bytes:
    assert upload.descriptor is not None
    with open(f"/proc/self/fd/{upload.descriptor}", "rb") as file:
        return file.read()


@settings(max_examples=60)
@given(st.binary(max_size=300), st.integers(1, 50), st.text(max_size=30))
def test_a_form_is_read_whole_however_it_is_cut(data: bytes, block: int, text: str):
    plain = (
        b'--X\r\nContent-Disposition: form-data; name="hotwords[]"\r\n\r\n' + text.encode("utf-8", "replace") + b"\r\n"
    )
    if b"--X" in data or "--X" in text:
        return
    budget = Budget(10_000)
    upload = read(form(data, more=plain), block=block, budget=budget)
    assert content(upload) == data
    assert upload.name == "a.wav"
    assert upload.values("hotwords") == [text.encode("utf-8", "replace").decode()]
    assert budget.used == len(data)
    upload.close()
    assert budget.used == 0


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (form(b"x" * 2000), KIND, 413),
        (form(b"abc")[:-9], KIND, 400),
        (form(b"abc"), "application/json", 400),
        (form(b"abc"), "multipart/form-data", 400),
        (b"nothing of the kind", KIND, 400),
        (form(b"abc")[:-6] + b"\r\n" + form(b"def"), KIND, 400),
        (b"--X\r\n" * 300, KIND, 400),
        (b"--X\r\nA: " + b"b" * 20_000 + b"\r\n\r\n\r\n--X--\r\n", KIND, 400),
    ],
)
def test_other_bodies_are_refused_and_forgotten(body: bytes, kind: str, status: int):
    budget = Budget(10_000)
    with pytest.raises(ApiError) as caught:
        read(body, block=64, kind=kind, budget=budget)
    assert caught.value.status == status
    assert budget.used == 0


def test_all_uploads_together_are_limited():
    budget = Budget(150)
    first = read(form(b"x" * 100), budget=budget)
    with pytest.raises(ApiError) as caught:
        read(form(b"x" * 100), budget=budget)
    assert caught.value.status == 503
    assert caught.value.headers["retry-after"]
    first.close()
    read(form(b"x" * 100), budget=budget).close()


def test_a_client_that_vanishes_leaves_nothing(server: Served, wav: Callable[..., Path]):
    place = urlsplit(server.address)
    head = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: 900000\r\n\r\n"
    )
    for _ in range(20):
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(head.encode() + form(b"x" * 5000)[:4000])
    whole = form(wav(20.0).read_bytes())
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(head.replace("900000", str(len(whole))).encode() + whole)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        text = httpx2.get(f"{server.address}/metrics", timeout=120).text
        if "wav2vec2_active_requests 0.0" in text and "wav2vec2_waiting_pieces 0.0" in text:
            break
        time.sleep(0.2)
    assert "wav2vec2_active_requests 0.0" in text
    assert len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) < 60


def test_keys_and_rates():
    keys = Keys([b"secret", b"other"])
    keys.check("Bearer secret")
    for wrong in (None, "", "Bearer", "Bearer secre", "Basic secret", "Bearer \udcff"):
        with pytest.raises(ApiError) as caught:
            keys.check(wrong)
        assert caught.value.status == 401
    rate = Rate(2)
    rate.check("a")
    rate.check("a")
    rate.check("b")
    with pytest.raises(ApiError) as caught:
        rate.check("a")
    assert caught.value.status == 429
