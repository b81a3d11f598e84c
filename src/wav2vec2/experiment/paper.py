"""The paper's published error rates in percent (arXiv 2006.11477v3), to compare ours with."""

from typing import NamedTuple


class Rates(NamedTuple):
    """Word error rates of one model with one language model, on the four evaluation splits."""

    dev_clean: float
    dev_other: float
    test_clean: float
    test_other: float


class Row(NamedTuple):
    """One model with one amount of labels: without a language model, with the 4-gram, with the Transformer."""

    greedy: Rates
    ngram: Rates
    transformer: Rates


def _row(*numbers: float) -> Row:
    return Row(Rates(*numbers[:4]), Rates(*numbers[4:8]), Rates(*numbers[8:]))


MODELS = {
    "scratch": "LARGE, from scratch",
    "base": "BASE, LS-960",
    "large": "LARGE, LS-960",
    "large_lv60k": "LARGE, LV-60k",
}
"""The paper's models: size and pre-training speech."""

WER: dict[tuple[str, str], Row] = {
    ("10min", "base"): _row(46.1, 51.5, 46.9, 50.9, 8.9, 15.7, 9.1, 15.6, 6.6, 13.2, 6.9, 12.9),
    ("10min", "large"): _row(43.0, 46.3, 43.5, 45.3, 8.6, 12.9, 8.9, 13.1, 6.6, 10.6, 6.8, 10.8),
    ("10min", "large_lv60k"): _row(38.3, 41.0, 40.2, 38.7, 6.3, 9.8, 6.6, 10.3, 4.6, 7.9, 4.8, 8.2),
    ("1h", "base"): _row(24.1, 29.6, 24.5, 29.7, 5.0, 10.8, 5.5, 11.3, 3.8, 9.0, 4.0, 9.3),
    ("1h", "large"): _row(21.6, 25.3, 22.1, 25.3, 4.8, 8.5, 5.1, 9.4, 3.8, 7.1, 3.9, 7.6),
    ("1h", "large_lv60k"): _row(17.3, 20.6, 17.2, 20.3, 3.6, 6.5, 3.8, 7.1, 2.9, 5.4, 2.9, 5.8),
    ("10h", "base"): _row(10.9, 17.4, 11.1, 17.6, 3.8, 9.1, 4.3, 9.5, 2.9, 7.4, 3.2, 7.8),
    ("10h", "large"): _row(8.1, 12.0, 8.0, 12.1, 3.4, 6.9, 3.8, 7.3, 2.9, 5.7, 3.2, 6.1),
    ("10h", "large_lv60k"): _row(6.3, 9.8, 6.3, 10.0, 2.6, 5.5, 3.0, 5.8, 2.4, 4.8, 2.6, 4.9),
    ("100h", "base"): _row(6.1, 13.5, 6.1, 13.3, 2.7, 7.9, 3.4, 8.0, 2.2, 6.3, 2.6, 6.3),
    ("100h", "large"): _row(4.6, 9.3, 4.7, 9.0, 2.3, 5.7, 2.8, 6.0, 2.1, 4.8, 2.3, 5.0),
    ("100h", "large_lv60k"): _row(3.3, 6.5, 3.1, 6.3, 1.8, 4.5, 2.3, 4.6, 1.9, 4.0, 2.0, 4.0),
    ("960h", "scratch"): _row(2.8, 7.6, 3.0, 7.7, 1.8, 5.4, 2.6, 5.8, 1.7, 4.3, 2.1, 4.6),
    ("960h", "base"): _row(3.2, 8.9, 3.4, 8.5, 2.0, 5.9, 2.6, 6.1, 1.8, 4.7, 2.1, 4.8),
    ("960h", "large"): _row(2.6, 6.5, 2.8, 6.3, 1.7, 4.6, 2.3, 5.0, 1.7, 3.9, 2.0, 4.1),
    ("960h", "large_lv60k"): _row(2.1, 4.5, 2.2, 4.5, 1.4, 3.5, 2.0, 3.6, 1.6, 3.0, 1.8, 3.3),
}
"""Tables 1, 2, 9 and 10, by amount of labels and model."""

LOW_LABEL = {"10min": "10min", "1h": "1h", "all": "960h"}
"""The paper's amount of labels that is compared with each tier of the low-label experiment."""

TABLE_4: dict[str, tuple[float, float]] = {
    "baseline": (7.97, 0.02),
    "quantized_inputs_quantized_targets": (12.18, 0.41),
    "quantized_inputs_continuous_targets": (11.18, 0.16),
    "continuous_targets": (8.58, 0.08),
}
"""Table 4 by recipe name: mean and standard deviation of the WER on dev-clean and dev-other together."""

TABLE_5: dict[str, float] = {
    "mask_span_8": 8.33,
    "mask_span_12": 8.19,
    "mask_span_15": 8.43,
    "mask_p065": 7.95,
    "mask_p060": 8.14,
    "mask_apart_uniform_1_30": 8.39,
    "mask_apart_uniform_10_30": 9.17,
    "mask_apart_poisson_15": 8.13,
    "mask_apart_normal_15_10": 8.37,
    "mask_apart_10": 9.15,
    "mask_apart_15": 9.43,
}
"""Table 5 (appendix A), masking in pre-training, by recipe name: WER on dev-clean and dev-other together."""

ABLATION: dict[str, float] = {
    **{name: mean for name, (mean, _) in TABLE_4.items()},
    "quantized_inputs_shared_quantizer": 12.18,
    "continuous_targets_mlp": 8.51,
    "continuous_targets_separate_encoders": 8.90,
    **TABLE_5,
    "negatives_200": 8.12,
    "negatives_batch": 8.79,
    "negatives_anywhere": 8.07,
    "no_gumbel_noise": 8.73,
    "codebook_4x18": 9.02,
    "codebook_8x8": 8.13,
    "no_quantizer_gradient": 8.41,
    "positional_kernel_256": 8.14,
    "receptive_field_30ms": 7.99,
    "diversity_0": 8.48,
    "diversity_005": 8.34,
    "diversity_02": 8.58,
    "edges_01": 9.53,
    "edges_05": 8.19,
    "edges_10": 8.07,
    "edges_15": 7.89,
    "edges_20": 7.90,
}
"""Table 4 and appendices A and F by recipe name, where the paper gives a number."""

TIMIT = {"dev": 7.4, "test": 8.3}
"""Table 3: phone error rate of LARGE pre-trained on LS-960, without a language model."""
