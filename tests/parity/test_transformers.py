"""transformers as oracle: random weights of both families through its files into our models, and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import FLOAT32, FLOAT32_DEEP, FLOAT64, assert_close
from torch import Tensor

import wav2vec2
from wav2vec2.model.architecture import ARCHITECTURES, Architecture
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
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


def test_base_size(tmp_path: Path) -> None:
    theirs = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(num_hidden_layers=12)).eval()
    theirs.save_pretrained(tmp_path)
    ours = wav2vec2.load(tmp_path)
    assert ours.architecture == ARCHITECTURES["base"]
    waveforms = audio(8000)[0]
    with torch.no_grad():
        assert_close(ours(waveforms)[0], theirs(waveforms).logits, FLOAT32, "logits")
