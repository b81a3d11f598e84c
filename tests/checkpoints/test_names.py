"""The sizes of a model, found from the shapes of its tensors."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.small_models import GROUP, LAYER

from wav2vec2.audio.normalize import FAIRSEQ_EPSILON
from wav2vec2.checkpoints.sizes import sizes_from_shapes
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining

SIZES = {
    "group norm": GROUP,
    "layer norm": LAYER,
    "a channel in each group": replace(GROUP, pos_conv_groups=GROUP.hidden_size),
    "codewords of one number": replace(GROUP, codebook_groups=4, codevector_size=4),
    "one codebook": replace(GROUP, codebook_groups=1, codebook_entries=1, codevector_size=2, final_size=1),
    "a bias": replace(GROUP, conv_bias=True),
    "short positional convolutions": replace(LAYER, pos_conv_depth=3, pos_conv_kernel=15),
    "one layer": replace(GROUP, layers=1, ffn_size=1),
}


@pytest.mark.parametrize("name", SIZES)
def test_shapes_give_back_the_sizes(name: str) -> None:
    a = replace(SIZES[name], name="custom", input_epsilon=FAIRSEQ_EPSILON)
    with torch.device("meta"):
        tensors = Wav2Vec2ForPretraining(a).state_dict()
    # what no shape shows, and what no other tool stores
    described = {"heads": a.heads, "negatives": a.negatives, "logit_temperature": a.logit_temperature}
    found = sizes_from_shapes(
        tensors, lambda ours: ours, Path("m.pt"), layer_norm_first=a.layer_norm_first, described=described
    )
    assert found == a


def test_what_no_shape_shows_is_that_of_the_published_model() -> None:
    a = Architecture(name="custom", conv_channels=(8,) * 7, layers=1, ffn_size=8, codebook_entries=3)
    with torch.device("meta"):
        tensors = Wav2Vec2ForPretraining(a).state_dict()
        odd = Wav2Vec2ForPretraining(replace(a, hidden_size=32, heads=2)).state_dict()
    found = sizes_from_shapes(tensors, lambda ours: ours, Path("m.pt"), layer_norm_first=False, described={})
    assert (found.heads, found.conv_strides, found.negatives) == (12, (5, 2, 2, 2, 2, 2, 2), 100)
    with pytest.raises(UserError, match=r"m\.pt: no published model is 32 wide"):
        sizes_from_shapes(odd, lambda ours: ours, Path("m.pt"), layer_norm_first=False, described={})
