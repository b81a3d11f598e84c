"""What must hold whatever the weights are: batches, layouts, lengths, compile."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.conftest import make_model
from tests.small_models import GROUP, LAYER, noise

from wav2vec2.model.architecture import Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC, can_align, ctc_loss
from wav2vec2.model.pretraining import PretrainingOutput
from wav2vec2.model.quantizer import diversity_loss
from wav2vec2.model.randomness import Draw


def total(output: PretrainingOutput) -> torch.Tensor:
    masked, count = output.masked.clamp_min(1), output.penalty_count.clamp_min(1)
    loss = output.contrastive_sum / masked + 10 * output.penalty_sum / count
    return loss + 0.1 * diversity_loss(output.probability_sum / masked)


def first(rows: int, step: int = 0) -> Draw:
    """Of the first rows of an update."""
    return Draw(1, step, torch.arange(rows))


def batch(*lengths: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise; what lies beyond an utterance must not matter."""
    return noise(*lengths, seed=len(lengths), dtype=dtype, padding=7.0)


@pytest.mark.parametrize("packed", [True, False])
def test_an_utterance_gives_the_same_alone_and_in_any_batch(architecture, packed) -> None:
    model = make_model(architecture).eval()
    model.encoder.packed = packed
    waveforms, lengths = batch(16000, 9000, 400, 23456)
    together, frames = model.encode(waveforms, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone, count = model.encode(waveforms[i : i + 1, :length])
        assert count.item() == frames[i] == architecture.frame_length(length)
        torch.testing.assert_close(together[i, : frames[i]], alone[0], rtol=1e-9, atol=1e-9)
        assert not together[i, frames[i] :].any()


@pytest.mark.parametrize("training", [True, False])
def test_packed_and_padded_paths_agree_in_value_and_gradient(architecture, training) -> None:
    waveforms, lengths = batch(16000, 12345, 900)
    results = []
    for packed in (True, False):
        model = make_model(architecture).train(training)
        model.encoder.packed = packed
        loss = total(model(waveforms, lengths, draw=first(3, step=3)))
        loss.backward()
        results.append((loss.detach(), {n: p.grad for n, p in model.named_parameters()}))
    (ours, grads), (theirs, others) = results
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=0)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, others[name], rtol=1e-8, atol=1e-10, msg=name)


def test_dropout_does_not_depend_on_the_batch(architecture) -> None:
    model = make_model(architecture, Regularization()).train()
    waveforms, lengths = batch(16000, 12345)
    rows = torch.tensor([4, 9])
    whole = model(waveforms, lengths, draw=Draw(1, 3, rows)).contrastive_sum
    parts = [
        model(waveforms[i : i + 1, :n], draw=Draw(1, 3, rows[i : i + 1])).contrastive_sum
        for i, n in enumerate(lengths.tolist())
    ]
    torch.testing.assert_close(whole, parts[0] + parts[1], rtol=1e-10, atol=0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=3), st.booleans(), st.booleans())
def test_every_length_from_one_sample_has_a_finite_result(sizes, packed, layer_family) -> None:
    model = make_model(LAYER if layer_family else GROUP, Regularization()).train()
    model.encoder.packed = packed
    waveforms, lengths = batch(*sizes)
    output = model(waveforms, lengths, draw=first(len(sizes)))
    loss = total(output)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    expected = model.masked_counts(lengths, first(len(sizes)))
    assert output.masked == expected.sum()


def test_every_length_up_to_two_frames(architecture) -> None:
    model = make_model(architecture).eval()
    for length in range(1, 725):
        hidden, frames = model.encode(torch.randn(1, length, dtype=torch.float64))
        assert frames.item() == architecture.frame_length(length)
        assert torch.isfinite(hidden).all()


@pytest.mark.parametrize("training", [True, False])
def test_no_graph_breaks_under_compile_and_equal_values(architecture, training) -> None:
    model = make_model(architecture).train(training)
    waveforms, lengths = batch(16000, 12345)
    rows = torch.arange(2)
    # the slower backend traces the backward pass too: one of the four takes it
    backend = "aot_eager" if training and architecture.conv_norm == "layer" else "eager"
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    ours = model(waveforms, lengths, draw=Draw(1, 3, rows))
    theirs = compiled(waveforms, lengths, draw=Draw(1, torch.tensor(3), rows))
    torch.testing.assert_close(ours.contrastive_sum, theirs.contrastive_sum, rtol=1e-6, atol=0)
    assert ours.masked == theirs.masked
    assert torch.equal(ours.code_counts, theirs.code_counts)


def test_every_parameter_of_the_objective_gets_a_gradient(architecture) -> None:
    model = make_model(architecture).train()
    total(model(*batch(16000, 12345), draw=first(2))).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # the softmax over keys does not see what is added to every key
    assert all(name.endswith("key.bias") for name in silent)


@pytest.mark.parametrize("train_encoder", [True, False])
def test_ctc_trains_what_it_should(architecture, train_encoder) -> None:
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(architecture, 12, Regularization(feature_grad_mult=0.0)).train()
    logits, frames = model(*batch(16000, 12345, dtype=torch.float32), draw=first(2), train_encoder=train_encoder)
    ctc_loss(logits, frames, torch.tensor([[3, 3, 4], [5, 6, 0]]), torch.tensor([3, 2])).sum().backward()
    trained = {n.split(".")[0] + "." + n.split(".")[1] for n, p in model.named_parameters() if p.grad is not None}
    assert "encoder.feature_encoder" not in trained
    assert ("encoder.context" in trained) == train_encoder
    assert "head.weight" in trained


def test_ctc_without_a_draw_takes_the_first_step_of_seed_0() -> None:
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(GROUP, 6, Regularization(dropout=0.3), Masking()).train()
    waveforms, lengths = noise(9000, 4000)
    drawn = model(waveforms, lengths)[0]
    assert torch.equal(drawn, model(waveforms, lengths, draw=Draw.first(2, waveforms.device))[0])
    assert not torch.equal(drawn, model.eval()(waveforms, lengths)[0])


def test_ctc_alignment_rule_is_exact() -> None:
    logits = torch.randn(1, 4, 5, dtype=torch.float64)
    for labels in ([1, 2, 3, 4], [1, 1, 2], [1, 1, 2, 2], [1, 1, 1], []):
        target = torch.tensor([[*labels]], dtype=torch.long).reshape(1, len(labels))
        loss = ctc_loss(logits, torch.tensor([4]), target, torch.tensor([len(labels)]))
        assert (loss.item() > 0) == can_align(4, labels)
