"""Every recipe loads and resolves to what SPEC says: the numbers below, and SPEC's own rows where it lies."""

import os
import re
from pathlib import Path

import pytest

from wav2vec2.checkpoints.checkpoint import mask_share
from wav2vec2.config import load_recipe
from wav2vec2.decode.presets import PAPER_PRESETS
from wav2vec2.experiment.paper import TABLE_4, TIMIT, WER
from wav2vec2.recipe_files import recipe_path
from wav2vec2.train.finetune.config import FinetuneConfig
from wav2vec2.train.language_model.command import LanguageModelConfig
from wav2vec2.train.options import refuse_impossible
from wav2vec2.train.pretrain.command import PretrainConfig

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = REPOSITORY / "recipes"
CLASSES = {"pretrain": PretrainConfig, "finetune": FinetuneConfig, "lm": LanguageModelConfig}

# Table 6: share of frames that begin a mask, share of channels, updates.
TABLE_6 = {
    "10min": (0.075, 0.008, 12_000),
    "1h": (0.075, 0.004, 13_000),
    "10h": (0.065, 0.004, 20_000),
    "100h": (0.05, 0.008, 50_000),
    "960h": (0.05, 0.0016, 320_000),
    "timit": (0.065, 0.012, 40_000),
}

# Section 4.2: parameters of the model in digits, learning rate, updates, warm-up updates, GPUs, samples a GPU, crop,
# LayerDrop, gradient scale of the feature encoder, last temperature, weight of the penalty, normalised input.
PRETRAINING = {
    "pretrain_base": (95_044_608, 5e-4, 400_000, 32_000, 64, 1_400_000, 250_000, 0.05, 0.1, 0.5, 10.0, False),
    "pretrain_large": (317_380_864, 3e-4, 250_000, 20_000, 128, 1_200_000, 320_000, 0.2, 0.1, 0.1, 10.0, False),
    "pretrain_large_lv60k": (317_390_592, 3e-4, 600_000, 48_000, 128, 1_200_000, 320_000, 0.0, 1.0, 0.1, 0.0, True),
}

# Section 4.3: LayerDrop, GPUs, samples a GPU.
FINETUNING = {"base": (0.05, 8, 3_200_000), "large": (0.1, 24, 1_280_000), "large_lv60k": (0.1, 24, 1_280_000)}


def config_of(path: Path):
    kind = path.name.partition("_")[0]
    return load_recipe(path, CLASSES.get(kind, PretrainConfig))


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.toml")), ids=lambda path: str(path.relative_to(RECIPES)))
def test_a_recipe_loads_is_possible_and_says_what_it_is(path):
    config = config_of(path)
    refuse_impossible(config)
    if hasattr(config.model, "build"):
        config.model.build()
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert config.output.startswith("runs/")
    assert config.output.removeprefix("runs/").startswith(path.stem.split("_")[0]) or path.parent.name == "ablation"


def test_outputs_are_each_recipes_own():
    outputs = [config_of(path).output for path in sorted(RECIPES.rglob("*.toml"))]
    assert len(set(outputs)) == len(outputs)


@pytest.mark.parametrize("name", PRETRAINING)
def test_pre_training_as_published(name):
    config = load_recipe(RECIPES / f"{name}.toml", PretrainConfig)
    _, lr, updates, warmup, gpus, samples, crop, layerdrop, grad_mult, tau, penalty, normalize = PRETRAINING[name]
    train, batch, r = config.train, config.batch, config.regularization
    assert (train.lr, train.updates, round(train.warmup_share * updates)) == (lr, updates, warmup)
    assert (train.schedule, train.beta1, train.beta2, train.eps, train.weight_decay) == (
        "linear",
        0.9,
        0.98,
        1e-6,
        0.01,
    )
    assert train.clip_norm == 0.0
    assert batch.seconds * 16_000 == gpus * samples
    assert batch.micro_seconds * 16_000 == samples
    assert (batch.max_seconds * 16_000, batch.min_seconds) == (crop, 2.0)
    assert (r.layerdrop, r.feature_grad_mult, r.tau_start, r.tau_end, r.tau_decay) == (
        layerdrop,
        grad_mult,
        2.0,
        tau,
        0.999995,
    )
    assert (config.loss.diversity_weight, config.loss.penalty_weight) == (0.1, penalty)
    assert (config.masking.time_start, config.masking.time_span, config.masking.min_spans) == (0.065, 10, 2)
    a = config.model.build()
    assert (a.codebook_groups, a.codebook_entries, a.negatives, a.logit_temperature) == (2, 320, 100, 0.1)
    assert a.normalize_input == normalize


@pytest.mark.parametrize("name", PRETRAINING)
def test_pre_training_has_the_published_number_of_parameters(name):
    import torch

    from wav2vec2.model.pretraining import Wav2Vec2ForPretraining

    config = load_recipe(RECIPES / f"{name}.toml", PretrainConfig)
    with torch.device("meta"):
        model = Wav2Vec2ForPretraining(config.model.build(), config.regularization, config.masking)
    assert sum(parameter.numel() for parameter in model.parameters()) == PRETRAINING[name][0]


@pytest.mark.parametrize("model", FINETUNING)
@pytest.mark.parametrize("hours", ["10min", "1h", "10h", "100h", "960h"])
def test_fine_tuning_as_published(model, hours):
    config = load_recipe(RECIPES / f"finetune_{model}_{hours}.toml", FinetuneConfig)
    time, channels, updates = TABLE_6[hours]
    layerdrop, gpus, samples = FINETUNING[model]
    assert (config.masking.time_start, config.masking.channel_start, config.train.updates) == (time, channels, updates)
    assert (config.masking.time_span, config.masking.channel_span) == (10, 64)
    assert config.freeze.updates == 10_000
    assert config.regularization.layerdrop == layerdrop
    assert config.regularization.feature_grad_mult == 0.0
    assert config.batch.seconds * 16_000 == gpus * samples
    assert config.batch.micro_seconds * 16_000 == samples
    train = config.train
    assert (train.schedule, train.warmup_share, train.hold_share) == ("tri-stage", 0.1, 0.4)
    assert (train.beta1, train.beta2, train.eps, train.weight_decay) == (0.9, 0.98, 1e-8, 0.0)
    assert train.lr == (1e-4 if (model, hours) == ("base", "960h") else 3e-5)


def test_timit_and_from_scratch_and_ablations():
    timit = load_recipe(RECIPES / "finetune_timit.toml", FinetuneConfig)
    assert (timit.masking.time_start, timit.masking.channel_start, timit.train.updates) == TABLE_6["timit"]
    assert timit.text.symbols == "whitespace"
    scratch = load_recipe(RECIPES / "finetune_large_scratch_960h.toml", FinetuneConfig)
    assert (scratch.init, scratch.freeze.updates, scratch.model.architecture) == ("scratch", 0, "large")
    for path in (RECIPES / "ablation").glob("*.toml"):
        if path.stem.startswith("finetune"):
            tuned = load_recipe(path, FinetuneConfig)
            assert (tuned.train.updates, tuned.batch.seconds * 16_000) == (60_000, 640_000)
        else:
            config = load_recipe(path, PretrainConfig)
            assert (config.train.updates, config.model.architecture) == (250_000, "base")


@pytest.fixture(scope="module")
def spec() -> str:
    path = Path(os.environ.get("WAV2VEC2_SHARED") or REPOSITORY.parent / "shared") / "SPEC.md"
    if not path.is_file():
        pytest.skip(f"no {path}: set WAV2VEC2_SHARED to the folder that holds it")
    return re.sub(r"\b10m\b", "10min", path.read_text(encoding="utf-8"))


def test_table_6_is_specs(spec):
    text = re.search(r"Table 6 \(p, channel p, updates\): (.*?)\. \(channel", spec, re.S)[1].replace("TIMIT", "timit")
    found = re.findall(r"(\w+)\s+(\.\d+)/(\.\d+)/(\d+)k", text)
    assert {name: (float(p), float(c), 1000 * int(u)) for name, p, c, u in found} == TABLE_6


def test_pre_training_is_specs(spec):
    for name, row in (
        ("pretrain_base", "BASE LS960"),
        ("pretrain_large", "LARGE LS960"),
        ("pretrain_large_lv60k", "LARGE LV60k"),
    ):
        line = next(line for line in spec.splitlines() if line.strip().startswith(f"| {row}"))
        assert int(line.split("|")[-2].replace(",", "")) == PRETRAINING[name][0]
    cells = {cells[0]: cells for cells in _rows(spec.split("## E.")[1].split("## F.")[0])}
    paper = [PRETRAINING[name] for name in ("pretrain_base", "pretrain_large", "pretrain_large_lv60k")]
    assert {float(v) for v in cells["lr peak"][4].split("/")} == {row[1] for row in paper}
    assert [1000 * int(v.strip().rstrip("k")) for v in cells["updates"][4].split("/")] == [row[2] for row in paper]
    assert cells["warm-up"][4] == "8% of updates"
    assert all(row[3] == round(0.08 * row[2]) for row in paper)
    batches = {
        (round(float(m) * 1e6), 1000 * int(k)) for m, k in re.findall(r"([\d.]+)M/(\d+)k", cells["per-GPU batch"][4])
    }
    assert batches == {(row[5], row[6]) for row in paper}
    gpus = cells["GPUs"]
    assert [int(gpus[1]), int(gpus[3]), int(gpus[2])] == [row[4] for row in paper]


def test_error_rates_are_specs(spec):
    models = {"BASE LS": "base", "LARGE LS": "large", "LARGE LV": "large_lv60k", "LARGE scratch": "scratch"}
    found, hours = {}, ""
    for cells in _rows(spec.split("G3. WER tables")[1].split("TIMIT PER")[0]):
        if len(cells) == 5 and cells[1] in models:
            hours = cells[0] or hours
            found[hours, models[cells[1]]] = [float(v) for part in cells[2:] for v in part.split("/")]
    assert found == {key: [rate for rates in row for rate in rates] for key, row in WER.items()}
    assert "LARGE 7.4 dev / 8.3 test" in spec
    assert TIMIT == {"dev": 7.4, "test": 8.3}
    table_4 = re.search(r"Table 4: (.*?) \(\+MLP", re.sub(r"\s+", " ", spec))[1]
    pairs = [(float(mean), float(f"0{deviation}")) for mean, deviation in re.findall(r"([\d.]+)\((\.\d+)\)", table_4)]
    assert pairs == list(TABLE_4.values())


def test_decoding_weights_are_specs(spec):
    text = re.search(
        r"Tables 7/8.*?LS-pretrained 4-gram (.*?); Transf\. (.*?)\.\s+LV-pretrained 4-gram (.*?); Transf\. (.*?)\.\n",
        spec,
        re.S,
    )
    names = ["10min", "1h", "10h", "100h", "960h"]
    for corpus, kind, part in zip(("ls", "ls", "lv", "lv"), ("4gram", "transformer") * 2, text.groups(), strict=True):
        pairs = re.findall(r"(-?\d*\.\d+)/(-?\d*\.\d+)", part)
        assert len(pairs) == 5
        for name, (weight, score) in zip(names, pairs, strict=True):
            search = PAPER_PRESETS[f"paper-{corpus}-{name}-{kind}"].search
            assert search.word_score == float(score)
            unit = 2.302585092994046 if kind == "4gram" else 1.0
            assert search.lm_weight == pytest.approx(float(weight) / unit, abs=1e-6)


def _rows(text: str) -> list[list[str]]:
    lines = (line.strip() for line in text.splitlines())
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


# Parameters of the model (SPEC A8), layers, width; XLS-R's updates, warm-up, crop.
LARGEST = {"1b": (965_514_752, 48, 1280), "2b": (2_162_932_352, 48, 1920), "7b": (6_488_487_168, 128, 2048)}


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_models_are_sharded_and_have_the_published_sizes(name):
    import torch

    from wav2vec2.model.pretraining import Wav2Vec2ForPretraining

    config = load_recipe(RECIPES / f"pretrain_{name}.toml", PretrainConfig)
    parameters, layers, width = LARGEST[name]
    a = config.model.build()
    with torch.device("meta"):
        model = Wav2Vec2ForPretraining(a, config.regularization, config.masking)
    assert (sum(p.numel() for p in model.parameters()), a.layers, a.hidden_size) == (parameters, layers, width)
    assert (config.train.updates, round(config.train.warmup_share * config.train.updates)) == (1_000_000, 32_000)
    assert config.batch.max_seconds == 20.0
    assert 2.8 * 3600 <= config.batch.seconds <= 3.6 * 3600
    assert (config.parallel.strategy, config.parallel.recompute, config.data.mix_beta) == ("fsdp", True, 0.5)


@pytest.mark.parametrize(
    ("name", "seconds", "starts", "updates", "frozen", "lr"),
    [
        # fairseq's examples/wav2vec/xlsr: samples x GPUs x accumulated batches; mask_prob and mask_channel_prob
        ("xls_r", 1_280_000 * 4 * 5 / 16_000, (0.75 / 10, 0.25 / 64), 13_000, 10_000, 3e-4),
        ("xls_r_2b", 2_560_000 * 24 / 16_000, (0.3 / 10, 0.25 / 64), 13_000, 10_000, 1e-5),
        # omnilingual-asr's ctc-from-encoder-recommendation.yaml, on the 32 GPUs of its README
        ("omnilingual", 7_680_000 * 32 / 16_000, (0.0, 0.0), 30_000, 0, 1e-5),
    ],
)
def test_fine_tuning_of_published_encoders(name, seconds, starts, updates, frozen, lr):
    config = load_recipe(RECIPES / f"finetune_{name}.toml", FinetuneConfig)
    train, r = config.train, config.regularization
    assert config.batch.seconds == pytest.approx(seconds)
    assert (config.masking.time_start, config.masking.channel_start) == pytest.approx(starts)
    assert (train.updates, config.freeze.updates, train.lr) == (updates, frozen, lr)
    assert (r.layerdrop, r.activation_dropout, r.dropout, r.feature_grad_mult) == (0.1, 0.1, 0.0, 0.0)
    assert (train.schedule, train.warmup_share, train.hold_share, train.final_scale) == ("tri-stage", 0.1, 0.4, 0.05)


def test_fine_tuning_of_adapt_has_the_masks_of_the_guide_that_it_names():
    """Hugging Face's guide to XLS-R (fine-tune-xlsr-wav2vec2.md) gives transformers mask_time_prob 0.05, no dropout or
    LayerDrop, and 3e-4; transformers' defaults are spans of 10, at least two, and no masked channels.
    """
    config = load_recipe(recipe_path("adapt_finetune.toml", None), FinetuneConfig)
    masks = config.masking
    assert mask_share(masks.time_start, masks.time_span) == 0.05
    assert (masks.channel_start, masks.min_spans) == (0.0, 2)
    assert (config.train.lr, config.regularization.layerdrop, config.regularization.dropout) == (3e-4, 0.0, 0.0)
