"""A model written in every format and read again: equal tensors, equal text, equal settings."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.checkpoints.doubles import FAIRSEQ2, TORCHAUDIO, Double
from tests.checkpoints.made_up_models import BLANK_LAST, MASKING, REGULARIZATION, STANDARD, make
from tests.small_models import GROUP, LAYER, noise

import wav2vec2
from wav2vec2.audio.normalize import FAIRSEQ_EPSILON, TRANSFORMERS_EPSILON
from wav2vec2.checkpoints.checkpoint import Model
from wav2vec2.checkpoints.convert import write
from wav2vec2.checkpoints.load import describe, open_checkpoint
from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.checkpoints.torchaudio import factory_arguments
from wav2vec2.cli import main
from wav2vec2.decode.greedy import greedy_decode
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.vocabulary import Vocabulary

FORMATS = ("huggingface", "fairseq", "fairseq2", "torchaudio")


def texts(model: Model, vocabulary: Vocabulary) -> list[str]:
    with torch.no_grad():
        logits, lengths = model(noise(16000, 16000)[0])
    return [vocabulary.decode(h.ids) for h in greedy_decode(logits, lengths, vocabulary.blank)]


@pytest.mark.parametrize("to", FORMATS[:3])
@pytest.mark.parametrize("a", [GROUP, LAYER])
def test_pretraining_models_come_back_whole(to: str, a: Architecture, tmp_path: Path) -> None:
    model = make("pretraining", a)
    write(model, tmp_path / "out", to)
    again = wav2vec2.load(tmp_path / "out")
    assert type(again) is type(model)
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())
    assert (again.architecture, again.masking) == (a, MASKING)
    # fairseq's pre-training knows no dropout before a CTC head, fairseq2's neither
    kept = again.regularization if to == "huggingface" else replace(again.regularization, final_dropout=0.06)
    assert kept == REGULARIZATION
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("a", [GROUP, LAYER])
@pytest.mark.parametrize("vocabulary", [STANDARD, BLANK_LAST])
def test_recognisers_write_the_same_text(to: str, a: Architecture, vocabulary: Vocabulary, tmp_path: Path) -> None:
    model = make("ctc", a, vocabulary)
    expected = texts(model, vocabulary)
    assert len(set("".join(expected)) - {" "}) >= 3
    write(model, tmp_path / "out", to)
    again, symbols = wav2vec2.load(tmp_path / "out"), open_checkpoint(tmp_path / "out").vocabulary
    assert symbols is not None
    assert again.architecture.normalize_input == a.normalize_input
    if to != "torchaudio":
        assert texts(again, symbols) == expected
    assert symbols.word_separator == "|"
    assert [symbols.symbols[i] for i in symbols.encode("ab ca")] == ["a", "b", "|", "c", "a"]
    if to != "torchaudio":
        assert again.masking == MASKING
    if vocabulary is STANDARD and to != "torchaudio":
        assert symbols.symbols == STANDARD.symbols
        assert torch.equal(again.head.weight, model.head.weight)


@pytest.mark.parametrize("a", [GROUP, LAYER])
def test_torchaudio_text_without_the_dropped_rows(a: Architecture, tmp_path: Path) -> None:
    """A trained model never emits the names of rows 1 to 3: then the 29 labels give the same text."""
    model = make("ctc", a)
    with torch.no_grad():
        model.head.bias[1:4] = -1e4
    write(model, tmp_path, "torchaudio")
    symbols = open_checkpoint(tmp_path).vocabulary
    assert symbols is not None
    assert symbols.symbols == ("<pad>", "|", "a", "b", "c")
    assert texts(wav2vec2.load(tmp_path), symbols) == texts(model, STANDARD)


def test_names_of_blank_and_begin_swap_and_rows_stay(tmp_path: Path) -> None:
    write(make("ctc", GROUP), tmp_path, "fairseq")
    lines = (tmp_path / "dict.ltr.txt").read_text().split("\n")
    # fairseq itself puts <s> <pad> </s> <unk> before these, and its row 0, <s>, is the blank
    assert [line.split(" ")[0] for line in lines[:-1]] == ["|", "a", "b", "c"]
    head = TorchFile(tmp_path / "checkpoint.pt").content["model"]["w2v_encoder.proj.weight"]
    assert head.shape[0] == 8


def test_classes_that_fairseq_requires_never_win(tmp_path: Path) -> None:
    write(make("ctc", GROUP, BLANK_LAST), tmp_path, "fairseq")
    again = wav2vec2.load(tmp_path)
    logits = again(noise(6000, 6000)[0])[0]
    assert again.vocabulary.symbols == ("<pad>", "<s>", "</s>", "<unk>", "a", "|", "b", "c")
    assert not torch.isin(logits.argmax(-1), torch.tensor([1, 2])).any()
    original = make("ctc", GROUP, BLANK_LAST)(noise(6000, 6000)[0])[0].log_softmax(-1)
    torch.testing.assert_close(logits.log_softmax(-1)[..., [4, 5, 6, 7, 3, 0]], original, atol=1e-5, rtol=0)


@pytest.mark.parametrize("to", ["fairseq", "fairseq2"])
def test_stacked_positions_are_kept(to: str, tmp_path: Path) -> None:
    a = replace(LAYER, pos_conv_depth=3, pos_conv_kernel=15)
    model = make("pretraining", a)
    write(model, tmp_path, to)
    again = wav2vec2.load(tmp_path)
    assert again.architecture == a
    with torch.no_grad():
        assert torch.equal(again.encode(noise(6000, 6000)[0])[0], model.encode(noise(6000, 6000)[0])[0])


@pytest.mark.parametrize("a", [GROUP, LAYER])
@pytest.mark.parametrize("new_weight_norm", [False, True])
@pytest.mark.parametrize("kind", ["ctc", "pretraining", "encoder"])
def test_torchaudio_loads_what_was_written(a: Architecture, new_weight_norm: bool, kind: str, tmp_path: Path) -> None:
    model = make(kind, a)
    write(model, tmp_path / "m.pth", "torchaudio")
    said = json.loads((tmp_path / "m.json").read_text())
    arguments = said["arguments"]
    theirs = Double(TORCHAUDIO, arguments, arguments["aux_num_out"], new_weight_norm=new_weight_norm)
    theirs.load_state_dict(torch.load(tmp_path / "m.pth"), strict=True)
    assert (said["normalize_waveform"], said["sample_rate"]) == (a.normalize_input, 16000)
    with torch.no_grad():
        model, waveforms = model.double(), noise(6000, 6000)[0].double()
        expected = theirs.double()(waveforms)
        ours = model(waveforms)[0] if kind == "ctc" else model.encode(waveforms)[0]
    if kind == "ctc":
        # rows 1 to 3, names that CTC never emits, are dropped
        assert said["labels"] == ["-", "|", "a", "b", "c"]
        ours = ours[..., [0, 4, 5, 6, 7]]
    torch.testing.assert_close(ours, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("a", [GROUP, LAYER])
def test_fairseq2_loads_what_was_written(a: Architecture, tmp_path: Path) -> None:
    model = make("ctc", a)
    write(model, tmp_path, "fairseq2")
    card = json.loads((tmp_path / "model.yaml").read_text())
    assert (card["model_family"], card["model_config"]["target_vocab_size"]) == ("wav2vec2_asr", 8)
    state = torch.load(tmp_path / "model.pt")["model"]
    assert state.pop("masker.temporal_mask_embed").shape == (a.hidden_size,)
    theirs = Double(FAIRSEQ2, factory_arguments(a, REGULARIZATION, 8), 8, new_weight_norm=False)
    theirs.load_state_dict(state, strict=True)
    with torch.no_grad():
        expected = theirs.double()(noise(6000, 6000)[0].double())
        torch.testing.assert_close(model.double()(noise(6000, 6000)[0].double())[0], expected, atol=1e-9, rtol=1e-9)


def test_state_dicts_of_other_tools_load_here(tmp_path: Path) -> None:
    """The reverse: a random double, saved as its library saves it, gives equal outputs here."""
    torch.manual_seed(0)
    for a in (GROUP, LAYER):
        arguments = factory_arguments(a, REGULARIZATION, 29)
        for names, name in ((TORCHAUDIO, "audio.pth"), (FAIRSEQ2, "two.pt")):
            theirs = Double(names, arguments, 29, new_weight_norm=names is TORCHAUDIO)
            folder = tmp_path / f"{a.conv_norm}-{name}"
            folder.mkdir()
            torch.save(theirs.state_dict() if names is TORCHAUDIO else {"model": theirs.state_dict()}, folder / name)
            if names is TORCHAUDIO:
                (folder / "audio.json").write_text(json.dumps({"arguments": arguments}))
            else:
                # what fairseq2 itself writes beside a run: block YAML
                heads = f"encoder_config:\n    num_encoder_attn_heads: {a.heads}\n    norm_order: PRE\n"
                (folder / "model.yaml").write_text(f"name: checkpoint\nmodel_config:\n  {heads}")
            ours = wav2vec2.load(folder)
            with torch.no_grad():
                waveforms = noise(6000, 6000)[0].double()
                expected = theirs.double()(waveforms)
                torch.testing.assert_close(ours.double()(waveforms)[0], expected, atol=1e-9, rtol=1e-9)
            assert ours.architecture.normalize_input == a.normalize_input


UNKNOWN = {
    "encoder.layers.0.conv.pointwise_conv1.weight": "a Conformer encoder is not supported",
    "encoder.layers.0.ffn1.inner_proj.weight": "a Conformer encoder is not supported",
    "encoder.layers.0.self_attn.sdpa.r_proj.weight": "relative positions is not supported",
    "encoder.layers.0.self_attn.q_norm.weight": "normalised queries and keys is not supported",
    "llama_decoder.layers.0.ffn.gate_proj.weight": "an omnilingual LLM recogniser is not supported",
}


@pytest.mark.parametrize("tensor", UNKNOWN)
def test_fairseq2_variants_are_refused_by_name(tensor: str, tmp_path: Path) -> None:
    write(make("ctc", LAYER), tmp_path, "fairseq2")
    state = torch.load(tmp_path / "model.pt")
    state["model"][tensor] = torch.zeros(2, 2)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(UserError, match=UNKNOWN[tensor]) as caught:
        wav2vec2.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_card_that_says_conformer_is_refused(tmp_path: Path) -> None:
    write(make("ctc", LAYER), tmp_path, "fairseq2")
    card = json.loads((tmp_path / "model.yaml").read_text())
    card["model_config"]["encoder_config"]["use_conformer"] = True
    (tmp_path / "model.yaml").write_text(json.dumps(card))
    with pytest.raises(UserError, match="use_conformer"):
        wav2vec2.load(tmp_path)


REFUSED = {
    "epsilon": (replace(GROUP, layer_norm_eps=1e-6), "layer_norm_eps is 1e-06"),
    "adapters": (replace(LAYER, adapter_size=4), "has no language adapters"),
    "projection": (replace(GROUP, conv_channels=(32,) * 7), "the model has one; use --to huggingface"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("to", FORMATS[1:])
def test_what_a_format_cannot_express_is_refused(case: str, to: str, tmp_path: Path) -> None:
    a, message = REFUSED[case]
    if case == "projection" and to == "torchaudio":
        write(make("ctc", a), tmp_path / "out", to)
        return
    with pytest.raises(UserError, match=message) as caught:
        write(make("ctc", a), tmp_path / "out", to)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_refusals(tmp_path: Path) -> None:
    headless = make("encoder", GROUP)
    for to in ("fairseq", "fairseq2"):
        with pytest.raises(UserError, match="has no encoder without a head"):
            write(headless, tmp_path, to)
    with pytest.raises(UserError, match="one positional convolution, the model has 3"):
        write(make("ctc", replace(GROUP, pos_conv_depth=3)), tmp_path, "torchaudio")
    with pytest.raises(UserError, match="even kernel differently"):
        write(make("ctc", replace(GROUP, pos_conv_depth=2)), tmp_path, "fairseq2")
    spaced = Vocabulary(("<pad>", "a b"), unknown=None, word_separator=None, unit="whitespace")
    with pytest.raises(UserError, match="'a b' contains white space"):
        write(make("ctc", GROUP, spaced), tmp_path, "fairseq")
    model = Wav2Vec2ForCTC(GROUP, 6, blank=5)
    for to in FORMATS[1:]:
        with pytest.raises(
            UserError, match=r"blank is row 0, the model's is row 5; give its symbols with --vocabulary"
        ):
            write(model, tmp_path, to)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("epsilon", [FAIRSEQ_EPSILON, TRANSFORMERS_EPSILON])
@pytest.mark.parametrize("a", [GROUP, LAYER])
def test_input_normalisation_is_kept(a: Architecture, epsilon: float, to: str, tmp_path: Path) -> None:
    """Also of a group-norm model: base-960h's directory on the hub says do_normalize, and its fairseq task may."""
    a = replace(a, normalize_input=True, input_epsilon=epsilon)
    write(make("ctc", a), tmp_path / "once", to)
    write(wav2vec2.load(tmp_path / "once"), tmp_path / "twice", "huggingface")
    for folder in ("once", "twice"):
        assert describe(tmp_path / folder).architecture.normalization_epsilon == epsilon


def test_what_fairseq_reads_of_a_normalised_group_norm_model(tmp_path: Path) -> None:
    """fairseq normalises if its task says so, whatever the extractor, and wants the same of both models."""
    write(make("ctc", replace(GROUP, normalize_input=True)), tmp_path, "fairseq")
    content = TorchFile(tmp_path / "checkpoint.pt").content
    cfg = content["cfg"]
    inner = cfg["model"]["w2v_args"]
    assert inner["model"]["extractor_mode"] == "default"
    assert cfg["task"]["normalize"] is cfg["model"]["normalize"] is inner["task"]["normalize"] is True
    assert content["wav2vec2_input_epsilon"] == TRANSFORMERS_EPSILON


@pytest.mark.parametrize("to", FORMATS)
def test_a_full_disk_is_one_clear_line(to: str, tmp_path: Path) -> None:
    model = make("ctc", GROUP)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(UserError, match="cannot be written") as caught:
            write(model, tmp_path, to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wav2vec2.save(make("ctc", replace(GROUP, normalize_input=True)), tmp_path / "model")
    arguments = ["convert", str(tmp_path / "model"), str(tmp_path / "out"), "--to", "fairseq"]
    assert main([*arguments, "--input", "raw", "--dtype", "float16"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "out/checkpoint.pt"), str(tmp_path / "out/dict.ltr.txt")]
    tensors = TorchFile(tmp_path / "out/checkpoint.pt").content["model"]
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    (tmp_path / "out/dict.ltr.txt").rename(tmp_path / "letters.txt")
    back = ["convert", str(tmp_path / "out"), str(tmp_path / "back"), "--vocabulary", str(tmp_path / "letters.txt")]
    assert main(back) == 0
    assert Vocabulary.load(tmp_path / "back").symbols == STANDARD.symbols
    assert describe(tmp_path / "back").architecture == GROUP
    assert main([*back[:-1], str(tmp_path / "nothing")]) == 2
    assert "no such vocabulary" in capsys.readouterr().err
