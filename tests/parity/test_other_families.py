"""HuBERT, UniSpeech and data2vec-audio, with transformers as oracle: read, written back, refused by name.

The fields of configurations are those of the published models, as their papers and transformers' defaults give them:
hubert-base-ls960 has BASE's sizes, a group norm and post-LN; hubert-large-ll60k those of LARGE, layer norms and pre-LN;
data2vec-audio-base-960h those of BASE, layer norms in the extractor, post-LN, and five convolutions of 19 frames;
unispeech-large is as hubert-large. Sizes are small here.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.parity.closeness import assert_close
from tests.parity.transformers_models import SHAPE, SYMBOLS
from tests.small_models import GROUP, noise, recognizer

import wav2vec2
from wav2vec2.checkpoints.info import rows
from wav2vec2.checkpoints.load import describe
from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train.finetune.config import FinetuneConfig
from wav2vec2.train.finetune.start import build_model

transformers = pytest.importorskip("transformers")

_BASE = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
_LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
_DATA2VEC = {"num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19, "conv_bias": False}
PUBLISHED = {
    "facebook/hubert-base-ls960": ("Hubert", _BASE),
    "facebook/hubert-large-ll60k": ("Hubert", _LARGE),
    "facebook/data2vec-audio-base-960h": ("Data2VecAudio", _DATA2VEC),
    "microsoft/unispeech-large-1500h-cv": ("UniSpeech", _LARGE),
    "microsoft/unispeech-sat-base": ("UniSpeechSat", _BASE),
}


def build(name: str, end: str = "ForCTC") -> "transformers.PreTrainedModel":
    """A random model of the family of a published one, in which no bias or gain sits at its trivial start."""
    family, fields = PUBLISHED[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**{**SHAPE, **fields})
    model = getattr(transformers, f"{family}{end}")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def write(model: "transformers.PreTrainedModel", folder: Path, *, normalize: bool = True) -> None:
    """A directory as published: the model, its tokenizer and the settings of its input."""
    model.save_pretrained(folder)
    Vocabulary(SYMBOLS).save(folder)
    extractor = {"do_normalize": normalize, "feature_extractor_type": "Wav2Vec2FeatureExtractor"}
    (folder / "preprocessor_config.json").write_text(json.dumps({**extractor, "sampling_rate": 16000}))


def their_logits(folder: Path, waveforms: torch.Tensor) -> torch.Tensor:
    theirs, loaded = transformers.AutoModelForCTC.from_pretrained(folder, output_loading_info=True)
    assert not loaded["missing_keys"]
    assert not loaded["unexpected_keys"]
    with torch.no_grad():
        return theirs.eval()(waveforms).logits


@pytest.mark.parametrize("name", PUBLISHED)
def test_recognisers_agree_and_are_written_back(name: str, tmp_path: Path) -> None:
    theirs = build(name)
    write(theirs, tmp_path / "theirs")
    model = wav2vec2.load(tmp_path / "theirs")
    assert isinstance(model, Wav2Vec2ForCTC)
    assert model.vocabulary == Vocabulary(SYMBOLS)
    assert model.architecture.normalize_input
    waveforms, lengths = noise(6000, 6000)
    with torch.no_grad():
        logits = theirs(waveforms).logits
        assert_close(model(waveforms, lengths)[0], logits, 1e-5, name)
        # theirs hears the padding in a group norm, and between stacked convolutions
        if model.architecture.conv_norm == "layer" and model.architecture.pos_conv_depth == 1:
            waveforms, lengths = noise(6000, 4100)
            mask = (torch.arange(waveforms.shape[1]) < lengths[:, None]).long()
            ours, frames = model(waveforms, lengths)
            padded = theirs(waveforms, attention_mask=mask).logits
            assert_close(ours[1, : frames[1]], padded[1, : frames[1]], 1e-5, name)
    wav2vec2.save(model, tmp_path / "ours")
    assert json.loads((tmp_path / "ours/config.json").read_text())["model_type"] == theirs.config.model_type
    assert torch.equal(their_logits(tmp_path / "ours", noise(6000, 6000)[0]), logits)
    again = wav2vec2.load(tmp_path / "ours")
    assert again.architecture == model.architecture


@pytest.mark.parametrize("name", PUBLISHED)
def test_encoders_agree_and_are_written_back(name: str, tmp_path: Path) -> None:
    theirs = build(name, "Model")
    theirs.save_pretrained(tmp_path / "theirs")
    model = wav2vec2.load(tmp_path / "theirs")
    assert isinstance(model, Wav2Vec2Encoder)
    waveforms, lengths = noise(6000, 6000)
    with torch.no_grad():
        expected = theirs(waveforms).last_hidden_state
        assert_close(model.encode(waveforms, lengths)[0], expected, 1e-5, name)
    wav2vec2.save(model, tmp_path / "ours")
    again, loaded = transformers.AutoModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert type(again) is type(theirs)
    assert not loaded["missing_keys"]
    with torch.no_grad():
        assert torch.equal(again.eval()(waveforms).last_hidden_state, expected)


@pytest.mark.parametrize("name", ["microsoft/unispeech-large-1500h-cv", "microsoft/unispeech-sat-base"])
def test_of_another_pre_training_the_encoder_is_read(name: str, tmp_path: Path) -> None:
    theirs = build(name, "ForPreTraining")
    theirs.save_pretrained(tmp_path)
    model = wav2vec2.load(tmp_path)
    assert isinstance(model, Wav2Vec2Encoder)
    assert rows(describe(tmp_path))["head"].startswith("a pre-training head of another kind (UniSpeech")
    waveforms, lengths = noise(6000)
    inner = getattr(theirs, theirs.base_model_prefix)
    with torch.no_grad():
        assert_close(model.encode(waveforms, lengths)[0], inner(waveforms).last_hidden_state, 1e-5, name)


def test_continued_pre_training_gives_a_model_of_wav2vec2(tmp_path: Path) -> None:
    """The network is the same, and HuBERT has no quantizer."""
    torch.manual_seed(0)
    model = Wav2Vec2ForPretraining(replace(GROUP, family="hubert"))
    wav2vec2.save(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["Wav2Vec2ForPreTraining"]
    transformers.Wav2Vec2ForPreTraining.from_pretrained(tmp_path)


def test_info_names_the_family(tmp_path: Path) -> None:
    wav2vec2.save(recognizer(replace(GROUP, family="hubert"), Vocabulary(SYMBOLS)), tmp_path)
    assert rows(describe(tmp_path))["family"] == "hubert: group-norm extractor, post-LN, raw input"


@pytest.mark.parametrize(
    ("model_type", "words"),
    [
        ("wavlm", "is WavLM, whose attention has gated relative positions: its network is not computed here; use "),
        ("wav2vec2-bert", "use facebook/wav2vec2-xls-r-300m or facebook/mms-300m"),
        ("wav2vec2-conformer", "is wav2vec 2.0 with Conformer blocks"),
        ("sew", "is SEW, which squeezes its frames"),
        ("whisper", "use facebook/wav2vec2-base-960h"),
        ("bert", "model_type is 'bert'; only wav2vec2, data2vec-audio, hubert, unispeech, unispeech-sat can be loaded"),
        (None, "model_type is None; only wav2vec2"),
    ],
)
def test_other_networks_are_refused_by_name(model_type: str | None, words: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(UserError) as caught:
        wav2vec2.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/config.json: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model_type": "hubert", "conv_pos_batch_norm": True}, "conv_pos_batch_norm = True is not supported"),
        ({"model_type": "hubert", "feat_proj_layer_norm": False}, "feat_proj_layer_norm = False is not supported"),
        ({"model_type": "data2vec-audio", "num_conv_pos_embeddings": 1}, "1 positional convolutions of 19 frames"),
        ({"model_type": "data2vec-audio", "conv_pos_kernel_size": "19"}, "5 positional convolutions of '19' frames"),
    ],
)
def test_settings_that_the_network_lacks(fields: dict[str, object], words: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match=words):
        wav2vec2.load(tmp_path)


def test_a_recogniser_stays_of_its_family_when_fine_tuned(tmp_path: Path) -> None:
    """Fine-tuning builds a recogniser for the architecture that it reads."""
    torch.manual_seed(0)
    wav2vec2.save(Wav2Vec2Encoder(replace(GROUP, family="hubert")), tmp_path / "encoder")
    config = FinetuneConfig(init=str(tmp_path / "encoder"))
    model, _ = build_model(config, Vocabulary(SYMBOLS))
    wav2vec2.save(model, tmp_path / "tuned")
    theirs, loaded = transformers.HubertForCTC.from_pretrained(tmp_path / "tuned", output_loading_info=True)
    assert not loaded["missing_keys"]
    assert theirs.config.model_type == "hubert"
