"""Operations by formula against those that torch's own counter sees in the padded path."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from wav2vec2.model.architecture import ARCHITECTURES, Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.flops import PARTS, batch_flops, expected_masked, flops_per_second
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.randomness import Draw
from wav2vec2.model.variants.variant import Variant

TINY = replace(ARCHITECTURES["tiny"], conv_channels=(16, 24, 24, 32, 32, 32, 32), layers=2)
PRE_NORM = replace(TINY, conv_norm="layer", conv_bias=True, layer_norm_first=True, normalize_input=True)


def surplus(a: Architecture, rows: int) -> int:
    """Operations for the frame that an even positional kernel gives beyond the last one of an utterance."""
    return 2 * rows * a.hidden_size * a.hidden_size // a.pos_conv_groups * a.pos_conv_kernel


def counted(model: torch.nn.Module, samples: int, rows: int) -> tuple[int, int, list[int]]:
    """Operations of forward and of both directions by torch's counter, and the masked frames of each row."""
    model.train()
    model.encoder.packed = False
    waveforms, lengths = torch.randn(rows, samples), torch.full((rows,), samples)
    draw = Draw(1, 0, torch.arange(rows))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        if isinstance(model, Wav2Vec2ForPretraining):
            output = model(waveforms, lengths, draw=draw)
            forward = counter.get_total_flops()
            (output.contrastive_sum + output.penalty_sum + output.probability_sum.sum()).backward()
            masked = model.masked_counts(lengths, draw).tolist()
        else:
            logits, _ = model(waveforms, lengths, draw=draw)
            forward, masked = counter.get_total_flops(), []
            logits.square().sum().backward()
    return forward, counter.get_total_flops(), masked


@pytest.mark.parametrize("architecture", [TINY, PRE_NORM], ids=["post-LN", "pre-LN"])
def test_a_step_of_pretraining_is_counted_as_torch_counts_it(architecture: Architecture) -> None:
    # One group: torch 2.13 counts the weights' gradient of a grouped convolution once for each group too often.
    a = replace(architecture, pos_conv_groups=1)
    forward, both, masked = counted(Wav2Vec2ForPretraining(a, Regularization(layerdrop=0.0)), 20_000, 1)
    parts = batch_flops(a, [20_000], masked=masked).values()
    assert sum(part.forward for part in parts) + surplus(a, 1) == forward
    assert sum(part.both for part in parts) + 3 * surplus(a, 1) == both


def test_several_utterances_and_groups_are_counted_forward() -> None:
    forward, _, masked = counted(Wav2Vec2ForPretraining(TINY, Regularization(layerdrop=0.0)), 24_000, 3)
    parts = batch_flops(TINY, [24_000] * 3, masked=[max(masked)] * 3)  # the padded path computes on the longest row
    assert sum(part.forward for part in parts.values()) + surplus(TINY, 3) == forward


@pytest.mark.parametrize("frozen", [False, True])
def test_a_step_of_finetuning_is_counted_as_torch_counts_it(frozen: bool) -> None:
    a = replace(TINY, pos_conv_groups=1)
    regularization = Regularization(layerdrop=0.0, feature_grad_mult=0.0 if frozen else 0.1)
    forward, both, _ = counted(Wav2Vec2ForCTC(a, 29, regularization), 20_000, 2)
    parts = batch_flops(a, [20_000] * 2, "finetune", symbols=29, frozen=frozen).values()
    assert sum(part.forward for part in parts) + surplus(a, 2) == forward
    assert sum(part.both for part in parts) + 3 * surplus(a, 2) == both


def test_the_published_sizes() -> None:
    # 46.1 and 123 GFLOP an audio-second, at the crops of the paper: 15.625 s for BASE and 20 s for LARGE
    assert flops_per_second(ARCHITECTURES["base"]) / 1e9 == pytest.approx(46.13, abs=0.01)
    assert flops_per_second(ARCHITECTURES["large"], seconds=20.0) / 1e9 == pytest.approx(122.93, abs=0.01)
    inference = flops_per_second(ARCHITECTURES["base"], "inference")
    assert inference / 1e9 == pytest.approx(46.13 / 3, abs=0.1)


def test_the_expected_masked_frames_are_the_papers() -> None:
    assert expected_masked(1000) == pytest.approx(490, abs=2)  # section 4.2: approximately 49 % of all time steps
    assert expected_masked(1000, Masking(time_start=0.0)) == 0


def test_skipped_blocks_and_audio_below_one_frame_cost_nothing() -> None:
    whole, half = (batch_flops(TINY, [32_000], layerdrop=p)[PARTS[1]].forward for p in (0.0, 0.5))
    none = batch_flops(replace(TINY, layers=1), [32_000], layerdrop=1.0)[PARTS[1]].forward
    assert half == pytest.approx((whole + none) / 2)
    assert all(batch_flops(TINY, [100])[part].both == 0 for part in PARTS[1:])


def test_a_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="variant"):
        batch_flops(replace(TINY, variant=Variant(targets="continuous")), [16_000])
