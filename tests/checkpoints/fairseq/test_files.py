"""fairseq's files of both eras, made here in miniature from our own models."""

import sys
import types
import zipfile
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.small_models import GROUP

import wav2vec2
from wav2vec2.audio.normalize import FAIRSEQ_EPSILON
from wav2vec2.checkpoints.fairseq.config import parse_conv_layers
from wav2vec2.checkpoints.fairseq.files import read_dictionary
from wav2vec2.checkpoints.load import describe
from wav2vec2.checkpoints.names import fairseq_name
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture, Masking
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining

TINY = replace(
    GROUP, input_epsilon=FAIRSEQ_EPSILON, codevector_size=32, final_size=32, negatives=100, logit_temperature=0.1
)
LAYER = replace(TINY, conv_norm="layer", conv_bias=True, normalize_input=True, layer_norm_first=True)


def settings(a: Architecture) -> dict[str, Any]:
    return {
        "extractor_mode": "default" if a.conv_norm == "group" else "layer_norm",
        "conv_feature_layers": "[(C, 10, 5)] + [(C, 3, 2)] * 4 + [(C,2,2)] * 2".replace("C", str(a.feature_size)),
        "conv_bias": a.conv_bias,
        "encoder_embed_dim": a.hidden_size,
        "encoder_layers": a.layers,
        "encoder_ffn_embed_dim": a.ffn_size,
        "encoder_attention_heads": a.heads,
        "layer_norm_first": a.layer_norm_first,
        "conv_pos": a.pos_conv_kernel,
        "conv_pos_groups": a.pos_conv_groups,
        "latent_vars": a.codebook_entries,
        "latent_temp": "(2, 0.25, 0.99)",
        "quantize_targets": True,
    }


def named(model: torch.nn.Module, a: Architecture, ctc: bool) -> dict[str, torch.Tensor]:
    layer_norm = a.conv_norm == "layer"
    return {fairseq_name(n, ctc=ctc, layer_norm_extractor=layer_norm): t for n, t in model.state_dict().items()}


def write(
    path: Path, a: Architecture, *, new_era: bool, ctc: bool, change: Callable[[dict], object] | None = None
) -> None:
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(a, 6) if ctc else Wav2Vec2ForPretraining(a)
    pretraining, task = settings(a), {"normalize": a.normalize_input}
    if change:
        change(pretraining)
    finetuning = {"mask_prob": 0.5, "mask_channel_prob": 0.1, "mask_channel_length": 64, "layerdrop": 0.1}
    if new_era:
        cfg = {"model": pretraining, "task": task}
        if ctc:
            cfg = {"model": {**finetuning, "w2v_args": cfg}, "task": {**task, "labels": "ltr"}}
        content = {"args": None, "cfg": cfg}
    else:
        args = Namespace(**pretraining, **task)
        if ctc:
            args = Namespace(**finetuning, **task, labels="ltr", w2v_args=args)
        content = {"args": args}
    torch.save({**content, "model": named(model, a, ctc)}, path)


@pytest.mark.parametrize("new_era", [False, True])
@pytest.mark.parametrize("a", [TINY, LAYER])
def test_pretrained(new_era: bool, a: Architecture, tmp_path: Path) -> None:
    write(tmp_path / "m.pt", a, new_era=new_era, ctc=False)
    model = wav2vec2.load(tmp_path / "m.pt")
    assert isinstance(model, Wav2Vec2ForPretraining)
    assert model.architecture == a
    assert model.masking == Masking(0.065, 10, 2, 0.0, 10)
    assert (model.regularization.tau_end, model.regularization.tau_decay) == (0.25, 0.99)
    torch.manual_seed(0)
    expected = Wav2Vec2ForPretraining(a).state_dict()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("new_era", [False, True])
def test_fine_tuned(new_era: bool, tmp_path: Path) -> None:
    write(tmp_path / "m.pt", LAYER, new_era=new_era, ctc=True)
    (tmp_path / "dict.ltr.txt").write_text("| 10\na 5\n")
    model = wav2vec2.load(tmp_path / "m.pt")
    assert isinstance(model, Wav2Vec2ForCTC)
    assert model.vocabulary.symbols == ("<pad>", "<s>", "</s>", "<unk>", "|", "a")
    assert model.blank == 0
    assert model.masking == Masking(0.05, 10, 2, 0.0015625, 64)
    assert (model.regularization.layerdrop, model.regularization.feature_grad_mult) == (0.1, 0.0)
    described = describe(tmp_path / "m.pt")
    assert (described.kind, described.vocabulary_size, described.architecture) == ("ctc", 6, LAYER)
    assert described.parameters() == sum(p.numel() for p in model.parameters())


def test_without_a_dictionary_there_is_no_vocabulary(tmp_path: Path) -> None:
    write(tmp_path / "m.pt", TINY, new_era=True, ctc=True)
    assert wav2vec2.load(tmp_path / "m.pt").vocabulary is None


def test_a_dictionary_of_another_model_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.pt", TINY, new_era=True, ctc=True)
    (tmp_path / "dict.ltr.txt").write_text("| 10\na 5\nb 4\n")
    with pytest.raises(UserError, match=r"dict\.ltr\.txt: has 7 symbols, the head of m\.pt has 6 rows"):
        wav2vec2.load(tmp_path / "m.pt")


def test_a_missing_projection_is_the_identity(tmp_path: Path) -> None:
    a = replace(TINY, conv_channels=(32,) * 7)
    write(tmp_path / "m.pt", a, new_era=True, ctc=False)
    content = torch.load(tmp_path / "m.pt")
    for name in ("post_extract_proj.weight", "post_extract_proj.bias"):
        del content["model"][name]
    torch.save(content, tmp_path / "m.pt")
    projection = wav2vec2.load(tmp_path / "m.pt").encoder.feature_projection
    x = torch.randn(3, 32)
    assert torch.equal(projection(x), x)


REFUSED = {
    "layer_type": "conformer",
    "quantize_input": True,
    "quantizer_factor": 2,
    "conv_pos_batch_norm": True,
    "crop_seq_to_multiple": 8,
    "adp_num": 1,
    "activation_fn": "relu",
    "extractor_mode": "batch_norm",
}


@pytest.mark.parametrize("field", REFUSED)
def test_settings_that_change_the_encoder_are_refused_by_name(field: str, tmp_path: Path) -> None:
    change = {"quantizer_depth": 2, field: REFUSED[field]}
    write(tmp_path / "m.pt", TINY, new_era=True, ctc=False, change=lambda s: s.update(change))
    with pytest.raises(UserError, match=f"{field} = {REFUSED[field]!r} is not supported"):
        wav2vec2.load(tmp_path / "m.pt")


def test_a_blank_that_is_favoured_after_the_head_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "m.pt", TINY, new_era=True, ctc=True)
    content = torch.load(tmp_path / "m.pt")
    content["cfg"]["model"]["blank_weight"] = 2.0
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(UserError, match=r"blank_weight = 2\.0 is not supported; only 0 can be loaded"):
        wav2vec2.load(tmp_path / "m.pt")


def test_contradicting_normalisation_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.pt", LAYER, new_era=True, ctc=True)
    content = torch.load(tmp_path / "m.pt")
    content["cfg"]["task"]["normalize"] = False
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(UserError, match="different values of 'normalize'"):
        wav2vec2.load(tmp_path / "m.pt")


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    write(tmp_path / "m.pt", TINY, new_era=False, ctc=False)
    content = torch.load(tmp_path / "m.pt", weights_only=False)
    del content["model"]["encoder.layers.1.fc1.bias"]
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(UserError, match=r"m\.pt: tensor encoder\.layers\.1\.fc1\.bias is missing"):
        wav2vec2.load(tmp_path / "m.pt")


@pytest.mark.parametrize("content", [{"state": 1}, {"model": {}}, {"model": {}, "args": None, "cfg": None}, [1]])
def test_other_files_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(UserError, match=r"m\.pt: "):
        wav2vec2.load(tmp_path / "m.pt")


def test_conv_layers_are_parsed_not_evaluated() -> None:
    text = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + 2 * [(512,2,2)]"
    assert parse_conv_layers(text) == [(512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2]
    for bad in ("__import__('os').system('true')", "[(1,2)]", "[(1,2,3)] * 10**9", "[(1,2,-3)]", "[(1,2,x)]", "(", "7"):
        with pytest.raises((ValueError, SyntaxError)):
            parse_conv_layers(bad)


def _pickled(place: str, state: dict[str, object]) -> object:
    """An object that pickles as an instance of a class elsewhere, with this state."""
    module, _, name = place.rpartition(".")
    home = sys.modules[module]
    if not hasattr(home, name):
        setattr(home, name, type(name, (), {"__module__": module}))
    made = getattr(home, name)()
    vars(made).update(state)
    return made


def omegaconf(value: object) -> object:
    """A value as omegaconf's containers and nodes pickle it: content, leaf values, metadata full of types."""
    metadata = _pickled("omegaconf.base.Metadata", {"ref_type": Any, "object_type": dict, "element_type": int})
    if isinstance(value, dict):
        content = {key: omegaconf(item) for key, item in value.items()}
        state = {"_metadata": metadata, "_parent": None, "_content": content}
        return _pickled("omegaconf.dictconfig.DictConfig", state)
    if isinstance(value, list):
        return _pickled(
            "omegaconf.listconfig.ListConfig", {"_metadata": metadata, "_content": list(map(omegaconf, value))}
        )
    return _pickled("omegaconf.nodes.AnyNode", {"_metadata": metadata, "_val": value})


@pytest.fixture
def fake_omegaconf(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("omegaconf", "omegaconf.base", "omegaconf.dictconfig", "omegaconf.listconfig", "omegaconf.nodes"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))


@pytest.mark.parametrize("ctc", [False, True])
def test_omegaconf_containers(ctc: bool, tmp_path: Path, fake_omegaconf: None, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "m.pt", LAYER, new_era=True, ctc=ctc)
    expected = wav2vec2.load(tmp_path / "m.pt")
    content = torch.load(tmp_path / "m.pt")
    content["cfg"]["model"]["normalize"] = "${task.normalize}"
    content["cfg"] = omegaconf(content["cfg"])
    torch.save(content, tmp_path / "m.pt")
    monkeypatch.undo()
    loaded = wav2vec2.load(tmp_path / "m.pt")
    assert "omegaconf" not in sys.modules
    assert (loaded.architecture, loaded.masking) == (expected.architecture, expected.masking)
    assert loaded.regularization == expected.regularization


def test_convolutions_as_nested_lists(tmp_path: Path) -> None:
    nested = [list(layer) for layer in parse_conv_layers("[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16,2,2)] * 2")]
    write(tmp_path / "m.pt", TINY, new_era=True, ctc=False, change=lambda s: s.update(conv_feature_layers=nested))
    assert wav2vec2.load(tmp_path / "m.pt").architecture == TINY


def test_another_sample_rate_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.pt", TINY, new_era=True, ctc=False)
    content = torch.load(tmp_path / "m.pt")
    content["cfg"]["task"]["sample_rate"] = 8000
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(UserError, match="sample_rate is 8000"):
        wav2vec2.load(tmp_path / "m.pt")


def test_an_optimisers_state_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "m.pt", TINY, new_era=True, ctc=False)
    content = torch.load(tmp_path / "m.pt")
    content["last_optimizer_state"] = {"state": {0: {"exp_avg": torch.zeros(4_000_000)}}}
    content["optimizer_history"] = [{"num_updates": 1234}]
    content["extra_state"] = {"train_iterator": {"epoch": 5}}
    torch.save(content, tmp_path / "m.pt")
    assert describe(tmp_path / "m.pt").training == "1,234 updates, epoch 5, with optimiser state"
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    # spoil its values: nobody notices
    data = bytearray((tmp_path / "m.pt").read_bytes())
    data[largest.header_offset + 1000 : largest.header_offset + 2000] = b"x" * 1000
    (tmp_path / "m.pt").write_bytes(data)
    assert wav2vec2.load(tmp_path / "m.pt").architecture == TINY


def test_rows_of_a_dictionary_stay_and_the_first_names_swap(tmp_path: Path) -> None:
    letters = list("|ETAONIHSRDLUMWCFGYPBVK'XJQZ")
    path = tmp_path / "dict.ltr.txt"
    path.write_text("".join(f"{letter} {100 - row}\n" for row, letter in enumerate(letters)))
    vocabulary = read_dictionary(path)
    assert vocabulary.symbols == ("<pad>", "<s>", "</s>", "<unk>", *letters)
    assert (vocabulary.blank, vocabulary.unknown, vocabulary.word_separator) == (0, 3, "|")
    with pytest.raises(UserError, match="absent"):
        read_dictionary(tmp_path / "absent")
