"""A new task on the encoder of an earlier model: what is kept, what is drawn, and that it trains."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.train.tiny_run import pretrain_config, with_train

from wav2vec2.checkpoints.load import load
from wav2vec2.errors import UserError
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.variants.variant import Variant
from wav2vec2.train.pretrain.command import PretrainConfig, build_model, run
from wav2vec2.train.pretrain.fixed_units import UnitsConfig


def recipe(corpus: Path, output: Path, **changes: object) -> PretrainConfig:
    return replace(with_train(pretrain_config(corpus, output), updates=2), **changes)


@pytest.fixture(scope="module")
def cepstral(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned to find units of cepstra."""
    output = tmp_path_factory.mktemp("cepstral") / "run"
    units = UnitsConfig(kind="mfcc", clusters=9, iterations=3)
    return run(recipe(corpus, output, variant=Variant(targets="fixed"), units=units))


def kept_and_drawn(new: Wav2Vec2ForPretraining, source: Path) -> tuple[set[str], set[str]]:
    """Tensors of the encoder that are those of the source, and those that are not."""
    old = load(source).encoder.state_dict()
    state = new.encoder.state_dict()
    same = {name for name in state if name in old and torch.equal(old[name], state[name])}
    return same, set(state) - same


def test_learned_units_on_the_encoder_of_fixed_ones(corpus: Path, cepstral: Path, tmp_path: Path) -> None:
    config = recipe(corpus, tmp_path / "run", init=str(cepstral), init_quantizer="redraw")
    model, (line,) = build_model(config)
    assert line.endswith("(quantizer drawn anew)")
    assert model.architecture.variant == Variant()
    assert model.codebooks == (2, config.model.codebook_entries)
    assert kept_and_drawn(model, cepstral)[1] == set()
    trained = load(run(config))
    assert isinstance(trained, Wav2Vec2ForPretraining)
    assert trained.quantizes_targets


@pytest.mark.parametrize("targets", ["quantized", "continuous"])
def test_quantized_inputs_get_a_new_projection(corpus: Path, cepstral: Path, tmp_path: Path, targets: str) -> None:
    variant = Variant(inputs="quantized", targets=targets)  # type: ignore[arg-type]
    config = recipe(corpus, tmp_path / "run", init=str(cepstral), init_quantizer="redraw", variant=variant)
    model, (line,) = build_model(config)
    assert line.endswith("(quantizer and feature projection drawn anew)")
    kept, drawn = kept_and_drawn(model, cepstral)
    assert {name.split(".")[0] for name in drawn} == {"input_quantizer", "feature_projection"}
    assert {"feature_encoder", "feature_norm", "context", "mask_embedding"} == {name.split(".")[0] for name in kept}
    quantized = run(config)
    again, (line,) = build_model(replace(config, init=str(quantized)))
    assert line.endswith("(quantizer drawn anew)")
    assert kept_and_drawn(again, quantized)[1] == set()
    wider = replace(config.model, codebook_entries=2 * config.model.codebook_entries)
    again, (line,) = build_model(replace(config, init=str(quantized), model=wider))
    assert line.endswith("(quantizer and feature projection drawn anew)")
    assert again.encoder.input_quantizer is not None
    assert again.encoder.input_quantizer.entries == wider.codebook_entries


def test_codebooks_shared_with_the_inputs_stay(corpus: Path, cepstral: Path, tmp_path: Path) -> None:
    variant = Variant(inputs="quantized", input_quantizer="shared")
    config = recipe(corpus, tmp_path / "run", init=str(cepstral), init_quantizer="redraw", variant=variant)
    shared = run(config)
    again, (line,) = build_model(replace(config, init=str(shared)))
    assert line.endswith("(codebooks, which the inputs share, kept; projections drawn anew)")
    assert kept_and_drawn(again, shared)[1] == set()


def test_other_units_on_the_same_encoder(corpus: Path, cepstral: Path, tmp_path: Path) -> None:
    units = UnitsConfig(source=str(cepstral), kind="kmeans", clusters=7, iterations=3)
    config = recipe(
        corpus,
        tmp_path / "run",
        init=str(cepstral),
        init_quantizer="redraw",
        variant=Variant(targets="fixed"),
        units=units,
    )
    model, (line,) = build_model(config)
    assert f"units: 7 k-means clusters of {cepstral}" in line
    assert model.codebooks == (1, 7)
    assert run(config).exists()


def test_another_task_needs_new_targets(corpus: Path, cepstral: Path, tmp_path: Path) -> None:
    config = recipe(corpus, tmp_path / "run", init=str(cepstral), variant=Variant(targets="continuous"))
    with pytest.raises(UserError, match="init_quantizer = redraw"):
        build_model(config)
    wrong = replace(config, init_quantizer="redraw", model=replace(config.model, codevector_size=7))
    with pytest.raises(UserError, match=r"codevector_size must be a multiple"):
        build_model(wrong)
