"""Fixtures that every test folder may use: where the shared speech, reference values and text lie."""

import os
from pathlib import Path

import hypothesis
import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """One thread a worker: several workers with a thread pool each would fight for the cores."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        torch.set_num_threads(1)
    # How fast a loaded machine draws examples says nothing about the code.
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("any machine", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("any machine")


def _shared(folder: str) -> Path:
    root = Path(os.environ.get("WAV2VEC2_SHARED") or REPOSITORY.parent / "shared")
    if not (root / folder).is_dir():
        pytest.skip(f"no folder '{folder}' under {root}: set WAV2VEC2_SHARED to the folder that holds it")
    return root / folder


@pytest.fixture(scope="session")
def speech_root() -> Path:
    """Real read speech in LibriSpeech's layout (train, dev, test-clean, test-other)."""
    return _shared("speech")


@pytest.fixture(scope="session")
def common_voice_root() -> Path:
    """A folder with a release of Common Voice, ``fr``."""
    return _shared("speech-fr")


@pytest.fixture(scope="session")
def reference_root() -> Path:
    """Inputs and outputs of the original implementation on tiny random models."""
    return _shared("reference")


@pytest.fixture(scope="session")
def text_root() -> Path:
    """Transcripts for language models."""
    return _shared("text")
