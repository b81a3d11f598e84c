"""The sizes of the published models, and what the paper sets for pre-training BASE (section 4.2, appendix A)."""

import pytest

from wav2vec2.config import options
from wav2vec2.model.architecture import ARCHITECTURES, Masking, Regularization

# hidden size, layers, feed-forward size, heads, size of codevectors and of the projected vectors
SIZES = {
    "base": (768, 12, 3072, 12, 256, 256),
    "large": (1024, 24, 4096, 16, 768, 768),
    "large_lv60k": (1024, 24, 4096, 16, 768, 768),
    "300m": (1024, 24, 4096, 16, 768, 768),
    "1b": (1280, 48, 5120, 16, 1024, 1024),
    "2b": (1920, 48, 7680, 16, 1024, 1024),
}
GROUP_NORM = {"base", "large"}


@pytest.mark.parametrize("name", SIZES)
def test_published_sizes(name: str) -> None:
    one = ARCHITECTURES[name]
    sizes = (one.hidden_size, one.layers, one.ffn_size, one.heads, one.codevector_size, one.final_size)
    assert sizes == SIZES[name]
    assert one.conv_channels == (512,) * 7
    assert one.conv_kernels == (10, 3, 3, 3, 3, 2, 2)
    assert one.conv_strides == (5, 2, 2, 2, 2, 2, 2)
    assert (one.pos_conv_kernel, one.pos_conv_groups, one.pos_conv_depth) == (128, 16, 1)
    assert (one.codebook_groups, one.codebook_entries) == (2, 320)
    assert (one.negatives, one.logit_temperature, one.layer_norm_eps) == (100, 0.1, 1e-5)
    assert one.adapter_size == 0
    group = name in GROUP_NORM
    assert (one.conv_norm, one.conv_bias, one.normalize_input) == (
        ("group", False, False) if group else ("layer", True, True)
    )
    assert one.layer_norm_first == (not group)


def test_pretraining_of_base() -> None:
    assert Regularization() == Regularization(
        dropout=0.1,
        attention_dropout=0.1,
        activation_dropout=0.0,
        input_dropout=0.1,
        feature_dropout=0.1,
        final_dropout=0.0,
        layerdrop=0.05,
        feature_grad_mult=0.1,
        tau_start=2.0,
        tau_end=0.5,
        tau_decay=0.999995,
    )
    assert Masking() == Masking(
        time_start=0.065,
        time_span=10,
        min_spans=2,
        channel_start=0.0,
        channel_span=64,
        span_lengths="static",
        span_spread=0.0,
        overlap=True,
        min_space=1,
    )


def test_the_ranges_of_regularization_and_masking() -> None:
    ranges = {key: str(rules.range) for key, _, rules in options(Regularization())}
    tau = {"tau_start": "above 0", "tau_end": "above 0", "tau_decay": "above 0 and at most 1"}
    assert ranges == {
        **dict.fromkeys(ranges, "at least 0 and below 1"),
        "feature_grad_mult": "at least 0",
        **tau,
    }
    assert {key: str(rules.range) for key, _, rules in options(Masking()) if rules.range} == {
        "time_start": "at least 0 and at most 1",
        "channel_start": "at least 0 and at most 1",
        "time_span": "at least 1",
        "channel_span": "at least 1",
        "min_spans": "at least 0",
        "span_spread": "at least 0",
        "min_space": "at least 0",
    }


def test_small_sizes() -> None:
    sizes = {name: (one.hidden_size, one.layers, one.ffn_size, one.heads) for name, one in ARCHITECTURES.items()}
    assert sizes["tiny"] == (192, 4, 768, 4)
    assert sizes["small"] == (256, 6, 1024, 4)
    assert sizes["medium"] == (384, 6, 1536, 6)
