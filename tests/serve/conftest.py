"""A server with a random model that writes short words, as a process of its own."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openai
import pytest
import soundfile
from scripts.served import told_address
from tests.bursts import burst, talkative

import wav2vec2


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * 16_000), np.float32)


@dataclass
class Served:
    """A running server."""

    process: "subprocess.Popen[str]"
    address: str
    model: Path

    @property
    def client(self) -> openai.OpenAI:
        """The official client, which does not try again by itself."""
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key="any", max_retries=0, timeout=120)

    def children(self, name: str) -> list[int]:
        """The processes of a kind, compute_worker or decoder_process, oldest first."""
        listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        below = {int(n) for n in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()}
        found = [int(line.split()[0]) for line in listed.splitlines() if f"serve.{name}" in line]
        return [number for number in found if number in below]


@contextmanager
def serving(model: Path, *options: str) -> Iterator[Served]:
    """Run ``wav2vec2 serve`` until the block ends."""
    command = [sys.executable, "-m", "wav2vec2", "serve", "--model", str(model), "--port", "0"]
    alone = ("--processes", "1", "--threads", "1")  # beside other tests
    with subprocess.Popen([*command, *alone, *options], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield Served(process, told_address(process.stderr), model)
        finally:
            process.kill()


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether something comes to hold in time."""
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.1)
    return holds()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "tiny"
    wav2vec2.save(talkative("layer"), folder)
    return folder


@pytest.fixture(scope="session")
def server(model_folder: Path) -> Iterator[Served]:
    with serving(model_folder, "--model-name", "tiny", "whisper-1", "--max-seconds", "120") as served:
        yield served


@pytest.fixture
def wav(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recording of bursts with pauses between them."""

    def write(*seconds: float, name: str = "talk.wav", seed: int = 1) -> Path:
        parts = [part for n, s in enumerate(seconds) for part in (burst(s, seed + n), silence(0.6))]
        soundfile.write(tmp_path / name, np.concatenate(parts), 16_000, subtype="PCM_16")
        return tmp_path / name

    return write
