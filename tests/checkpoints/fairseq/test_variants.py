"""Variants of pre-training that fairseq's settings name, and settings that leave the encoder alone.

Names of settings and tensors are those of fairseq's Wav2Vec2Config, Wav2Vec2Model and GumbelVectorQuantizer (its
repository, fairseq/models/wav2vec/wav2vec2.py and fairseq/modules/gumbel_vector_quantizer.py).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoints.fairseq.test_files import LAYER, TINY, settings
from tests.model.variants.variants import VARIANTS
from tests.small_models import noise, perturbed
from torch import Tensor
from torch.nn import functional as F

import wav2vec2
from wav2vec2.checkpoints.convert import write
from wav2vec2.checkpoints.load import describe
from wav2vec2.checkpoints.names import fairseq_name
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture, Masking
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.variants.pretraining import pretraining_model
from wav2vec2.model.variants.variant import Variant

EXPRESSIBLE = {
    "target_glu": Variant(target_glu=True),
    "deep quantizer": Variant(quantizer_depth=3),
    "continuous targets": Variant(targets="continuous", target_glu=True),
    "other negatives": Variant(negatives_from="anywhere", batch_negatives=5, codebook_negatives=3),
}
THEIRS: dict[str, dict[str, Any]] = {
    "target_glu": {"target_glu": True},
    "deep quantizer": {"quantizer_depth": 3, "quantizer_factor": 3},
    "continuous targets": {"quantize_targets": False, "target_glu": True},
    "other negatives": {"negatives_from_everywhere": True, "cross_sample_negatives": 5, "codebook_negatives": 3},
}


def made(a: Architecture, variant: Variant) -> Wav2Vec2ForPretraining:
    torch.manual_seed(0)
    return perturbed(pretraining_model(replace(a, variant=variant)), 0.1)


def their_file(path: Path, model: Wav2Vec2ForPretraining, changes: dict[str, Any]) -> dict[str, Tensor]:
    a = model.architecture
    tensors = {
        fairseq_name(
            name,
            ctc=False,
            layer_norm_extractor=a.conv_norm == "layer",
            quantizer_depth=a.variant.quantizer_depth,
        ): tensor
        for name, tensor in model.state_dict().items()
    }
    cfg = {"model": settings(a) | changes, "task": {"normalize": a.normalize_input}}
    torch.save({"args": None, "cfg": cfg, "model": tensors}, path)
    return tensors


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("a", [TINY, LAYER])
def test_variants_of_the_pretraining_head_load(name: str, a: Architecture, tmp_path: Path) -> None:
    model = made(a, EXPRESSIBLE[name])
    their_file(tmp_path / "m.pt", model, THEIRS[name])
    again = wav2vec2.load(tmp_path / "m.pt")
    assert type(again) is type(model)
    assert again.architecture == model.architecture
    assert all(torch.equal(again.state_dict()[key], value) for key, value in model.state_dict().items())
    assert torch.equal(again.encode(noise(6000)[0])[0], model.encode(noise(6000)[0])[0])


def test_the_unit_is_a_linear_layer_and_a_gate_after_the_projection(tmp_path: Path) -> None:
    """fairseq: target_glu = Sequential(Linear(final, 2 final), GLU()), applied to what project_q gives."""
    tensors = their_file(tmp_path / "m.pt", made(TINY, Variant(target_glu=True)), {"target_glu": True})
    assert tensors["target_glu.0.weight"].shape == (2 * TINY.final_size, TINY.final_size)
    codes = torch.tensor([[3, 7], [0, 9]])
    offsets = torch.tensor([0, TINY.codebook_entries])
    entries = tensors["quantizer.vars"][0][codes + offsets].flatten(1)
    projected = F.linear(entries, tensors["project_q.weight"], tensors["project_q.bias"])
    expected = F.glu(F.linear(projected, tensors["target_glu.0.weight"], tensors["target_glu.0.bias"]), dim=-1)
    model = wav2vec2.load(tmp_path / "m.pt")
    assert isinstance(model, Wav2Vec2ForPretraining)
    torch.testing.assert_close(model.quantizer.embed(codes), expected)


def test_names_in_a_deep_quantizer(tmp_path: Path) -> None:
    """fairseq: Sequential(Sequential(Linear, GELU), ..., Linear)."""
    tensors = their_file(tmp_path / "m.pt", made(TINY, Variant(quantizer_depth=3)), {"quantizer_depth": 3})
    names = {name.rpartition(".")[0] for name in tensors if name.startswith("quantizer.weight_proj")}
    assert names == {f"quantizer.weight_proj.{place}" for place in ("0.0", "1.0", "2")}


# what fairseq's newer files hold besides, at values unlike its defaults: none is used in a forward pass for evaluation
HARMLESS: dict[str, Any] = {
    "require_same_masks": False,
    "mask_dropout": 0.2,
    "mask_channel_selection": "poisson",
    "mask_channel_other": 0.5,
    "no_mask_channel_overlap": True,
    "mask_channel_before": True,
    "mask_channel_min_space": 2,
    "max_positions": 3000,
    "checkpoint_activations": True,
    "offload_activations": True,
    "min_params_to_wrap": 1000,
    "required_seq_len_multiple": 8,
    "depthwise_conv_kernel_size": 15,
    "attn_type": "espnet",
    "pos_enc_type": "rel_pos",
    "fp16": True,
    "ddp_backend": "no_c10d",
    "quantizer_factor": 5,
    "same_quantizer": True,
    "a_setting_of_a_later_version": {"nested": [1]},
}


def test_settings_that_leave_the_outputs_alone_load(tmp_path: Path) -> None:
    model = made(TINY, Variant())
    their_file(tmp_path / "m.pt", model, HARMLESS)
    again = wav2vec2.load(tmp_path / "m.pt")
    assert again.architecture == model.architecture
    assert torch.equal(again.encode(noise(6000)[0])[0], model.encode(noise(6000)[0])[0])


def test_spans_of_masks_are_read(tmp_path: Path) -> None:
    spans = {"mask_selection": "normal", "mask_other": 4.0, "no_mask_overlap": True, "mask_min_space": 3}
    model = made(TINY, Variant())
    their_file(tmp_path / "m.pt", model, spans)
    expected = Masking(0.065, 10, 2, 0.0, 10, span_lengths="normal", span_spread=4.0, overlap=False, min_space=3)
    assert describe(tmp_path / "m.pt").masking == expected
    # numpy draws from a normal distribution without width: always the mean
    their_file(tmp_path / "m.pt", model, {"mask_selection": "normal", "mask_other": 0})
    assert describe(tmp_path / "m.pt").masking == Masking(0.065, 10, 2, 0.0, 10)


@pytest.mark.parametrize("name", EXPRESSIBLE)
def test_what_is_read_is_written_again(name: str, tmp_path: Path) -> None:
    model = made(LAYER, EXPRESSIBLE[name])
    model.masking = Masking(0.05, 8, 2, span_lengths="uniform", span_spread=3.0, min_space=2)
    write(model, tmp_path / "m.pt", "fairseq")
    again = wav2vec2.load(tmp_path / "m.pt")
    assert (again.architecture, again.masking) == (model.architecture, model.masking)
    assert all(torch.equal(again.state_dict()[key], value) for key, value in model.state_dict().items())


NO_FAIRSEQ = ("inputs", "input_quantizer", "target_mlp", "separate_encoder", "gumbel_noise", "target_gradient",
              "edge_frames")  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_written_or_refused(name: str, tmp_path: Path) -> None:
    variant = VARIANTS[name]
    if variant.targets == "fixed" or any(field in NO_FAIRSEQ for field in variant.differences()):
        with pytest.raises(UserError, match="fairseq does not have this variant of the model"):
            write(made(TINY, variant), tmp_path / "out", "fairseq")
        assert not (tmp_path / "out").exists()
    else:
        write(made(TINY, variant), tmp_path / "out", "fairseq")
        assert wav2vec2.load(tmp_path / "out").architecture.variant == variant


def test_a_fine_tuned_file_keeps_nothing_of_the_head(tmp_path: Path) -> None:
    """remove_pretraining_modules drops quantizer, project_q, target_glu and final_proj; the settings stay."""
    torch.manual_seed(0)
    a = TINY
    encoder = perturbed(Wav2Vec2ForCTC(a, 6), 0.1)
    tensors = {fairseq_name(name, ctc=True, layer_norm_extractor=False): t for name, t in encoder.state_dict().items()}
    inner = {"model": settings(a) | {"target_glu": True, "quantizer_depth": 2, "quantizer_factor": 2}, "task": {}}
    cfg = {"model": {"w2v_args": inner}, "task": {"labels": "ltr"}}
    torch.save({"args": None, "cfg": cfg, "model": tensors}, tmp_path / "m.pt")
    assert wav2vec2.load(tmp_path / "m.pt").architecture == a
