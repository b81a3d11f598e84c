"""Every intermediate value, loss and gradient of fairseq itself, on the shared tiny models (see their README)."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.model.gathered_logits import gathered_logits
from tests.parity.closeness import FLOAT32, assert_close
from torch import Tensor

import wav2vec2
from wav2vec2.checkpoints.convert import write
from wav2vec2.checkpoints.load import open_checkpoint
from wav2vec2.checkpoints.names import fairseq_name
from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.model import pretraining
from wav2vec2.model.architecture import Regularization
from wav2vec2.model.contrastive_loss import contrast
from wav2vec2.model.ctc import Wav2Vec2ForCTC, ctc_loss
from wav2vec2.model.pretraining import PretrainingOutput, Wav2Vec2ForPretraining
from wav2vec2.model.quantizer import diversity_loss, perplexity

COSINE_LOGITS = 1e-4
LOSSES = 1e-5


@dataclass
class Reference:
    """One of the files, the model that we read from it, and what fairseq computed with it."""

    name: str
    path: Path
    model: Wav2Vec2ForPretraining
    expected: dict[str, Tensor]
    gradient_norms: dict[str, float]

    def run(self) -> PretrainingOutput:
        """Forward over the equal-length pair with the given masks and negatives."""
        # fairseq scales the encoder's gradient in evaluation too; all dropouts stay off
        self.model.encoder.training = True
        mask, negatives = self.expected["mask"].bool(), self.expected["negative_indices"]
        return self.model(self.expected["waveform_equal"], masks=mask, negatives=negatives)

    def total(self, output: PretrainingOutput) -> Tensor:
        diversity = diversity_loss(output.probability_sum / output.masked)
        penalty = output.penalty_sum / output.penalty_count
        return output.contrastive_sum + output.masked * (0.1 * diversity + 10 * penalty)


@pytest.fixture(params=["base-tiny", "large-tiny"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["packed", "padded"])
def reference(request: pytest.FixtureRequest, name: str, reference_root: Path) -> Reference:
    path = reference_root / f"{name}.pt"
    model = wav2vec2.load(path)
    assert isinstance(model, Wav2Vec2ForPretraining)
    quiet = _without_dropout(model)
    for module in model.modules():
        if getattr(module, "regularization", None) is not None:
            module.regularization = quiet
    model.encoder.packed = request.param == "packed"
    norms = json.loads((reference_root / f"{name}.json").read_text())["grad_norm"]
    return Reference(name, path, model, load_file(reference_root / f"{name}.expected.safetensors"), norms)


def _without_dropout(model: Wav2Vec2ForPretraining) -> Regularization:
    return replace(
        model.regularization,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        input_dropout=0.0,
        feature_dropout=0.0,
        layerdrop=0.0,
    )


@torch.no_grad()
def test_feature_encoder(reference: Reference) -> None:
    waveforms = reference.expected["waveform_equal"]
    lengths = torch.full((2,), waveforms.shape[1])
    features = reference.model.encoder.features(waveforms, lengths, None)
    conv = features.layout.pad(features.raw).transpose(1, 2)
    assert_close(conv, reference.expected["equal.conv"], FLOAT32, "conv")
    normed = features.layout.pad(features.normed)
    assert_close(normed, reference.expected["equal.features_normed"], FLOAT32, "features_normed")


@torch.no_grad()
def test_every_layer_and_the_context(reference: Reference) -> None:
    waveforms = reference.expected["waveform_equal"]
    for layer in range(reference.model.architecture.layers):
        hidden, _ = reference.model.encode(waveforms, layer=layer + 1)
        assert_close(hidden, reference.expected[f"equal.layer{layer}"], FLOAT32, f"layer {layer}")
    assert_close(reference.model.encode(waveforms)[0], reference.expected["equal.context"], FLOAT32, "context")


@torch.no_grad()
def test_padded_pair(reference: Reference) -> None:
    """The layer-norm family as fairseq gives it; the group-norm family as each utterance alone gives it."""
    waveforms, lengths = reference.expected["waveform_padded"], reference.expected["lengths"]
    context, frame_lengths = reference.model.encode(waveforms, lengths)
    padding = reference.expected["padded.frame_padding_mask"].bool()
    assert frame_lengths.tolist() == (~padding).sum(1).tolist()
    for row in range(2):
        frames = int(frame_lengths[row])
        if reference.name == "large-tiny":
            theirs = reference.expected["padded.context"][row, :frames]
            assert_close(context[row, :frames], theirs, FLOAT32, f"row {row} as in fairseq")
        alone, _ = reference.model.encode(waveforms[row : row + 1, : int(lengths[row])])
        assert_close(context[row, :frames], alone[0], FLOAT32, f"row {row} alone")


@torch.no_grad()
def test_losses(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, seen = reference.expected, []
    monkeypatch.setattr(pretraining, "contrast", lambda *inputs: seen.append(inputs) or contrast(*inputs))
    output = reference.run()
    ((context, targets, codes, _, _, temperature),) = seen
    logits = gathered_logits(context, targets, codes, expected["negative_indices"], temperature)
    theirs = expected["logits"]
    assert torch.equal(codes.flatten(), _masked_codes(expected).flatten())
    assert torch.equal(logits.isinf(), theirs.isinf())
    finite = ~theirs.isinf()
    assert_close(logits[finite], theirs[finite], COSINE_LOGITS, "logits")
    masked = output.masked
    assert masked == expected["n_masked"]
    values = {
        "contrastive_sum": output.contrastive_sum,
        "diversity": diversity_loss(output.probability_sum / masked),
        "feature_penalty": output.penalty_sum / output.penalty_count,
        "prob_perplexity": perplexity(output.probability_sum / masked),
        "code_perplexity": perplexity(output.code_counts / masked),
        "total": reference.total(output),
    }
    for key, value in values.items():
        assert value.item() == pytest.approx(expected[key].item(), rel=LOSSES), key


def _masked_codes(expected: dict[str, Tensor]) -> Tensor:
    return expected["codes"][expected["mask"].bool()]


def test_gradient_norms(reference: Reference) -> None:
    model = reference.model
    reference.total(reference.run()).backward()
    layer_norm = model.architecture.conv_norm == "layer"
    ours = {
        fairseq_name(name, ctc=False, layer_norm_extractor=layer_norm): parameter.grad.norm().item()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    assert set(ours) == set(reference.gradient_norms)
    for key, norm in reference.gradient_norms.items():
        assert ours[key] == pytest.approx(norm, rel=1e-3, abs=1e-6), key


@torch.no_grad()
def test_fine_tuned_model(name: str, reference_root: Path) -> None:
    model = wav2vec2.load(reference_root / f"{name}-ctc.pt")
    assert isinstance(model, Wav2Vec2ForCTC)
    expected = load_file(reference_root / f"{name}-ctc.expected.safetensors")
    logits, frame_lengths = model(expected["waveform_equal"])
    assert_close(logits, expected["logits"], FLOAT32, "logits")
    losses = ctc_loss(logits, frame_lengths, expected["targets"], expected["target_lengths"], model.blank)
    torch.testing.assert_close(losses, expected["ctc_loss_per_utterance"], rtol=LOSSES, atol=0)
    assert model.vocabulary is not None
    # fairseq's blank is row 0, which it calls <s>
    assert (model.blank, model.vocabulary.symbols[:6]) == (0, ("<pad>", "<s>", "</s>", "<unk>", "|", "E"))


@pytest.mark.parametrize("ctc", ["", "-ctc"])
def test_written_back_key_for_key(name: str, ctc: str, reference_root: Path, tmp_path: Path) -> None:
    source = reference_root / f"{name}{ctc}.pt"
    write(wav2vec2.load(source), tmp_path / "again.pt", "fairseq")
    theirs, ours = TorchFile(source), TorchFile(tmp_path / "again.pt")
    assert ours.content["model"].keys() == theirs.content["model"].keys()
    for key, tensor in theirs.content["model"].items():
        assert torch.equal(ours.values(ours.content["model"][key]), theirs.values(tensor)), key
    before, after = open_checkpoint(source), open_checkpoint(tmp_path / "again.pt")
    for field in ("architecture", "regularization", "masking", "kind", "blank"):
        assert getattr(after, field) == getattr(before, field), field
    assert after.vocabulary == before.vocabulary
    if ctc:
        assert (tmp_path / "dict.ltr.txt").read_text().split()[::2] == (
            (reference_root / "dict.ltr.txt").read_text().split()[::2]
        )
