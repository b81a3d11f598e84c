"""Ways to fine-tune: each trains its own parameters and no others, goes on where it was stopped, and loads elsewhere.

transformers and peft are the oracles of what adapters and LoRA compute and of the files that they are kept in.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.parity.closeness import FLOAT32, assert_close
from tests.small_models import noise, perturbed
from tests.train.tiny_run import TINY, finetune_config, logged, with_train
from torch import Tensor

import wav2vec2
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import write_manifest
from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.train.checkpoint.closed_reader import ClosedReader
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.finetune import lora
from wav2vec2.train.finetune.command import run
from wav2vec2.train.finetune.config import FinetuneConfig, FreezeConfig
from wav2vec2.train.finetune.ways import TuneConfig, language_name, rate_lines
from wav2vec2.train.options import ParallelConfig

ADAPTERS = TuneConfig(what="adapters", adapter_size=3, language="swh")
LORA = TuneConfig(what="lora", lora_rank=2)
WAYS = {"everything": TuneConfig("everything"), "context": TuneConfig("context"), "adapters": ADAPTERS, "lora": LORA}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained model of the family of XLS-R, with weights of its own everywhere."""
    folder = tmp_path_factory.mktemp("encoder")
    sizes = replace(TINY, conv_norm="layer", conv_bias=True, normalize_input=True, layer_norm_first=True)
    torch.manual_seed(1)
    wav2vec2.save(perturbed(Wav2Vec2ForPretraining(sizes.build()), 0.05), folder)
    return folder


def recipe(corpus: Path, output: Path, encoder: Path, tune: TuneConfig) -> FinetuneConfig:
    config = finetune_config(corpus, output, str(encoder))
    config = replace(config, tune=tune, freeze=FreezeConfig(), data=replace(config.data, validation_split=""))
    return replace(config, regularization=replace(config.regularization, layerdrop=0.0))


@pytest.fixture(scope="module")
def tuned(labelled_corpus: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model directory of each way."""
    folder = tmp_path_factory.mktemp("tuned")
    return {way: run(recipe(labelled_corpus, folder / way, encoder, tune)) for way, tune in WAYS.items()}


def of_encoder(path: Path) -> dict[str, Tensor]:
    return wav2vec2.load(path).encoder.state_dict()


@pytest.mark.parametrize("way", WAYS)
def test_a_way_changes_its_own_parameters_and_no_others(way: str, encoder: Path, tuned: dict[str, Path]) -> None:
    before, after = of_encoder(encoder), of_encoder(tuned[way])
    assert before.keys() == {name for name in after if ".adapter." not in name}
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    extractor = {name for name in before if name.startswith("feature_encoder.")}
    matrices = {
        name
        for name in before
        if ".layers." in name and name.endswith(".weight") and "norm" not in name and name.startswith("context.")
    }
    expected = {"everything": set(before), "context": set(before) - extractor, "adapters": set(), "lora": matrices}
    assert changed == expected[way]
    assert len(matrices) == 2 * 6


def test_adapters_are_the_file_that_transformers_loads(tuned: dict[str, Path], encoder: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder, ours = tuned["adapters"], wav2vec2.load(tuned["adapters"])
    assert isinstance(ours, Wav2Vec2ForCTC)
    assert (ours.language, ours.architecture.adapter_size) == ("swh", 3)
    waveforms = noise(9_000, 9_000)[0]
    with torch.no_grad():
        expected = ours(waveforms)[0]
    assert torch.equal(wav2vec2.load(folder, language="swh")(waveforms)[0], expected)
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(folder).eval()
    with torch.no_grad():
        assert_close(expected, theirs(waveforms).logits, FLOAT32, "as a whole")
        for parameter in theirs._get_adapters().values():
            parameter.zero_()
        assert not torch.allclose(theirs(waveforms).logits, expected, atol=1e-2)
        theirs.load_adapter("swh")
        assert_close(expected, theirs(waveforms).logits, FLOAT32, "by load_adapter")
    tokenizer = transformers.AutoProcessor.from_pretrained(folder, target_lang="swh").tokenizer
    assert tokenizer("AB BA").input_ids == ours.vocabulary.encode("AB BA")
    wav2vec2.save(ours, tmp_path / "again")
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "again").iterdir()}
    for name in ("adapter.swh.safetensors", "vocab.json", "tokenizer_config.json"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_lora_is_merged_for_everybody_and_kept_for_peft(tuned: dict[str, Path], encoder: Path) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    folder, ours = tuned["lora"], wav2vec2.load(tuned["lora"])
    waveforms = noise(9_000, 9_000)[0]
    with torch.no_grad():
        expected = ours(waveforms)[0]
        theirs = transformers.Wav2Vec2ForCTC.from_pretrained(folder).eval()
        assert_close(expected, theirs(waveforms).logits, FLOAT32, "merged")
        base = transformers.Wav2Vec2ForCTC.from_pretrained(encoder, vocab_size=len(ours.vocabulary))
        beside = peft.PeftModel.from_pretrained(base, folder / lora.FOLDER).eval()
        assert_close(expected, beside(waveforms).logits, FLOAT32, "by peft")
    assert beside.peft_config["default"].base_model_name_or_path == str(encoder)


@pytest.mark.parametrize("way", ["adapters", "lora"])
def test_stopped_twice_it_ends_bit_for_bit_the_same(
    way: str, tuned: dict[str, Path], labelled_corpus: Path, encoder: Path, tmp_path: Path
) -> None:
    config = recipe(labelled_corpus, tmp_path / "run", encoder, WAYS[way])
    for _ in range(config.train.updates):
        run(with_train(config, max_minutes=1e-6))
    model = run(config)
    for name in (
        "model.safetensors",
        "adapter.swh.safetensors" if way == "adapters" else "lora/adapter_model.safetensors",
    ):
        assert (model / name).read_bytes() == (tuned[way] / name).read_bytes(), name


def test_checkpoints_hold_what_is_trained_and_go_on_from_the_same_model_only(
    tuned: dict[str, Path], labelled_corpus: Path, encoder: Path, tmp_path: Path
) -> None:
    held = {}
    for way, folder in tuned.items():
        newest = Checkpoints(folder.parent / "checkpoints", 1).latest()
        held[way] = ClosedReader(newest).read_metadata().state_dict_metadata
    assert "model.encoder.feature_encoder.layers.0.conv.weight" in held["context"]
    for way, part in (("adapters", ".adapter."), ("lora", ".lora_")):
        names = {name for name in held[way] if name.startswith("model.")}
        assert names
        assert all(part in name or name.startswith("model.head.") for name in names)
    moved = tmp_path / "moved"
    shutil.copytree(encoder, moved)
    config = recipe(labelled_corpus, tmp_path / "run", moved, LORA)
    run(with_train(config, max_minutes=1e-6))
    model = wav2vec2.load(moved)
    with torch.no_grad():
        model.encoder.mask_embedding.add_(1)
    wav2vec2.save(model, moved)
    with pytest.raises(UserError, match="was started from another model, or on other data"):
        run(config)


@pytest.mark.parametrize(("way", "precision"), [("lora", "fp16"), ("adapters", "bf16")])
def test_half_precision_learns_as_full_precision_does(
    way: str, precision: str, labelled_corpus: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wav2vec2.train.loss_scale._START", 256.0)
    losses = []
    for chosen in ("fp32", precision):
        config = with_train(recipe(labelled_corpus, tmp_path / chosen, encoder, WAYS[way]), precision=chosen, updates=2)
        quiet = replace(config.regularization, activation_dropout=0.0)
        config = replace(config, regularization=quiet, log=replace(config.log, every=2, save_every=0))
        run(replace(config, parallel=ParallelConfig(recompute=chosen == precision)))
        (line,) = logged(config.output)
        assert line["skipped"] == 0
        losses.append(line["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)


def test_adapters_go_on_from_those_of_the_same_symbols(
    tuned: dict[str, Path], labelled_corpus: Path, tmp_path: Path
) -> None:
    config = recipe(labelled_corpus, tmp_path / "run", tuned["adapters"], replace(ADAPTERS, language=""))
    config = with_train(replace(config, freeze=FreezeConfig(share=1.0)), updates=1)
    before, after = of_encoder(tuned["adapters"]), of_encoder(run(config))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    rows = [replace(row, text="XYZ", language="deu") for row in Manifest.open(labelled_corpus)]
    other = write_manifest(rows, tmp_path / "other.parquet")
    config = replace(config, output=str(tmp_path / "other"), data=replace(config.data, manifest=str(other)))
    model = run(config)
    after = of_encoder(model)
    assert not any(torch.equal(value, after[name]) for name, value in before.items() if name.endswith("down.weight"))
    assert all(torch.equal(value, after[name]) for name, value in before.items() if ".adapter." not in name)
    assert (model / "adapter.deu.safetensors").exists()


def test_what_has_no_adapters_or_nothing_to_adapt_is_refused(labelled_corpus: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    wav2vec2.save(Wav2Vec2ForPretraining(TINY.build()), tmp_path / "base")
    with pytest.raises(UserError, match=r"layer norms come first .* use --tune\.what lora"):
        run(recipe(labelled_corpus, tmp_path / "run", tmp_path / "base", ADAPTERS))
    for way in ("context", "adapters", "lora"):
        config = recipe(labelled_corpus, tmp_path / "run", Path("scratch"), WAYS[way])
        with pytest.raises(UserError, match=f"tune.what = {way} needs a pre-trained model, and init is scratch"):
            run(config)


def test_the_language_is_the_given_one_or_that_of_the_manifest() -> None:
    assert language_name("swh", ["eng"]) == "swh"
    assert language_name("", ["eng"]) == "eng"
    assert language_name("", []) == language_name("", ["deu", "eng"]) == language_name("", ["a/b"]) == "und"
    with pytest.raises(UserError, match=r"tune\.language is '\.\./x': give a code such as swh"):
        language_name("../x", [])


def test_a_learning_rate_for_all_weights_is_named_where_few_are_trained() -> None:
    assert rate_lines("context", 5e-5) == rate_lines("adapters", 1e-3) == []
    (line,) = rate_lines("lora", 5e-5)
    assert line.startswith("train.lr = 5e-05 is low for lora")
