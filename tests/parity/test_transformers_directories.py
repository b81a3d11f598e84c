"""transformers as oracle: its directories, processors and adapters are read here, and ours by transformers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.parity.closeness import FLOAT32, FLOAT64, assert_close
from tests.parity.transformers_models import (
    FAMILIES,
    SHAPE,
    SYMBOLS,
    build,
    compare,
    tiny,
)
from tests.small_models import noise

import wav2vec2
from wav2vec2.audio.normalize import normalize_waveform
from wav2vec2.checkpoints.load import describe
from wav2vec2.checkpoints.names import huggingface_name
from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("family", ["group", "layer"])
def test_their_processor_reads_our_directory(family: str, tmp_path: Path) -> None:
    vocabulary = Vocabulary(SYMBOLS)
    wav2vec2.save(Wav2Vec2ForCTC(tiny(family), vocabulary), tmp_path)
    processor = transformers.AutoProcessor.from_pretrained(tmp_path)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert extractor.do_normalize == (family == "layer")
    assert extractor.return_attention_mask == (family == "layer")
    assert processor.tokenizer("HELLO WORLD").input_ids == vocabulary.encode("HELLO WORLD")
    values = np.random.default_rng(0).normal(3, 2, 5000).astype(np.float32)
    inputs = extractor(values, sampling_rate=16_000, return_tensors="pt").input_values
    assert abs(inputs.mean().item()) < (1e-3 if family == "layer" else 10)


def test_unknown_keys_of_ours_survive_in_theirs(tmp_path: Path) -> None:
    wav2vec2.save(Wav2Vec2ForPretraining(tiny("group")), tmp_path)
    theirs = transformers.Wav2Vec2ForPreTraining.from_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config["gumbel_temperature"] == [2.0, 0.5, 0.999995]
    assert wav2vec2.load(tmp_path / "again").architecture == tiny("group")


LANGUAGES = {
    "eng": {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "a": 5, "b": 6},
    "spa": {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "ñ": 5, "o": 6, "u": 7, "x": 8},
}


def multilingual(directory: Path) -> "transformers.PreTrainedModel":
    """A directory as MMS is published: one encoder, an adapter with head and symbols for each language."""
    theirs = build("ctc", "layer", adapter_attn_dim=6, vocab_size=7)
    theirs.save_pretrained(directory)
    (directory / "vocab.json").write_text(json.dumps(LANGUAGES))
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Wav2Vec2CTCTokenizer", "target_lang": "eng"})
    )
    for language, table in LANGUAGES.items():
        torch.manual_seed(len(table))
        adapter = {
            name: torch.randn(len(table), *value.shape[1:]) if "lm_head" in name else torch.randn_like(value)
            for name, value in theirs._get_adapters().items()
        }
        save_file(adapter, directory / f"adapter.{language}.safetensors")
    return theirs


def test_adapters_and_their_languages(tmp_path: Path) -> None:
    theirs = multilingual(tmp_path)
    compare(theirs, wav2vec2.load(tmp_path), FLOAT32, padded=True)
    assert wav2vec2.load(tmp_path).vocabulary.symbols == tuple(LANGUAGES["eng"])
    for language, table in LANGUAGES.items():
        theirs = transformers.Wav2Vec2ForCTC.from_pretrained(
            tmp_path, target_lang=language, ignore_mismatched_sizes=True
        ).eval()
        ours = wav2vec2.load(tmp_path, language=language)
        assert ours.vocabulary.symbols == tuple(table)
        assert describe(tmp_path, language=language).vocabulary_size == len(table)
        compare(theirs.double(), ours.double(), FLOAT64, padded=True)
    with pytest.raises(UserError, match=r"has no language 'fra'\. It has 2 languages.*such as eng, spa"):
        wav2vec2.load(tmp_path, language="fra")


def test_transformers_loads_our_adapters(tmp_path: Path) -> None:
    multilingual(tmp_path / "theirs")
    ours = wav2vec2.load(tmp_path / "theirs", language="spa")
    wav2vec2.save(ours, tmp_path / "ours")
    theirs, report = transformers.AutoModelForCTC.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    compare(theirs.eval(), ours, FLOAT32, padded=True)


def test_headless_models_both_ways(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**{**SHAPE, **FAMILIES["layer"]})).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = wav2vec2.load(tmp_path / "theirs")
    assert isinstance(ours, Wav2Vec2Encoder)
    wav2vec2.save(ours, tmp_path / "ours")
    again, report = transformers.AutoModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    waveforms = noise(6000, 6000)[0]
    with torch.no_grad():
        expected = theirs(waveforms).last_hidden_state
        assert_close(ours.encode(waveforms)[0], expected, FLOAT32, "ours")
        assert_close(again.eval()(waveforms).last_hidden_state, expected, FLOAT32, "and back")


def test_their_shards_and_half_precision(tmp_path: Path) -> None:
    theirs = build("pretraining", "layer").half()
    theirs.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 2
    assert not (tmp_path / "model.safetensors").exists()
    ours = wav2vec2.load(tmp_path, dtype=torch.float16)
    expected = theirs.state_dict()
    assert all(torch.equal(value, expected[huggingface_name(key)]) for key, value in ours.state_dict().items())
    assert next(wav2vec2.load(tmp_path).parameters()).dtype == torch.float32


def test_the_same_normalised_audio(tmp_path: Path) -> None:
    ours = Wav2Vec2ForCTC(tiny("layer"), 5)
    wav2vec2.save(ours, tmp_path)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    for scale in (2.0, 0.006, 0.0003):  # the last two, speech at -44 and -70 dBFS, show the epsilon
        values = np.random.default_rng(0).normal(0, scale, 5000).astype(np.float32)
        theirs = extractor(values, sampling_rate=16_000, return_tensors="np").input_values[0]
        assert np.abs(normalize_waveform(values, ours.architecture.input_epsilon) - theirs).max() < 1e-5


def test_an_encoder_that_transformers_lacks_is_refused_by_it(tmp_path: Path) -> None:
    ours = Wav2Vec2ForCTC(replace(tiny("layer"), pos_conv_depth=3, pos_conv_kernel=15), 5).eval()
    wav2vec2.save(ours, tmp_path)
    with pytest.raises(ValueError, match="wav2vec2-variant"):
        transformers.AutoModelForCTC.from_pretrained(tmp_path)
    again = wav2vec2.load(tmp_path)
    assert again.architecture == ours.architecture
    assert torch.equal(again(noise(4000)[0])[0], ours(noise(4000)[0])[0])
