from dataclasses import replace
from pathlib import Path

import pytest
from tests.train.tiny_run import pretrain_config, with_train, write_corpus

from wav2vec2.model.architecture import Regularization
from wav2vec2.train.pretrain import command as pretrain


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a small untranscribed corpus."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def labelled_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a small transcribed corpus."""
    return write_corpus(tmp_path_factory.mktemp("labelled"), texts=True)


@pytest.fixture
def tiny_pretraining(corpus: Path, tmp_path: Path) -> pretrain.PretrainConfig:
    config = with_train(pretrain_config(corpus, tmp_path / "run"), updates=25, warmup_share=0.08)
    regularization = Regularization(layerdrop=0.5, tau_decay=0.9)
    log = replace(config.log, every=1, validate_every=10, save_every=0)
    return replace(config, seed=7, regularization=regularization, log=log)
