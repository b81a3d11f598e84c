"""What must hold for every variant of the pre-training model."""

from dataclasses import replace

import pytest
import torch
from tests.model.conftest import make_model
from tests.model.variants.variants import VARIANTS
from tests.small_models import GROUP, LAYER

from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.pretraining import PretrainingOutput, Wav2Vec2ForPretraining
from wav2vec2.model.quantizer import diversity_loss
from wav2vec2.model.randomness import Draw
from wav2vec2.model.variants.pretraining import pretraining_model
from wav2vec2.model.variants.variant import Variant

LENGTHS = torch.tensor([16000, 12345, 700])


def variant_of(name: str, base: Architecture = GROUP) -> Architecture:
    return replace(base, variant=VARIANTS[name])


def waveforms(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(3, 16000, generator=torch.Generator().manual_seed(3), dtype=dtype)


def units_for(model: Wav2Vec2ForPretraining) -> dict[str, torch.Tensor]:
    """Units of any kind for the three utterances, where the variant has fixed ones."""
    if model.architecture.variant.targets != "fixed":
        return {}
    frames = model.architecture.frame_length(16000)
    generator = torch.Generator().manual_seed(4)
    return {"units": torch.randint(model.quantizer.entries, (3, frames, model.quantizer.groups), generator=generator)}


def forward(model: Wav2Vec2ForPretraining, rows: slice = slice(None), step: int = 3) -> PretrainingOutput:
    units = {name: value[rows] for name, value in units_for(model).items()}
    return model(
        waveforms(next(model.parameters()).dtype)[rows],
        LENGTHS[rows],
        draw=Draw(1, step, torch.tensor([4, 9, 2])[rows]),
        **units,
    )


def total(model: Wav2Vec2ForPretraining, output: PretrainingOutput) -> torch.Tensor:
    loss = output.contrastive_sum / output.masked + output.penalty_sum / output.penalty_count
    return loss + (0.1 * diversity_loss(output.probability_sum / output.masked) if model.learned_codebooks else 0)


@pytest.mark.parametrize("name", VARIANTS)
def test_layouts_agree_and_gradients_reach_what_they_should(name: str) -> None:
    results = []
    for packed in (True, False):
        model = make_model(variant_of(name)).train()
        model.encoder.packed = packed
        loss = total(model, forward(model))
        loss.backward()
        results.append((loss.detach(), {n: p.grad for n, p in model.named_parameters()}))
    (first, grads), (second, others) = results
    assert torch.isfinite(first)
    torch.testing.assert_close(first, second, rtol=1e-10, atol=0)
    for parameter, grad in grads.items():
        assert (grad is None) == (others[parameter] is None)
        if grad is not None:
            torch.testing.assert_close(grad, others[parameter], rtol=1e-7, atol=1e-9, msg=parameter)
    silent = {n for n, g in grads.items() if g is None or not g.abs().sum() > 0}
    assert all(n.endswith("key.bias") for n in silent), silent


@pytest.mark.parametrize("name", [name for name in VARIANTS if "batch" not in name and "all kinds" not in name])
def test_a_batch_is_the_sum_of_its_utterances(name: str) -> None:
    """k micro-batches give the numbers of one: everything random is the utterance's own (but for batch negatives)."""
    model = make_model(variant_of(name, LAYER), Regularization()).train()
    whole = forward(model)
    parts = [forward(model, slice(i, i + 1)) for i in range(3)]
    for field in ("contrastive_sum", "penalty_sum", "probability_sum", "code_counts", "masked", "correct"):
        together = sum(getattr(part, field) for part in parts)
        torch.testing.assert_close(getattr(whole, field), together, rtol=1e-9, atol=1e-12, msg=field)


@pytest.mark.parametrize("name", VARIANTS)
def test_masked_frames_are_known_before_the_forward_pass(name: str) -> None:
    model = make_model(variant_of(name)).train()
    counts = model.masked_counts(LENGTHS, Draw(1, 3, torch.tensor([4, 9, 2])))
    assert counts.sum() == forward(model).masked


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("length", [1, 721])
def test_every_length_has_a_finite_result(name: str, length: int) -> None:
    model = make_model(variant_of(name), Regularization()).train()
    frames = model.architecture.frame_length(length)
    units = {key: value[:1, :frames] for key, value in units_for(model).items()}
    output = model(waveforms()[:1, :length], **units)
    (output.contrastive_sum + output.penalty_sum + output.probability_sum.sum()).backward()
    assert torch.isfinite(output.contrastive_sum)
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", ["negatives of all kinds"])
def test_no_graph_breaks_under_compile(name: str) -> None:
    model = make_model(variant_of(name)).train()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    rows, step = torch.tensor([4, 9, 2]), torch.tensor(3)
    ours, theirs = forward(model), compiled(waveforms(), LENGTHS, draw=Draw(1, step, rows))
    torch.testing.assert_close(ours.contrastive_sum, theirs.contrastive_sum, rtol=1e-6, atol=0)


def encoder_gradient(architecture: Architecture, parameter: str = "encoder.feature_encoder.layers.0.conv.weight"):
    """Gradient of the task into the feature encoder when no context vector depends on it."""
    model = make_model(architecture).train()
    with torch.no_grad():
        model.encoder.feature_projection.weight.zero_()
    model.encoder.feature_projection.weight.requires_grad_(False)
    forward(model).contrastive_sum.backward()
    gradient = dict(model.named_parameters())[parameter].grad
    return 0.0 if gradient is None else gradient.abs().sum().item()


def test_without_target_gradient_nothing_reaches_the_feature_encoder_through_the_targets() -> None:
    assert encoder_gradient(GROUP) > 0
    assert encoder_gradient(variant_of("no gradient")) == 0


def test_separate_encoders_learn_apart() -> None:
    architecture = variant_of("continuous targets, separate encoders")
    assert encoder_gradient(architecture) == 0
    assert encoder_gradient(architecture, "target_encoder.feature_encoder.layers.0.conv.weight") > 0


def test_without_noise_the_best_entry_is_chosen_in_training_and_its_probability_learns() -> None:
    model = make_model(variant_of("no noise"))
    trained, evaluated = forward(model.train()), forward(model.eval())
    assert torch.equal(trained.code_counts, evaluated.code_counts)
    noisy = make_model(GROUP)
    assert not torch.equal(forward(noisy.train()).code_counts, forward(noisy.eval()).code_counts)
    trained.contrastive_sum.backward()
    assert model.quantizer.logits.weight.grad.abs().sum() > 0


def test_the_transformer_sees_codewords_only() -> None:
    """Two recordings with equal codes would be one to it: features reach it through the choice of entries alone."""
    model = make_model(variant_of("quantized inputs, quantized targets")).eval()
    features = model.encoder.features(waveforms(), LENGTHS, None)
    entries = model.encoder.input_quantizer.codevectors.view(2, GROUP.codebook_entries, -1)
    expected = torch.cat([entries[g, features.input_choice.codes[..., g]] for g in range(2)], dim=-1)
    torch.testing.assert_close(features.inputs, features.layout.pack(expected))
    hidden = model.encode(waveforms(), LENGTHS)[0]
    features.raw = features.normed = None
    again = features.layout.pad(model.encoder.context_vectors(features, None, None))
    torch.testing.assert_close(hidden[0], again[0])


def test_a_shared_quantizer_is_one_set_of_parameters() -> None:
    names = dict(make_model(variant_of("quantized inputs, shared quantizer")).named_parameters())
    assert "encoder.input_quantizer.codevectors" in names
    assert "quantizer.codevectors" not in names
    assert "quantizer.project.weight" in names


def test_equal_continuous_targets_of_two_utterances_stay_distractors() -> None:
    """Frames at the same place of two utterances are no equals: continuous targets have no codes."""
    architecture = replace(GROUP, variant=Variant(targets="continuous", batch_negatives=50), negatives=1)
    model = make_model(architecture).train()
    assert torch.isfinite(forward(model).contrastive_sum)
    places = torch.tensor([[3, 5], [3, 5]])
    targets = model.quantizer(torch.ones(2, 2, 16, dtype=torch.float64), places, Draw(0, 0, torch.arange(2)), 1.0)
    assert len(targets.codes.flatten(0, 1).unique(dim=0)) == 4


def test_the_class_of_the_proposed_model_does_not_take_a_variant_for_it() -> None:
    with pytest.raises(ValueError, match="this architecture is a variant"):
        Wav2Vec2ForPretraining(variant_of("edges"))


def test_units_are_asked_for_and_refused() -> None:
    with pytest.raises(ValueError, match=r"fixed targets .* needs units"):
        make_model(variant_of("fixed units"))(waveforms(), LENGTHS)
    with pytest.raises(ValueError, match="only a model with fixed targets"):
        make_model(GROUP)(waveforms(), LENGTHS, units=torch.zeros(3, 49, 2, dtype=torch.long))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_quantizer": "shared"}, "shared is for quantized inputs and targets"),
        ({"input_quantizer": "shared", "inputs": "quantized", "separate_encoder": True}, "one feature encoder"),
        ({"target_mlp": True}, "for continuous targets"),
        ({"targets": "fixed", "separate_encoder": True}, "fixed targets have no encoder"),
        ({"target_gradient": False, "separate_encoder": True}, "never learns"),
        ({"target_gradient": False, "targets": "fixed"}, "no gradient"),
        ({"targets": "continuous", "gumbel_noise": False}, "nothing is quantized"),
        ({"targets": "continuous", "quantizer_depth": 2}, "nothing is quantized"),
        ({"targets": "continuous", "codebook_negatives": 5}, "no codebook_negatives"),
        ({"batch_negatives": -1}, "at least 0"),
        ({"quantizer_depth": 0}, "at least 1"),
    ],
)
def test_contradictions_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture(variant=Variant(**fields))  # type: ignore[arg-type]


def test_negatives_of_one_kind_are_enough() -> None:
    Architecture(negatives=0, variant=Variant(batch_negatives=5))
    with pytest.raises(ValueError, match="negatives must be at least 1"):
        Architecture(negatives=0)


def test_the_proposed_model_has_the_paper_s_parameters_whatever_the_masks() -> None:
    masking = Masking(span_lengths="poisson", time_span=15, overlap=False)
    with torch.device("meta"):
        model = pretraining_model(Architecture(), Regularization(), masking)
    assert sum(p.numel() for p in model.parameters()) == 95_044_608


@pytest.mark.parametrize("name", VARIANTS)
def test_a_model_without_codebooks_says_so(name: str) -> None:
    variant, model = VARIANTS[name], make_model(variant_of(name))
    none = variant.targets == "continuous" and variant.inputs == "continuous"
    assert model.codebooks == ((0, 0) if none else (2, 10))
    assert model.learned_codebooks == (not none and variant.targets != "fixed")
    assert forward(model).code_counts.shape == model.codebooks
