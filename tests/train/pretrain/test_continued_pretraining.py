"""Pre-training goes on from somebody else's model: a directory of transformers' with the shape of XLS-R, small."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.train.tiny_run import pretrain_config, with_train

from wav2vec2.checkpoints.load import load
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.train.pretrain.command import PretrainConfig, build_model, run

transformers = pytest.importorskip("transformers")


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


def recipe(corpus: Path, output: Path, init: Path, **changes: object) -> PretrainConfig:
    return replace(with_train(pretrain_config(corpus, output), updates=2), init=str(init), **changes)


@pytest.mark.parametrize("quantizer", ["keep", "redraw"])
def test_an_xls_r_like_directory_is_continued(corpus: Path, theirs: Path, tmp_path: Path, quantizer: str) -> None:
    config = recipe(corpus, tmp_path / "run", theirs, init_quantizer=quantizer)
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
    directory = run(recipe(corpus, tmp_path / "run", theirs))
    again = transformers.Wav2Vec2ForPreTraining.from_pretrained(directory)
    waveforms = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = again.eval().wav2vec2(waveforms).last_hidden_state
        ours = load(directory).eval().encode(waveforms)[0]
    torch.testing.assert_close(ours, hidden, rtol=1e-4, atol=1e-5)
    assert transformers.Wav2Vec2FeatureExtractor.from_pretrained(directory).do_normalize
