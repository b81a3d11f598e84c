from pathlib import Path

import pytest
from tests.train.tiny_run import write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a small untranscribed corpus."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def labelled_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a small transcribed corpus."""
    return write_corpus(tmp_path_factory.mktemp("labelled"), texts=True)
