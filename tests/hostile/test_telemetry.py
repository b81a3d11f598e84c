"""Running an exported model writes nothing into the user's folders."""

import os
import subprocess
import sys
from pathlib import Path


def test_onnx_runtime_is_imported_without_its_telemetry(tmp_path: Path) -> None:
    code = "from wav2vec2.inference.exported import onnx_runtime; onnx_runtime()"
    folders = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "d")}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | folders
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []
