"""Pre-training that continues an earlier model, ours or one of transformers, or puts a new task on its encoder."""

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

transformers = pytest.importorskip("transformers")


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


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layer norm in the feature encoder, pre-LN blocks, normalised input, biases; random weights."""
    torch.manual_seed(3)
    directory = tmp_path_factory.mktemp("xls-r-like")
    model = transformers.Wav2Vec2ForPreTraining(
        transformers.Wav2Vec2Config(
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            conv_bias=True,
            conv_dim=[8] * 7,
            hidden_size=16,
            num_hidden_layers=2,
            intermediate_size=32,
            num_attention_heads=2,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
            num_codevectors_per_group=8,
            codevector_dim=8,
            proj_codevector_dim=8,
            num_negatives=5,
        )
    )
    model.save_pretrained(directory)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(directory)
    return directory


@pytest.mark.parametrize("quantizer", ["keep", "redraw"])
def test_an_xls_r_like_directory_is_continued(corpus: Path, theirs: Path, tmp_path: Path, quantizer: str) -> None:
    config = recipe(corpus, tmp_path / "run", init=str(theirs), init_quantizer=quantizer)
    model, (line,) = build_model(config)
    assert line.endswith(f"continues {theirs} (quantizer {'kept' if quantizer == 'keep' else 'drawn anew'})")
    a = model.architecture
    assert (a.conv_norm, a.layer_norm_first, a.normalize_input, a.conv_bias) == ("layer", True, True, True)
    old = load(theirs)
    assert isinstance(old, Wav2Vec2ForPretraining)
    new = model.state_dict()
    same = {name for name, value in old.state_dict().items() if torch.equal(value, new[name])}
    drawn = {name for name in new if name.startswith(("quantizer.", "context_projection."))}
    assert len(drawn) >= 5
    changed = set(new) - same
    assert changed <= drawn
    if quantizer == "keep":
        assert not changed
    else:  # a new bias may be the same constant
        assert {"quantizer.codevectors", "context_projection.weight"} <= changed
    continued = load(run(config))
    assert continued.architecture.normalize_input
    trained = {name for name, value in continued.state_dict().items() if not torch.equal(value, new[name])}
    assert len(trained) > len(new) // 2


def test_what_continued_loads_in_transformers_again(corpus: Path, theirs: Path, tmp_path: Path) -> None:
    directory = run(recipe(corpus, tmp_path / "run", init=str(theirs)))
    again = transformers.Wav2Vec2ForPreTraining.from_pretrained(directory)
    waveforms = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = again.eval().wav2vec2(waveforms).last_hidden_state
        ours = load(directory).eval().encode(waveforms)[0]
    torch.testing.assert_close(ours, hidden, rtol=1e-4, atol=1e-5)
    assert transformers.Wav2Vec2FeatureExtractor.from_pretrained(directory).do_normalize
