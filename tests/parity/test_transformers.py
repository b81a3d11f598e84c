"""transformers as oracle: random weights of both families through its files into our models, and back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import FLOAT32, FLOAT32_DEEP, FLOAT64, assert_close
from safetensors.torch import save_file
from torch import Tensor

import wav2vec2
from wav2vec2.audio import normalize_waveform
from wav2vec2.checkpoints.load import describe
from wav2vec2.checkpoints.names import huggingface_name
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES, Architecture
from wav2vec2.model.ctc import Wav2Vec2ForCTC, ctc_loss
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.quantizer import diversity_loss
from wav2vec2.text.vocabulary import Vocabulary

transformers = pytest.importorskip("transformers")

SHAPE = {
    "conv_dim": [32] * 7,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "num_codevectors_per_group": 12,
    "codevector_dim": 16,
    "proj_codevector_dim": 16,
    "num_negatives": 10,
    "vocab_size": 32,
}
FAMILIES = {
    "group": {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False},
    "layer": {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
    "group with bias, pre-LN": {"feat_extract_norm": "group", "do_stable_layer_norm": True, "conv_bias": True},
}
SYMBOLS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")


def build(kind: str, family: str, **changes: object) -> "transformers.PreTrainedModel":
    """A random model of theirs in which no bias or gain sits at its trivial start."""
    torch.manual_seed(0)
    classes = {"pretraining": transformers.Wav2Vec2ForPreTraining, "ctc": transformers.Wav2Vec2ForCTC}
    model = classes[kind](transformers.Wav2Vec2Config(**{**SHAPE, **FAMILIES[family], **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def audio(*samples: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    waveforms = torch.zeros(len(samples), max(samples))
    for row, count in enumerate(samples):
        waveforms[row, :count] = torch.randn(count, generator=generator)
    return waveforms, torch.tensor(samples)


def hidden_states(model: Wav2Vec2ForPretraining | Wav2Vec2ForCTC, *batch: Tensor) -> list[Tensor]:
    """The input of the first block, the output of each but the last, and the context vectors after the final norm."""
    layers = [model.encode(*batch, layer=layer)[0] for layer in range(model.architecture.layers)]
    return [*layers, model.encode(*batch)[0]]


def their_hidden_states(model: "transformers.PreTrainedModel", *batch: Tensor | None) -> list[Tensor]:
    """The same; transformers' versions differ in whether their last hidden state is before or after the final norm."""
    output = model.wav2vec2(*batch, output_hidden_states=True)
    return [*output.hidden_states[:-1], output.last_hidden_state]


def compare(theirs: "transformers.PreTrainedModel", ours: Wav2Vec2ForCTC, tolerance: float, padded: bool) -> None:
    waveforms, lengths = audio(6000, 4100) if padded else audio(6000, 6000)
    waveforms = waveforms.to(next(theirs.parameters()).dtype)
    attention = (torch.arange(waveforms.shape[1]) < lengths[:, None]).long() if padded else None
    with torch.no_grad():
        their_logits = theirs(waveforms, attention_mask=attention).logits
        their_hidden = their_hidden_states(theirs, waveforms, attention)
        hidden = hidden_states(ours, waveforms, lengths)
        logits, frame_lengths = ours(waveforms, lengths)
    assert len(hidden) == len(their_hidden)
    for row, frames in enumerate(frame_lengths.tolist()):
        for layer, (mine, other) in enumerate(zip(hidden, their_hidden, strict=True)):
            assert_close(mine[row, :frames], other[row, :frames], tolerance, f"row {row} hidden state {layer}")
        assert_close(logits[row, :frames], their_logits[row, :frames], tolerance, f"row {row} logits")


CASES = [(family, padded) for family in FAMILIES for padded in (False, True) if not padded or family == "layer"]


@pytest.mark.parametrize(("family", "padded"), CASES)
@pytest.mark.parametrize("packed", [False, True])
def test_their_ctc_model_in_ours(family: str, padded: bool, packed: bool, tmp_path: Path) -> None:
    theirs = build("ctc", family)
    theirs.save_pretrained(tmp_path)
    ours = wav2vec2.load(tmp_path)
    ours.encoder.packed = packed
    compare(theirs, ours, FLOAT32, padded)
    compare(theirs.double(), ours.double(), FLOAT64, padded)


def test_24_layers(tmp_path: Path) -> None:
    theirs = build("ctc", "layer", num_hidden_layers=24)
    theirs.save_pretrained(tmp_path)
    compare(theirs, wav2vec2.load(tmp_path), FLOAT32_DEEP, padded=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_their_pretraining_model_in_ours(family: str, tmp_path: Path) -> None:
    theirs = build("pretraining", family)
    theirs.save_pretrained(tmp_path)
    ours, theirs = wav2vec2.load(tmp_path).double(), theirs.double()
    assert isinstance(ours, Wav2Vec2ForPretraining)
    waveforms = audio(9000, 9000)[0].double()
    masks = torch.zeros(2, ours.architecture.frame_length(9000), dtype=torch.bool)
    masks[0, 4:14], masks[1, 9:19] = True, True
    ranks = torch.arange(10)[:, None]
    negatives = ((ranks + torch.arange(1, 11)) % 9).expand(2, 10, 10)
    negatives = negatives + (negatives >= ranks)
    places = torch.zeros(2, masks.shape[1], 10, dtype=torch.long)
    for row, first in enumerate((4, 9)):
        places[row, masks[row]] = negatives[row] + first + row * masks.shape[1]
    with torch.no_grad():
        expected = theirs(waveforms, mask_time_indices=masks, sampled_negative_indices=places)
        output = ours(waveforms, masks=masks, negatives=negatives)
        hidden = hidden_states(ours, waveforms)
        unmasked = their_hidden_states(theirs, waveforms)
    for layer, (mine, other) in enumerate(zip(hidden, unmasked, strict=True)):
        assert_close(mine, other, FLOAT64, f"hidden state {layer}")
    assert output.masked == 20
    # transformers takes its logits to float32 here, whatever the model is
    assert_close(output.contrastive_sum, expected.contrastive_loss, FLOAT32, "contrastive loss")


def tiny(family: str) -> Architecture:
    sizes = ARCHITECTURES["large_lv60k" if family == "layer" else "base"]
    return Architecture(
        **{
            **vars(sizes),
            "name": "custom",
            "conv_channels": (16, 24, 24, 32, 32, 32, 32),
            "hidden_size": 48,
            "layers": 2,
            "ffn_size": 96,
            "heads": 4,
            "codevector_size": 16,
            "final_size": 16,
        }
    )


@pytest.mark.parametrize("family", ["group", "layer"])
def test_our_ctc_model_in_theirs(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = Wav2Vec2ForCTC(tiny(family), len(SYMBOLS)).eval()
    wav2vec2.save(ours, tmp_path, Vocabulary(SYMBOLS))
    theirs, report = transformers.AutoModelForCTC.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    compare(theirs.eval(), ours, FLOAT32, padded=family == "layer")
    bare = transformers.Wav2Vec2Model.from_pretrained(tmp_path).eval()
    waveforms = audio(6000)[0]
    with torch.no_grad():
        assert_close(ours.encode(waveforms)[0], bare(waveforms).last_hidden_state, FLOAT32, "bare encoder")


def test_our_pretraining_model_in_theirs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = Wav2Vec2ForPretraining(tiny("layer")).eval()
    wav2vec2.save(ours, tmp_path)
    theirs, report = transformers.Wav2Vec2ForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
    waveforms = audio(6000)[0]
    with torch.no_grad():
        expected = theirs.eval()(waveforms).projected_states
        assert_close(ours.context_projection(ours.encode(waveforms)[0]), expected, FLOAT32, "projected states")


@pytest.mark.parametrize("family", ["group", "layer"])
def test_their_processor_reads_our_directory(family: str, tmp_path: Path) -> None:
    ours = Wav2Vec2ForCTC(tiny(family), len(SYMBOLS))
    vocabulary = Vocabulary(SYMBOLS)
    wav2vec2.save(ours, tmp_path, vocabulary)
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
    assert wav2vec2.load(tmp_path).vocabulary == tuple(LANGUAGES["eng"])
    for language, table in LANGUAGES.items():
        theirs = transformers.Wav2Vec2ForCTC.from_pretrained(
            tmp_path, target_lang=language, ignore_mismatched_sizes=True
        ).eval()
        ours = wav2vec2.load(tmp_path, language=language)
        assert ours.vocabulary == tuple(table)
        assert describe(tmp_path, language=language).vocabulary_size == len(table)
        compare(theirs.double(), ours.double(), FLOAT64, padded=True)
    with pytest.raises(UserError, match=r"no file adapter\.fra\.safetensors; it has 2, such as eng, spa"):
        wav2vec2.load(tmp_path, language="fra")


def test_our_adapters_in_theirs(tmp_path: Path) -> None:
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
    waveforms = audio(6000, 6000)[0]
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


@pytest.mark.parametrize("family", ["group", "layer"])
def test_losses(family: str, tmp_path: Path) -> None:
    """CTC summed over labels, and diversity by the formula of their training mode on the same logits."""
    theirs = build("ctc", family, ctc_loss_reduction="sum", pad_token_id=0)
    theirs.save_pretrained(tmp_path / "ctc")
    ours = wav2vec2.load(tmp_path / "ctc")
    waveforms, lengths = audio(6000, 6000)
    labels = torch.tensor([[5, 6, 7, 7], [9, 8, -100, -100]])
    with torch.no_grad():
        expected = theirs(waveforms, labels=labels).loss
        logits, frames = ours(waveforms, lengths)
        loss = ctc_loss(logits, frames, labels.clamp_min(0), torch.tensor([4, 2]), ours.blank).sum()
    assert_close(loss, expected, FLOAT32, "CTC loss")
    theirs = build("pretraining", family)
    theirs.save_pretrained(tmp_path / "pretraining")
    ours = wav2vec2.load(tmp_path / "pretraining")
    masks = torch.zeros(2, ours.architecture.frame_length(6000), dtype=torch.bool)
    masks[:, 3:11] = True
    with torch.no_grad():
        output = ours(waveforms, masks=masks)
        features = theirs.wav2vec2(waveforms).extract_features
        logits = theirs.quantizer.weight_proj(features).view(2 * masks.shape[1], 2, -1)
        perplexity = theirs.quantizer._compute_perplexity(logits.softmax(-1), masks)
    total = theirs.config.num_codevectors_per_group * theirs.config.num_codevector_groups
    ours_diversity = diversity_loss(output.probability_sum / output.masked)
    assert_close(ours_diversity, (total - perplexity) / total, FLOAT32, "diversity")


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        ("base", "ctc"),
        ("base", "pretraining"),
        ("large", "pretraining"),
        ("large_lv60k", "ctc"),
        ("large_lv60k", "pretraining"),
    ],
)
def test_real_widths_both_ways(size: str, kind: str, tmp_path: Path) -> None:
    """Published shapes with one layer; the whole depth of BASE has a test of its own."""
    a = replace(ARCHITECTURES[size], layers=1, name="custom")
    torch.manual_seed(0)
    ours = (Wav2Vec2ForCTC(a, 32) if kind == "ctc" else Wav2Vec2ForPretraining(a)).eval()
    wav2vec2.save(ours, tmp_path / "ours")
    classes = {"ctc": transformers.Wav2Vec2ForCTC, "pretraining": transformers.Wav2Vec2ForPreTraining}
    theirs, report = classes[kind].from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    theirs.eval().save_pretrained(tmp_path / "theirs")
    again = wav2vec2.load(tmp_path / "theirs")
    assert again.architecture == a
    assert all(torch.equal(x, y) for x, y in zip(again.parameters(), ours.parameters(), strict=True))
    waveforms = audio(4000)[0]
    with torch.no_grad():
        expected = theirs.wav2vec2(waveforms).last_hidden_state
        assert_close(again.encode(waveforms)[0], expected, FLOAT32, "context")


def test_the_same_normalised_audio(tmp_path: Path) -> None:
    wav2vec2.save(Wav2Vec2ForCTC(tiny("layer"), 5), tmp_path)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    values = np.random.default_rng(0).normal(3, 2, 5000).astype(np.float32)
    theirs = extractor(values, sampling_rate=16_000, return_tensors="np").input_values[0]
    # theirs has 1e-7 under the root, ours the 1e-5 of the layer norm that models were trained with
    assert np.abs(normalize_waveform(values) - theirs).max() < 1e-5


def test_an_encoder_that_theirs_lacks_is_not_taken_for_theirs(tmp_path: Path) -> None:
    ours = Wav2Vec2ForCTC(replace(tiny("layer"), pos_conv_depth=3, pos_conv_kernel=15), 5).eval()
    wav2vec2.save(ours, tmp_path)
    with pytest.raises(ValueError, match="wav2vec2-variant"):
        transformers.AutoModelForCTC.from_pretrained(tmp_path)
    again = wav2vec2.load(tmp_path)
    assert again.architecture == ours.architecture
    assert torch.equal(again(audio(4000)[0])[0], ours(audio(4000)[0])[0])


def test_base_size(tmp_path: Path) -> None:
    theirs = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(num_hidden_layers=12)).eval()
    theirs.save_pretrained(tmp_path)
    ours = wav2vec2.load(tmp_path)
    assert ours.architecture == ARCHITECTURES["base"]
    waveforms = audio(8000)[0]
    with torch.no_grad():
        assert_close(ours(waveforms)[0], theirs(waveforms).logits, FLOAT32, "logits")
