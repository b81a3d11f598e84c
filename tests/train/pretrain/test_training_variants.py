"""Every variant trains: losses fall, runs resume, contradictions are one line, units come from earlier models."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.model.variants.variants import VARIANTS
from tests.train.tiny_run import TINY, micro_batch, pretrain_config, with_train

from wav2vec2.checkpoints.load import load
from wav2vec2.config import as_plain
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Masking, Regularization
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.variants.pretraining import pretraining_model
from wav2vec2.model.variants.variant import Variant
from wav2vec2.train.checkpoint.contents import refuse_changes
from wav2vec2.train.metrics import LOG_FILE
from wav2vec2.train.pretrain.command import PretrainConfig, build_model, run
from wav2vec2.train.pretrain.fixed_units import CENTROIDS, UnitsConfig
from wav2vec2.train.pretrain.objective import ContrastiveObjective, LossConfig


def recipe(corpus: Path, output: Path, updates: int = 12, **changes: object) -> PretrainConfig:
    config = with_train(pretrain_config(corpus, output), updates=updates, lr=5e-3)
    return replace(config, log=replace(config.log, every=2, validate_every=4, save_every=0), **changes)


def records(output: Path, kind: str = "train") -> list[dict[str, float]]:
    lines = (output / LOG_FILE).read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


@pytest.fixture(scope="module")
def earlier(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An earlier model that fixes units."""
    return run(recipe(corpus, tmp_path_factory.mktemp("earlier") / "run", updates=3))


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "fixed units"])
def test_the_loss_of_every_variant_falls(name: str) -> None:
    """Ten updates of two micro-batches, compared on the same masks and distractors before and after."""
    torch.manual_seed(0)
    model = pretraining_model(TINY.build(VARIANTS[name]), Regularization(dropout=0.0, layerdrop=0.0), Masking())
    objective = ContrastiveObjective(model, LossConfig(), seed=3)
    steps, batches = torch.optim.AdamW(model.parameters(), lr=5e-3), [micro_batch((0, 1, 2)), micro_batch((3, 4))]

    def losses(update: int) -> list[torch.Tensor]:
        ready = [objective.ready(batch, update) for batch in batches]
        counts = objective.counts(ready, update)
        return [objective.loss(model, batch, number, counts, update)[0] for number, batch in enumerate(ready)]

    first = sum(losses(0))
    for update in range(10):
        sum(losses(update)).backward()
        steps.step()
        steps.zero_grad()
    last = sum(losses(0))
    assert torch.isfinite(last)
    assert last < first - 0.01


SOME = ["quantized inputs, continuous targets", "continuous targets, separate encoders", "negatives of all kinds"]


@pytest.mark.parametrize("name", SOME)
def test_a_run_of_a_variant_leaves_its_model(name: str, corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    directory = run(recipe(corpus, output, updates=4, variant=VARIANTS[name]))
    assert records(output, "validation")[-1]["score"] > 0
    model = load(directory)
    assert isinstance(model, Wav2Vec2ForPretraining)
    assert model.architecture.variant == VARIANTS[name]
    assert ("soft_perplexity" in records(output)[0]) == model.learned_codebooks


@pytest.mark.parametrize("kind", ["quantizer", "kmeans", "mfcc"])
def test_fixed_units_are_learned(kind: str, earlier: Path, corpus: Path, tmp_path: Path) -> None:
    output, source = tmp_path / "run", "" if kind == "mfcc" else str(earlier)
    units = UnitsConfig(source=source, kind=kind, layer=1, clusters=6, fit_frames=200)  # type: ignore[arg-type]
    config = recipe(corpus, output, variant=Variant(targets="fixed"), units=units)
    model = load(run(with_train(config, updates=6)))
    assert isinstance(model, Wav2Vec2ForPretraining)
    assert (output / CENTROIDS).exists() == (kind != "quantizer")
    fitted = (output / CENTROIDS).read_bytes() if kind != "quantizer" else b""
    losses = [record["loss"] for record in records(output)]
    assert all(math.isfinite(loss) for loss in losses)
    entries = model.quantizer.codevectors
    theirs = load(earlier).quantizer.codevectors
    if kind == "quantizer":
        assert torch.equal(entries, theirs)
    else:
        assert model.codebooks == (1, 6)
        start = build_model(config)[0].quantizer.codevectors
        assert not torch.equal(entries, start)
        assert (output / CENTROIDS).read_bytes() == fitted


def test_resuming_is_exact_with_variants(earlier: Path, corpus: Path, tmp_path: Path) -> None:
    units = UnitsConfig(source=str(earlier), kind="kmeans", layer=1, clusters=6, fit_frames=200)
    masking = Masking(span_lengths="poisson", overlap=False)
    for changes in (
        {"variant": Variant(targets="fixed", codebook_negatives=3), "units": units, "masking": masking},
        {"variant": Variant(inputs="quantized", batch_negatives=3)},
    ):
        weights = []
        for name, parts in (("whole", (1e9,)), ("cut", (1e-9, 1e9))):
            output = tmp_path / f"{name}{len(changes)}"
            for minutes in parts:
                config = recipe(corpus, output, updates=2, **changes)
                directory = run(with_train(config, max_minutes=minutes))
            weights.append(load(directory).state_dict())
        assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": Variant(target_mlp=True)}, "variant: target_mlp is for continuous targets"),
        ({"masking": Masking(span_lengths="normal")}, "masking: span_lengths = normal needs span_spread"),
        ({"variant": Variant(targets="fixed")}, "targets = fixed needs units"),
        ({"units": UnitsConfig(source="somewhere")}, "other targets have none"),
        ({"units": UnitsConfig(kind="mfcc")}, "other targets have none"),
        (
            {"variant": Variant(targets="fixed"), "units": UnitsConfig(source="somewhere", kind="mfcc")},
            "need no model; leave out somewhere",
        ),
        (
            {"variant": Variant(targets="fixed"), "units": UnitsConfig(source="EARLIER", kind="kmeans", layer=9)},
            "0 to 2",
        ),
        (
            {
                "variant": Variant(targets="fixed"),
                "units": UnitsConfig(source="EARLIER", kind="kmeans", layer=0, clusters=90, fit_frames=50),
            },
            "points for 90 clusters; lower it",
        ),
        ({"init": "EARLIER", "variant": Variant(targets="continuous")}, "is a different variant"),
    ],
)
def test_contradictions_are_one_line(
    changes: dict[str, object], message: str, earlier: Path, corpus: Path, tmp_path: Path
) -> None:
    if changes.get("init"):
        changes = {**changes, "init": str(earlier)}
    units = changes.get("units")
    if isinstance(units, UnitsConfig) and units.source == "EARLIER":
        changes = {**changes, "units": replace(units, source=str(earlier))}
    with pytest.raises(UserError, match=message) as caught:
        run(recipe(corpus, tmp_path / "run", **changes))
    assert "\n" not in str(caught.value)


def test_units_need_the_same_frames(earlier: Path, corpus: Path, tmp_path: Path) -> None:
    config = recipe(corpus, tmp_path / "run", variant=Variant(targets="fixed"), units=UnitsConfig(source=str(earlier)))
    other = replace(config, model=replace(config.model, conv_kernels=(10, 3, 3, 3, 3, 3, 2)))
    with pytest.raises(UserError, match="has different frames"):
        run(other)


def test_a_run_from_before_the_best_weights_had_a_key_chose_them_by_the_total_loss() -> None:
    old = as_plain(PretrainConfig())
    del old["loss"]["best_by"]
    refuse_changes(Path("run"), old, PretrainConfig(loss=LossConfig(best_by="total")))
    with pytest.raises(UserError, match=r"loss\.best_by = 'total', now it is 'contrastive'"):
        refuse_changes(Path("run"), old, PretrainConfig())


def test_a_run_of_a_version_without_variants_can_be_resumed() -> None:
    old = as_plain(PretrainConfig())
    del old["variant"], old["masking"]["overlap"], old["loss"]["diversity_over"]
    refuse_changes(Path("run"), old, PretrainConfig())
    with pytest.raises(UserError, match=r"variant\.inputs = 'continuous', now it is 'quantized'"):
        refuse_changes(Path("run"), old, PretrainConfig(variant=Variant(inputs="quantized")))
    with pytest.raises(UserError, match="seed = 2, now it is 1"):
        refuse_changes(Path("run"), {**old, "seed": 2}, PretrainConfig())
    with pytest.raises(UserError, match="forgotten = 3, now it is None"):
        refuse_changes(Path("run"), {**old, "forgotten": 3}, PretrainConfig())
