"""A server with a random model that writes short words, as a process of its own."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openai
import pytest
import soundfile
import torch
from tests.small_models import FAMILIES, recognizer

import wav2vec2
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_transcripts(["THE QUICK BROWN FOX JUMPS OVER A LAZY DOG"])


def burst(seconds: float, seed: int, level: float = 0.2) -> np.ndarray:
    """Something loud that changes, so that a random model hears many symbols."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    tone = np.sin(2 * np.pi * np.cumsum(200 + 1500 * np.abs(np.sin(5 * time + seed))) / 16_000)
    return (level * (tone + 0.3 * rng.standard_normal(len(time)))).astype(np.float32)


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
    command = [sys.executable, "-m", "wav2vec2", "serve", "--model", str(model), "--port", "0", "--threads", "1"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        try:
            place = re.search(r"at (https?://\S+)", line)
            assert place, line + process.stderr.read()
            yield Served(process, place[1], model)
        finally:
            process.kill()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = recognizer(FAMILIES["layer"], VOCABULARY)
    with torch.no_grad():  # in every fifth frame the best symbol is the separator
        logits = model(torch.from_numpy(burst(3.0, 0))[None])[0][0]
        lacking = logits.max(-1).values - logits[:, 4]
        model.head.bias[4] += lacking.quantile(0.2)
    folder = tmp_path_factory.mktemp("served") / "tiny"
    wav2vec2.save(model, folder)
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
