"""Variants of the pre-training model in model directories, in transformers and in other formats."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from tests.checkpoints.made_up_models import REGULARIZATION, STANDARD
from tests.model.variants.variants import VARIANTS
from tests.small_models import GROUP, noise, perturbed

import wav2vec2
from wav2vec2.checkpoints.convert import write
from wav2vec2.checkpoints.info import rows
from wav2vec2.checkpoints.load import describe
from wav2vec2.errors import UserError
from wav2vec2.inference.units import quantized_units
from wav2vec2.model.architecture import Masking
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.variants.pretraining import pretraining_model

SPANS = Masking(0.037, 15, 2, span_lengths="normal", span_spread=10.0, overlap=False, min_space=2)
QUANTIZED = [name for name, variant in VARIANTS.items() if variant.inputs == "quantized"]


def make(name: str) -> Wav2Vec2ForPretraining:
    torch.manual_seed(0)
    return perturbed(pretraining_model(replace(GROUP, variant=VARIANTS[name]), REGULARIZATION, SPANS), 0.1)


@pytest.mark.parametrize("name", VARIANTS)
def test_round_trip(name: str, tmp_path: Path) -> None:
    model = make(name)
    wav2vec2.save(model, tmp_path)
    again = wav2vec2.load(tmp_path)
    assert type(again) is type(model)
    assert (again.architecture, again.masking) == (model.architecture, SPANS)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True))
    assert torch.equal(again.encode(noise(6000, 6000)[0])[0], model.encode(noise(6000, 6000)[0])[0])
    shown = rows(describe(tmp_path))["variant"]
    assert all(f"{field} = {value}" in shown for field, value in VARIANTS[name].differences().items())


@pytest.mark.parametrize("name", VARIANTS)
def test_transformers_loads_the_encoder_of_head_variants_and_refuses_others(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = make(name)
    wav2vec2.save(model, tmp_path)
    if name in QUANTIZED:
        assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "wav2vec2-variant"
        with pytest.raises((ValueError, KeyError)):
            transformers.AutoModel.from_pretrained(tmp_path)
        return
    theirs, loaded = transformers.Wav2Vec2Model.from_pretrained(tmp_path, output_loading_info=True)
    assert not loaded["missing_keys"]
    assert not loaded["mismatched_keys"]
    with torch.no_grad():
        hidden = theirs.eval()(noise(6000, 6000)[0]).last_hidden_state
    torch.testing.assert_close(hidden, model.encode(noise(6000, 6000)[0])[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["continuous targets", "quantized inputs, shared quantizer"])
def test_a_recogniser_or_bare_encoder_keeps_the_variant_of_its_encoder(name: str, tmp_path: Path) -> None:
    model = make(name)
    wav2vec2.save(model, tmp_path / "pretrained")
    loaded = wav2vec2.load(tmp_path / "pretrained")
    recogniser = Wav2Vec2ForCTC(loaded.architecture, 7, REGULARIZATION, SPANS)
    bare = Wav2Vec2Encoder(loaded.architecture, REGULARIZATION, SPANS)
    for kind, other in (("ctc", recogniser), ("encoder", bare)):
        other.encoder.load_state_dict(loaded.encoder.state_dict())
        wav2vec2.save(other, tmp_path / kind)
        again = wav2vec2.load(tmp_path / kind)
        assert type(again) is type(other)
        assert torch.equal(again.encode(noise(6000, 6000)[0])[0], model.encode(noise(6000, 6000)[0])[0])


@pytest.mark.parametrize("tool", ["fairseq", "fairseq2", "torchaudio"])
def test_variants_that_other_tools_lack_are_refused(tool: str, tmp_path: Path) -> None:
    name = "continuous targets, separate encoders" if tool == "fairseq" else "continuous targets"
    lacking = r"separate_encoder = True\)" if tool == "fairseq" else r"targets = continuous\)"
    with pytest.raises(UserError, match=rf"this variant of the model \({lacking}"):
        write(make(name), tmp_path, tool)
    quantized = Wav2Vec2ForCTC(replace(GROUP, variant=VARIANTS[QUANTIZED[0]]), STANDARD)
    with pytest.raises(UserError, match=r"variant of the model \(inputs = quantized\)"):
        write(quantized, tmp_path, tool)
    # of a head variant nothing is left after fine-tuning
    recogniser = Wav2Vec2ForCTC(replace(GROUP, variant=VARIANTS["continuous targets"]), STANDARD)
    assert write(recogniser, tmp_path, tool)


def test_units_come_from_learned_codebooks_only(tmp_path: Path) -> None:
    model = make("quantized inputs, shared quantizer")
    codes, lengths = quantized_units(model, noise(6000, 6000)[0])
    features = model.encoder.features(noise(6000, 6000)[0], torch.tensor([6000, 6000]), None)
    assert torch.equal(codes, features.input_choice.codes)
    assert lengths.tolist() == [18, 18]
    from wav2vec2.inference.units import UnitsOptions, run

    recording = tmp_path / "a.wav"
    soundfile.write(recording, noise(6000, 6000)[0][0].numpy(), 16_000)
    wav2vec2.save(make("continuous targets"), tmp_path)
    with pytest.raises(UserError, match="has no learned codebook"):
        run(UnitsOptions(str(tmp_path), (str(recording),)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("variant", {"targets": "none"}),
        ("variant", {"target": "continuous"}),
        ("variant", {"quantizer_depth": "3"}),
        ("variant", {"quantizer_depth": 10**9}),
        ("variant", {"target_mlp": True}),
        ("variant", []),
        ("mask_time_variant", {"span_lengths": "gamma"}),
        ("mask_time_variant", {"span_lengths": "normal"}),
    ],
)
def test_an_impossible_variant_is_one_line(field: str, value: object, tmp_path: Path) -> None:
    wav2vec2.save(make("edges"), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    if value == []:
        assert wav2vec2.load(tmp_path).architecture == GROUP
        return
    with pytest.raises(UserError, match=r"config\.json: .*(variant|mask|impossible)") as caught:
        wav2vec2.load(tmp_path)
    assert "\n" not in str(caught.value)
