"""The description of the interface, tried by schemathesis: no request makes the server fail."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.serve.conftest import Served


def test_all_routes_are_described(server: Served):
    described = json.load(urllib.request.urlopen(f"{server.address}/openapi.json"))["paths"]
    assert {"/v1/audio/transcriptions", "/v1/audio/alignments", "/v1/audio/captions", "/v1/models", "/metrics"} <= set(
        described
    )
    form = described["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["required"] == ["file"]
    assert urllib.request.urlopen(f"{server.address}/docs").status == 200


@pytest.mark.slow
def test_no_request_of_schemathesis_makes_it_fail(server: Served, tmp_path: Path):
    program = Path(sys.executable).parent / "schemathesis"
    command = [program, "run", f"{server.address}/openapi.json", "--checks", "not_a_server_error"]
    limits = ["--max-examples", "15", "--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color"]
    done = subprocess.run([*command, *limits], capture_output=True, text=True, cwd=tmp_path, timeout=540)
    assert done.returncode == 0, done.stdout[-3000:]
    assert server.process.poll() is None
