"""Model directories: what is saved is loaded again, and anything wrong is one line that names it."""

import json
import re
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.small_models import GROUP

import wav2vec2
from wav2vec2.checkpoints.load import describe
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES, Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

TINY = replace(GROUP, name="mine", conv_channels=(8, 16, 16, 16, 16, 16, 16))
LAYER = replace(TINY, conv_norm="layer", conv_bias=True, normalize_input=True, layer_norm_first=True)
REGULARIZATION = Regularization(0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 3.0, 0.3, 0.999)
MASKING = Masking(0.065, 10, 1, 0.0016, 64)
VOCABULARY = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "a", "b"), normalization=TextNormalization("lower"))

Model = Wav2Vec2ForPretraining | Wav2Vec2ForCTC


def make(kind: str = "ctc", architecture: Architecture = TINY) -> Model:
    torch.manual_seed(0)
    if kind == "ctc":
        return Wav2Vec2ForCTC(architecture, VOCABULARY, REGULARIZATION, MASKING)
    return Wav2Vec2ForPretraining(architecture, REGULARIZATION, MASKING)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    wav2vec2.save(make(), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("kind", ["pretraining", "ctc"])
@pytest.mark.parametrize(
    "architecture", [TINY, LAYER, replace(TINY, normalize_input=True), replace(LAYER, normalize_input=False)]
)
def test_round_trip(kind: str, architecture: Architecture, tmp_path: Path) -> None:
    model = make(kind, architecture)
    wav2vec2.save(model, tmp_path)
    again = wav2vec2.load(tmp_path)
    assert type(again) is type(model)
    assert not again.training
    assert (again.architecture, again.regularization, again.masking) == (architecture, REGULARIZATION, MASKING)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True))
    if isinstance(again, Wav2Vec2ForCTC):
        assert (again.vocabulary, again.blank) == (VOCABULARY, 0)
        assert Vocabulary.load(tmp_path) == VOCABULARY
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


@pytest.mark.parametrize("start", [0.0, 0.004, 0.05, 0.065, 0.075, 0.0012, 0.1])
def test_mask_probabilities_are_kept_to_the_last_digit(start: float, tmp_path: Path) -> None:
    masking = Masking(start, 10, 2, start, 64)
    wav2vec2.save(Wav2Vec2ForCTC(TINY, 7, masking=masking), tmp_path)
    assert wav2vec2.load(tmp_path).masking == masking


def test_published_architectures_get_their_names(tmp_path: Path) -> None:
    small = ARCHITECTURES["tiny"]
    wav2vec2.save(Wav2Vec2ForCTC(small, 7), tmp_path)
    edit(tmp_path, lambda config: config.pop("architecture"))
    assert wav2vec2.load(tmp_path).architecture == small


def test_a_loaded_model_is_saved_with_its_vocabulary(directory: Path, tmp_path: Path) -> None:
    wav2vec2.save(wav2vec2.load(directory), tmp_path / "again")
    assert Vocabulary.load(tmp_path / "again").symbols == VOCABULARY.symbols


def test_a_loaded_model_trains(directory: Path) -> None:
    model = wav2vec2.load(directory)
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in model.parameters())
    assert all(not buffer.is_meta for buffer in model.buffers())


def test_blank_elsewhere(tmp_path: Path) -> None:
    vocabulary = Vocabulary(("a", "b", "<pad>"), blank=2, unknown=None, word_separator=None)
    wav2vec2.save(Wav2Vec2ForCTC(TINY, vocabulary), tmp_path)
    assert wav2vec2.load(tmp_path).blank == 2
    assert json.loads((tmp_path / "config.json").read_text())["pad_token_id"] == 2


@pytest.mark.parametrize("old_spelling", [False, True])
def test_torch_files(old_spelling: bool, directory: Path) -> None:
    tensors = load_file(directory / "model.safetensors")
    if old_spelling:
        names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
        for new, old in names.items():
            tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    expected = wav2vec2.load(directory).state_dict()
    (directory / "model.safetensors").unlink()
    torch.save(tensors, directory / "pytorch_model.bin")
    loaded = wav2vec2.load(directory).state_dict()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_shards(directory: Path) -> None:
    tensors = load_file(directory / "model.safetensors")
    expected = wav2vec2.load(directory).state_dict()
    (directory / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for part, held in parts.items():
        save_file({name: tensors[name] for name in held}, directory / part)
    index = {"weight_map": {name: part for part, held in parts.items() for name in held}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    loaded = wav2vec2.load(directory).state_dict()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_half_precision_weights_become_float32(directory: Path) -> None:
    tensors = load_file(directory / "model.safetensors")
    save_file({name: tensor.half() for name, tensor in tensors.items()}, directory / "model.safetensors")
    assert all(value.dtype == torch.float32 for value in wav2vec2.load(directory).state_dict().values())


def test_a_model_without_masks_needs_no_mask_embedding(directory: Path) -> None:
    edit(directory, lambda config: config.update(mask_time_prob=0.0, mask_feature_prob=0.0))
    change_tensors(directory, lambda tensors: tensors.pop("wav2vec2.masked_spec_embed"))
    assert not wav2vec2.load(directory).encoder.mask_embedding.any()


def edit(directory: Path, change: Callable[[dict], object], name: str = "config.json") -> None:
    content = json.loads((directory / name).read_text())
    change(content)
    (directory / name).write_text(json.dumps(content))


def change_tensors(directory: Path, change: Callable[[dict], object]) -> None:
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors")


def _truncate(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


PRE = "wav2vec2.encoder."
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda d: change_tensors(d, lambda t: t.pop("lm_head.bias")), r"tensor lm_head\.bias is missing"),
    "left over": (lambda d: change_tensors(d, lambda t: t.update(x=torch.ones(1))), r"unexpected tensor x;"),
    "shape": (
        lambda d: change_tensors(d, lambda t: t.update({f"{PRE}layer_norm.bias": torch.ones(3)})),
        r"tensor wav2vec2\.encoder\.layer_norm\.bias has shape \[3\] instead of \[32\]",
    ),
    "cut short": (_truncate, r"model\.safetensors: damaged or cut short"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "neither model.safetensors nor pytorch_model.bin"),
    "no config": (lambda d: (d / "config.json").unlink(), r"config\.json: missing"),
    "no JSON": (lambda d: (d / "config.json").write_text("{"), r"config\.json: not readable JSON"),
    "a list": (lambda d: (d / "config.json").write_text("[]"), r"config\.json: not a JSON object"),
    "wavlm": (lambda d: edit(d, lambda c: c.update(model_type="wavlm")), r"config\.json: is WavLM"),
    "adapter": (lambda d: edit(d, lambda c: c.update(add_adapter=True)), "add_adapter = True is not supported"),
    "relu": (lambda d: edit(d, lambda c: c.update(hidden_act="relu")), "hidden_act = 'relu' is not supported"),
    "heads": (lambda d: edit(d, lambda c: c.update(num_attention_heads=5)), "hidden_size must be a multiple of heads"),
    "type": (lambda d: edit(d, lambda c: c.update(hidden_size="x")), "impossible value"),
    "norm": (lambda d: edit(d, lambda c: c.update(feat_extract_norm="batch")), "impossible value"),
    "normalisation": (
        lambda d: edit(d, lambda c: c.update(do_normalize=True), "preprocessor_config.json"),
        r"preprocessor_config\.json: do_normalize is True, config\.json says False",
    ),
    "rate": (
        lambda d: edit(d, lambda c: c.update(sampling_rate=8000), "preprocessor_config.json"),
        "sampling_rate is 8000",
    ),
    "vocabulary": (
        lambda d: edit(d, lambda c: c.pop("b"), "vocab.json"),
        r"vocab\.json: has 6 symbols, the model's head has 7 rows",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_directory_is_one_line(damage: str, directory: Path) -> None:
    spoil, message = DAMAGE[damage]
    spoil(directory)
    with pytest.raises(UserError, match=message) as caught:
        wav2vec2.load(directory)
    assert "\n" not in str(caught.value)
    assert str(directory) in str(caught.value)


@pytest.mark.parametrize(
    ("family", "stored", "normalized"),
    [("group", None, False), ("layer", None, True), ("group", True, True), ("layer", False, False)],
)
def test_normalisation_is_stored_or_follows_the_family(
    family: str, stored: bool | None, normalized: bool, tmp_path: Path
) -> None:
    wav2vec2.save(make("ctc", TINY if family == "group" else LAYER), tmp_path)
    edit(tmp_path, lambda config: config.pop("normalize_input"))
    (tmp_path / "preprocessor_config.json").unlink()
    if stored is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": stored}))
    assert wav2vec2.load(tmp_path).architecture.normalize_input is normalized


def test_a_full_disk_leaves_the_old_model(directory: Path) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(UserError, match="cannot be written") as caught:
            wav2vec2.save(make("ctc", LAYER), directory)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_no_tokenizer_of_an_older_model_is_left_behind(directory: Path) -> None:
    (directory / "added_tokens.json").write_text('{"<old>": 7}')
    wav2vec2.save(make(), directory)
    assert wav2vec2.load(directory).vocabulary == VOCABULARY
    wav2vec2.save(Wav2Vec2ForCTC(TINY, 7), directory)
    assert wav2vec2.load(directory).vocabulary is None


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    with pytest.raises(UserError, match="model: cannot be written"):
        wav2vec2.save(make(), tmp_path / "model")


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    model = Wav2Vec2ForCTC(TINY, 9)
    model.vocabulary = VOCABULARY
    with pytest.raises(UserError, match="the vocabulary has 7 symbols, the model's head has 9 rows"):
        wav2vec2.save(model, tmp_path)


def test_description(directory: Path) -> None:
    described = describe(directory)
    assert (described.kind, described.vocabulary, described.vocabulary_size) == ("ctc", VOCABULARY, 7)
    assert described.parameters() == sum(p.numel() for p in wav2vec2.load(directory).parameters())
    (directory / "model.safetensors").unlink()
    assert describe(directory).architecture == TINY


def test_a_weight_file_stands_for_its_directory(directory: Path) -> None:
    assert wav2vec2.load(directory / "model.safetensors").architecture == TINY


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model; give a model directory"):
        wav2vec2.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", -4),
        ("conv_kernel", [10, "3"]),
        ("vocab_size", 0),
        ("layer_norm_eps", "x"),
        ("num_hidden_layers", 10**9),
        ("num_hidden_layers", "x"),
        ("longest_heard", -1.0),
        ("longest_heard", "15"),
    ],
)
def test_an_impossible_size_is_one_line(directory: Path, field: str, value: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(UserError, match=r"config\.json: a field has an impossible value") as caught:
        wav2vec2.load(directory)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_refused_by_name(directory: Path) -> None:
    tensors = load_file(directory / "model.safetensors")
    name = next(name for name in tensors if name.endswith("feature_projection.projection.weight"))
    tensors[name].view(-1)[3] = float("nan")
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=rf"tensor {re.escape(name)} holds values that are not finite"):
        wav2vec2.load(directory)


@pytest.mark.parametrize("table", [None, ["model.safetensors"], {"a": 1}])
def test_a_shard_index_that_is_no_table_is_one_line(directory: Path, table: object) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    with pytest.raises(UserError, match="its weight_map is not a table of file names"):
        wav2vec2.load(directory)
