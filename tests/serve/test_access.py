"""HTTPS, keys and the pages of other origins, on one server; the certificate is OpenSSL's."""

import json
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx2
import openai
import pytest
from tests.serve.conftest import serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]


def test_https_with_keys_and_another_origin(model_folder: Path, tmp_path: Path, wav: Callable[..., Path]):
    cert, key, keys = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "keys"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *files], check=True, capture_output=True)
    keys.write_text("# of the page\nsecret\n")
    trusted = ssl.create_default_context(cafile=str(cert))
    options = ["--tls-cert", str(cert), "--tls-key", str(key), "--keys", str(keys), "--cors", "https://example.org"]
    with serving(model_folder, *options) as served:
        assert served.address.startswith("https://")
        with httpx2.Client(base_url=served.address, verify=trusted) as client:
            assert client.get("/health/live").status_code == 200
            refused = client.get("/v1/models")
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
            assert client.get("/v1/models", headers={"authorization": "Bearer secret"}).status_code == 200
            for origin, allowed in (("https://example.org", "https://example.org"), ("https://other.org", None)):
                asked = {"origin": origin, "access-control-request-method": "POST"}
                answer = client.options("/v1/audio/transcriptions", headers=asked)
                assert answer.headers.get("access-control-allow-origin") == allowed
        official = openai.OpenAI(
            base_url=f"{served.address}/v1", api_key="secret", http_client=openai.DefaultHttpxClient(verify=trusted)
        )
        assert official.audio.transcriptions.create(model="tiny", file=wav(2.0)).text
        live = f"{served.address.replace('https', 'wss')}/v1/realtime"
        with pytest.raises(InvalidStatus, match="401"):
            connect(live, ssl=trusted).close()
        protocols = ["realtime", "openai-insecure-api-key.secret"]
        with connect(live, ssl=trusted, subprotocols=protocols) as socket:  # type: ignore[arg-type]
            assert socket.subprotocol == "realtime"
            assert json.loads(socket.recv())["type"] == "session.created"
