"""transformers as oracle: random weights of both families through its files into our models, and back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.parity.closeness import FLOAT32, FLOAT32_DEEP, FLOAT64, assert_close
from tests.parity.transformers_models import (
    FAMILIES,
    SYMBOLS,
    build,
    compare,
    hidden_states,
    their_hidden_states,
    tiny,
)
from tests.small_models import noise

import wav2vec2
from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.model.ctc import Wav2Vec2ForCTC, ctc_loss
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.quantizer import diversity_loss
from wav2vec2.text.vocabulary import Vocabulary

transformers = pytest.importorskip("transformers")


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
    waveforms = noise(9000, 9000)[0].double()
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


@pytest.mark.parametrize("family", ["group", "layer"])
def test_our_ctc_model_in_theirs(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = Wav2Vec2ForCTC(tiny(family), Vocabulary(SYMBOLS)).eval()
    wav2vec2.save(ours, tmp_path)
    theirs, report = transformers.AutoModelForCTC.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    compare(theirs.eval(), ours, FLOAT32, padded=family == "layer")
    bare = transformers.Wav2Vec2Model.from_pretrained(tmp_path).eval()
    waveforms = noise(6000)[0]
    with torch.no_grad():
        assert_close(ours.encode(waveforms)[0], bare(waveforms).last_hidden_state, FLOAT32, "bare encoder")


def test_our_pretraining_model_in_theirs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = Wav2Vec2ForPretraining(tiny("layer")).eval()
    wav2vec2.save(ours, tmp_path)
    theirs, report = transformers.Wav2Vec2ForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
    waveforms = noise(6000)[0]
    with torch.no_grad():
        expected = theirs.eval()(waveforms).projected_states
        assert_close(ours.context_projection(ours.encode(waveforms)[0]), expected, FLOAT32, "projected states")


@pytest.mark.parametrize("family", ["group", "layer"])
def test_losses(family: str, tmp_path: Path) -> None:
    """CTC summed over labels, and diversity by the formula of their training mode on the same logits."""
    theirs = build("ctc", family, ctc_loss_reduction="sum", pad_token_id=0)
    theirs.save_pretrained(tmp_path / "ctc")
    ours = wav2vec2.load(tmp_path / "ctc")
    waveforms, lengths = noise(6000, 6000)
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
    waveforms = noise(4000)[0]
    with torch.no_grad():
        expected = theirs.wav2vec2(waveforms).last_hidden_state
        assert_close(again.encode(waveforms)[0], expected, FLOAT32, "context")


def test_base_size(tmp_path: Path) -> None:
    theirs = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(num_hidden_layers=12)).eval()
    theirs.save_pretrained(tmp_path)
    ours = wav2vec2.load(tmp_path)
    assert ours.architecture == ARCHITECTURES["base"]
    waveforms = noise(8000)[0]
    with torch.no_grad():
        assert_close(ours(waveforms)[0], theirs(waveforms).logits, FLOAT32, "logits")
