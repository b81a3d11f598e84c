"""Every recipe of the ablations resolves to the numbers of its row, and its header gives the paper's result."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wav2vec2.config import as_plain, differing_keys, load_recipe
from wav2vec2.experiment.paper import ABLATION, TABLE_5
from wav2vec2.model.variants.pretraining import pretraining_model
from wav2vec2.train.finetune.config import FinetuneConfig
from wav2vec2.train.options import refuse_impossible
from wav2vec2.train.pretrain.command import PretrainConfig

FOLDER = Path(__file__).resolve().parents[2] / "recipes" / "ablation"
PRETRAINING = sorted(path.stem for path in FOLDER.glob("*.toml") if not path.stem.startswith("finetune"))

# row -> (the paper's word error rate on dev-clean + dev-other, what differs from the baseline)
ROWS: dict[str, tuple[float | None, dict[str, object]]] = {
    "baseline": (7.97, {}),
    "quantized_inputs_quantized_targets": (12.18, {"variant.inputs": "quantized"}),
    "quantized_inputs_shared_quantizer": (
        12.18,
        {"variant.inputs": "quantized", "variant.input_quantizer": "shared"},
    ),
    "quantized_inputs_continuous_targets": (
        11.18,
        {"variant.inputs": "quantized", "variant.targets": "continuous"},
    ),
    "continuous_targets": (8.58, {"variant.targets": "continuous"}),
    "continuous_targets_mlp": (8.51, {"variant.targets": "continuous", "variant.target_mlp": True}),
    "continuous_targets_separate_encoders": (
        8.90,
        {"variant.targets": "continuous", "variant.separate_encoder": True},
    ),
    "mask_span_8": (8.33, {"masking.time_span": 8}),
    "mask_span_12": (8.19, {"masking.time_span": 12}),
    "mask_span_15": (8.43, {"masking.time_span": 15}),
    "mask_p065": (7.95, {"masking.time_start": 0.065}),
    "mask_p060": (8.14, {"masking.time_start": 0.06}),
    "mask_apart_10": (9.15, {"masking.time_start": 0.037, "masking.overlap": False}),
    "mask_apart_15": (9.43, {"masking.time_start": 0.037, "masking.overlap": False, "masking.time_span": 15}),
    "mask_apart_poisson_15": (
        8.13,
        {
            "masking.time_start": 0.037,
            "masking.overlap": False,
            "masking.time_span": 15,
            "masking.span_lengths": "poisson",
        },
    ),
    "mask_apart_normal_15_10": (
        8.37,
        {
            "masking.time_start": 0.037,
            "masking.overlap": False,
            "masking.time_span": 15,
            "masking.span_lengths": "normal",
            "masking.span_spread": 10.0,
        },
    ),
    "mask_apart_uniform_1_30": (
        8.39,
        {
            "masking.time_start": 0.037,
            "masking.overlap": False,
            "masking.time_span": 15,
            "masking.span_lengths": "uniform",
            "masking.span_spread": 1.0,
        },
    ),
    "mask_apart_uniform_10_30": (
        9.17,
        {
            "masking.time_start": 0.037,
            "masking.overlap": False,
            "masking.time_span": 15,
            "masking.span_lengths": "uniform",
            "masking.span_spread": 10.0,
        },
    ),
    "negatives_200": (8.12, {"model.negatives": 200}),
    "negatives_batch": (8.79, {"model.negatives": 50, "variant.batch_negatives": 50}),
    "negatives_anywhere": (8.07, {"variant.negatives_from": "anywhere"}),
    "negatives_codebook": (None, {"model.negatives": 50, "variant.codebook_negatives": 50}),
    "no_gumbel_noise": (8.73, {"variant.gumbel_noise": False}),
    "no_quantizer_gradient": (8.41, {"variant.target_gradient": False}),
    "codebook_4x18": (9.02, {"model.codebook_groups": 4, "model.codebook_entries": 18}),
    "codebook_8x8": (8.13, {"model.codebook_groups": 8, "model.codebook_entries": 8}),
    "quantizer_depth_3": (None, {"variant.quantizer_depth": 3}),
    "target_glu": (None, {"variant.target_glu": True}),
    "diversity_0": (8.48, {"loss.diversity_weight": 0.0}),
    "diversity_005": (8.34, {"loss.diversity_weight": 0.05}),
    "diversity_02": (8.58, {"loss.diversity_weight": 0.2}),
    "positional_kernel_256": (8.14, {"model.pos_conv_kernel": 256}),
    "receptive_field_30ms": (7.99, {"model.conv_kernels": [10, 3, 3, 3, 3, 3, 2]}),
    "edges_01": (9.53, {"variant.edge_frames": 1}),
    "edges_05": (8.19, {"variant.edge_frames": 5}),
    "edges_10": (8.07, {"variant.edge_frames": 10}),
    "edges_15": (7.89, {"variant.edge_frames": 15}),
    "edges_20": (7.90, {"variant.edge_frames": 20}),
    "units_frozen_quantizer": (None, {"variant.targets": "fixed"}),
    "units_kmeans": (None, {"variant.targets": "fixed", "units.kind": "kmeans"}),
    "units_mfcc": (None, {"variant.targets": "fixed", "units.kind": "mfcc", "units.clusters": 100}),
}


def load(name: str) -> PretrainConfig:
    return load_recipe(FOLDER / f"{name}.toml", PretrainConfig)


def test_no_recipe_is_without_a_row() -> None:
    assert sorted(ROWS) == PRETRAINING


@pytest.mark.parametrize("name", ROWS)
def test_a_recipe_differs_from_the_baseline_by_its_row_alone(name: str) -> None:
    number, expected = ROWS[name]
    config, header = load(name), (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    refuse_impossible(config)
    changes = {key: new for key, _, new in differing_keys(as_plain(load("baseline")), as_plain(config))}
    assert changes.pop("output", f"runs/ablation/{name}") == f"runs/ablation/{name}"
    assert changes == expected
    assert re.match(r"# (Table 4|Appendix [AF]|Not in the paper|Units fixed)", header)
    if number is not None:
        assert re.search(rf"\b{number:.2f}\b|\b{number:g}\b", header)


@pytest.mark.parametrize("name", ROWS)
def test_every_model_can_be_built_at_full_size_and_small(name: str) -> None:
    config = load(name)
    for size in ("base", "tiny"):
        architecture = replace(config.model, architecture=size).build(config.variant)
        with torch.device("meta"):
            pretraining_model(architecture, config.regularization, config.masking)
    field = architecture.receptive_field / 16
    assert field == (30 if name == "receptive_field_30ms" else 25)
    assert architecture.all_negatives == (200 if name == "negatives_200" else 100)


def test_the_reduced_setup() -> None:
    config = load("baseline")
    assert (config.model.architecture, config.train.updates, config.masking.time_start) == ("base", 250_000, 0.075)
    assert (config.masking.time_span, config.batch.seconds, config.train.lr) == (10, 5600.0, 5e-4)
    tuned = load_recipe(FOLDER / "finetune_10h.toml", FinetuneConfig)
    refuse_impossible(tuned)
    assert tuned.train.updates == 60_000
    assert tuned.batch.seconds * 16_000 == 640_000
    assert (tuned.masking.time_start, tuned.masking.channel_start) == (0.065, 0.004)


FACTS: dict[str, Callable[[str], float]] = {
    "baseline": lambda t: float(re.search(r"cont in\+quant targ ([\d.]+)", t)[1]),
    "quantized_inputs_quantized_targets": lambda t: float(re.search(r"quant\+quant ([\d.]+)", t)[1]),
    "quantized_inputs_continuous_targets": lambda t: float(re.search(r"quant in\+cont targ ([\d.]+)", t)[1]),
    "continuous_targets": lambda t: float(re.search(r"cont\+cont ([\d.]+)", t)[1]),
    "continuous_targets_mlp": lambda t: float(re.search(r"\+MLP ([\d.]+)", t)[1]),
    "continuous_targets_separate_encoders": lambda t: float(re.search(r"\+separate encoders ([\d.]+)", t)[1]),
    "negatives_200": lambda t: float(re.search(r"K=200 ([\d.]+)", t)[1]),
    "negatives_batch": lambda t: float(re.search(r"50 same\+50 batch ([\d.]+)", t)[1]),
    "negatives_anywhere": lambda t: float(re.search(r"sample from any step ([\d.]+)", t)[1]),
    "no_gumbel_noise": lambda t: float(re.search(r"no gumbel\s+noise ([\d.]+)", t)[1]),
    "codebook_4x18": lambda t: float(re.search(r"G=4,V=18 ([\d.]+)", t)[1]),
    "codebook_8x8": lambda t: float(re.search(r"G=8,V=8 ([\d.]+)", t)[1]),
    "no_quantizer_gradient": lambda t: float(re.search(r"no quantizer gradient to encoder ([\d.]+)", t)[1]),
    "positional_kernel_256": lambda t: float(re.search(r"pos-conv 256 ([\d.]+)", t)[1]),
    "receptive_field_30ms": lambda t: float(re.search(r"receptive\s+field 30 ms ([\d.]+)", t)[1]),
    "diversity_0": lambda t: float(re.search(r"alpha 0/.05/.2 -> ([\d.]+)/([\d.]+)/([\d.]+)", t)[1]),
    "diversity_005": lambda t: float(re.search(r"alpha 0/.05/.2 -> ([\d.]+)/([\d.]+)/([\d.]+)", t)[2]),
    "diversity_02": lambda t: float(re.search(r"alpha 0/.05/.2 -> ([\d.]+)/([\d.]+)/([\d.]+)", t)[3]),
    "mask_span_8": lambda t: float(re.search(r"M=8 ([\d.]+)", t)[1]),
    "mask_span_12": lambda t: float(re.search(r"M=12 ([\d.]+)", t)[1]),
    "mask_span_15": lambda t: float(re.search(r"M=15 ([\d.]+)", t)[1]),
    "mask_p065": lambda t: float(re.search(r"p=\.065 ([\d.]+)", t)[1]),
    "mask_p060": lambda t: float(re.search(r"p=\.06 ([\d.]+)", t)[1]),
    **{
        name: lambda t, n=place: float(re.search(r"U-edge predictions ([\d./]+\d)", t)[1].split("/")[n])
        for place, name in enumerate(("edges_01", "edges_05", "edges_10", "edges_15", "edges_20"))
    },
    "mask_apart_poisson_15": lambda t: float(re.search(r"poisson\(15\) best ([\d.]+)", t)[1]),
    "mask_apart_10": lambda t: float(re.search(r"fixed length 10 ([\d.]+)", t)[1]),
}


def test_the_numbers_are_those_of_the_shared_facts(reference_root: Path) -> None:
    facts = " ".join((reference_root.parent / "SPEC.md").read_text(encoding="utf-8").split())
    facts = facts[facts.index("B5. [paper]") :]
    for name, find in FACTS.items():
        assert find(facts) == ROWS[name][0], name
    apart = [number for name, (number, _) in ROWS.items() if name.startswith("mask_apart") and number is not None]
    assert f"no-overlap variants {min(apart):.2f}-{max(apart):.2f}" in facts
    rows_with_numbers = {name for name, (number, _) in ROWS.items() if number is not None}
    assert rows_with_numbers - set(FACTS) == {
        "quantized_inputs_shared_quantizer",
        # table 5 has these, the shared facts only their range
        "mask_apart_15",
        "mask_apart_normal_15_10",
        "mask_apart_uniform_1_30",
        "mask_apart_uniform_10_30",
    }


def test_the_experiment_compares_with_the_same_numbers() -> None:
    assert {name: number for name, (number, _) in ROWS.items() if number is not None} == ABLATION
    masks = {name for name in ROWS if name.startswith("mask_")}
    assert {name: ROWS[name][0] for name in masks} == TABLE_5
