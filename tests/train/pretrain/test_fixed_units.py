"""Units from clusters: which layer they are of, and the centroids that a run keeps in its folder."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.model.conftest import make_model
from tests.small_models import GROUP, noise
from tests.train.tiny_run import TINY, open_corpus

from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Masking, Regularization
from wav2vec2.model.variants.pretraining import pretraining_model
from wav2vec2.model.variants.variant import Variant
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.pretrain.fixed_units import CENTROIDS, KMeansUnits, UnitsConfig, layer_output, unit_source

MFCC = UnitsConfig(kind="mfcc", clusters=6, fit_frames=100)
ALONE = Ranks(0, 1, torch.device("cpu"))


def test_a_layer_is_the_one_asked_for_or_the_middle_one() -> None:
    model = make_model(replace(GROUP, layers=4))
    waveforms, lengths = noise(9000, 4000, dtype=torch.float64)
    for asked, layer in ((-1, 2), (0, 0), (1, 1), (4, 4)):
        found, frames = layer_output(model, waveforms, lengths, asked)
        expected, same = model.encode(waveforms, lengths, layer=layer)
        assert torch.equal(found, expected), asked
        assert torch.equal(frames, same)


def test_centroids_are_kept_for_the_same_settings_and_fitted_anew_for_others(tmp_path: Path) -> None:
    model = pretraining_model(TINY.build(Variant(targets="fixed")), Regularization(), Masking())
    manifest, output = open_corpus(tmp_path / "corpus"), tmp_path / "deep" / "run"

    def centroids(config: UnitsConfig, seed: int = 1) -> torch.Tensor:
        source = unit_source(config, model, manifest, output, seed, ALONE)
        assert isinstance(source, KMeansUnits)
        return source.centroids

    first = centroids(MFCC)
    assert first.shape == (6, 39)
    # another seed would draw other speech: what is kept is read again
    assert torch.equal(centroids(MFCC, seed=2), first)
    assert len(centroids(replace(MFCC, clusters=5))) == 5
    assert [path.name for path in output.iterdir()] == [CENTROIDS]
    with pytest.raises(UserError, match=r"units\.clusters: .* points for 900 clusters; lower it"):
        centroids(replace(MFCC, clusters=900))
    assert len(centroids(MFCC, seed=2)) == 6


def test_units_are_given_to_fixed_targets_alone_and_need_a_source(tmp_path: Path) -> None:
    manifest = open_corpus(tmp_path / "corpus")
    learned = pretraining_model(TINY.build(), Regularization(), Masking())
    assert unit_source(MFCC, learned, manifest, tmp_path, 1, ALONE) is None
    fixed = pretraining_model(TINY.build(Variant(targets="fixed")), Regularization(), Masking())
    with pytest.raises(UserError, match=r"units\.source is not set"):
        unit_source(UnitsConfig(), fixed, manifest, tmp_path, 1, ALONE)
