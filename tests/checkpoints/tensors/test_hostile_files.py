"""Hostile and damaged files: refused in one line, without running code or allocating the memory that they claim."""

import json
import pickle
import struct
import sys
import tracemalloc
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.checkpoints.made_up_models import make
from tests.small_models import GROUP

import wav2vec2
from wav2vec2.checkpoints.convert import write
from wav2vec2.checkpoints.load import describe
from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.checkpoints.tensors.unpickle import plain_settings
from wav2vec2.errors import UserError

GADGETS = [
    "posix system",
    "nt system",
    "builtins eval",
    "builtins exec",
    "builtins getattr",
    "builtins __import__",
    "__builtin__ apply",
    "torch load",
    "torch.serialization load",
    "torch.storage _load_from_bytes",
    "torch.hub load",
    "torch.jit load",
    "torch._utils _rebuild_device_tensor_from_numpy",
    "torch._utils _rebuild_wrapper_subclass",
    "torch._dynamo.guards GuardBuilder.get",
    "subprocess Popen",
    "importlib import_module",
    "functools partial",
    "operator attrgetter",
    "webbrowser open",
    "runpy _run_code",
    "_pickle loads",
    "wav2vec2.cli main",
]


def zip_with(path: Path, data: bytes, compression: int = zipfile.ZIP_STORED, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        for name, content in members.items():
            archive.writestr(f"archive/data/{name}", content)


@pytest.mark.parametrize("gadget", GADGETS)
def test_what_could_run_is_refused_by_name(gadget: str, tmp_path: Path) -> None:
    module, name = gadget.split(" ")
    call = f"c{module}\n{name}\n(S'touch {tmp_path}/ran'\ntR.".encode()
    before = set(sys.modules)
    zip_with(tmp_path / "zip.pt", call)
    (tmp_path / "old.pt").write_bytes(call)
    for file in ("zip.pt", "old.pt"):
        for door in (wav2vec2.load, describe):
            with pytest.raises(UserError, match=rf"{file}.*asks for .*{name.split('.')[0]}") as caught:
                door(tmp_path / file)
            assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert module in before or module not in sys.modules


def test_a_call_inside_fairseqs_names_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.pt").unlink(missing_ok=True)
    zip_with(tmp_path / "m.pt", b"cfairseq.file_io\nPathManager.rm\n(S'/'\ntR.")
    with pytest.raises(UserError, match="no table of tensors"):
        wav2vec2.load(tmp_path / "m.pt")
    assert "fairseq" not in sys.modules


def test_a_compressed_archive_is_refused_unopened(tmp_path: Path) -> None:
    zip_with(tmp_path / "m.pt", b"\x80\x02" + b"]" * (1 << 24), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "m.pt").stat().st_size < 1 << 17
    tracemalloc.start()
    with pytest.raises(UserError, match="compressed, which torch"):
        wav2vec2.load(tmp_path / "m.pt")
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_a_compressed_tensor_is_refused_unopened(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "m.pt", "w") as bad:
        for member in good.infolist():
            kind = zipfile.ZIP_DEFLATED if "/data/" in member.filename else zipfile.ZIP_STORED
            bad.writestr(member.filename, good.read(member), kind)
    with pytest.raises(UserError, match="compressed"):
        TorchFile(tmp_path / "m.pt")


@pytest.mark.parametrize("claimed", [10**6, 10**12, 2**62])
def test_a_storage_is_no_larger_than_its_bytes(claimed: int, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as good:
        data = good.read("good/data.pkl")
    assert data.count(struct.pack("<BH", ord("M"), 1000)) == 2  # the storage's size and the tensor's
    zip_with(
        tmp_path / "m.pt", data.replace(b"M\xe8\x03", b"\x8a\x08" + struct.pack("<q", claimed)), **{"0": b"0" * 4000}
    )
    with pytest.raises(UserError, match="cut short"):
        TorchFile(tmp_path / "m.pt")


def test_settings_that_expand_without_end(tmp_path: Path) -> None:
    bomb: list = ["x"]
    for _ in range(40):
        bomb = [bomb] * 10
    loop: dict = {}
    loop["again"] = loop
    for value in (bomb, loop, {"a": "${b}", "b": "${a}"}):
        with pytest.raises(ValueError, match="refers to itself"):
            plain_settings({"cfg": value} if isinstance(value, list) else value)
    torch.save({"cfg": {"model": {"x": bomb}, "task": {}}, "model": {"a": torch.ones(1)}}, tmp_path / "m.pt")
    with pytest.raises(UserError, match=r"m\.pt: its configuration cannot be read"):
        wav2vec2.load(tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("field", "value"),
    [("encoder_layers", 10**9), ("encoder_embed_dim", 2**40), ("conv_pos", 10**9), ("final_dim", -3)],
)
def test_sizes_beyond_any_model(field: str, value: int, tmp_path: Path) -> None:
    write(make("pretraining", GROUP), tmp_path, "fairseq")
    content = torch.load(tmp_path / "checkpoint.pt")
    content["cfg"]["model"][field] = value
    torch.save(content, tmp_path / "checkpoint.pt")
    for door in (wav2vec2.load, describe):
        with pytest.raises(UserError, match=r"checkpoint\.pt: ") as caught:
            door(tmp_path)
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small file of each format."""
    root = tmp_path_factory.mktemp("written")
    model = make("ctc", GROUP)
    files = {to: write(model, root / to, to)[0] for to in ("fairseq", "fairseq2", "torchaudio")}
    write(model, root / "huggingface", "huggingface")
    torch.save(torch.load(files["fairseq"]), root / "old.pt", _use_new_zipfile_serialization=False)
    return {**files, "huggingface": root / "huggingface" / "model.safetensors", "old": root / "old.pt"}


@given(part=st.floats(0, 0.9999), kind=st.sampled_from(["fairseq", "fairseq2", "torchaudio", "huggingface", "old"]))
@settings(max_examples=15, deadline=None)
def test_cut_short_anywhere(written: dict[str, Path], part: float, kind: str) -> None:
    whole = written[kind].read_bytes()
    try:
        written[kind].write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(UserError, match=written[kind].name) as caught:
            wav2vec2.load(written[kind])
        assert "\n" not in str(caught.value)
    finally:
        written[kind].write_bytes(whole)


@given(
    place=st.floats(0, 1),
    byte=st.integers(0, 255),
    kind=st.sampled_from(["fairseq", "torchaudio", "huggingface", "old"]),
)
@settings(max_examples=20, deadline=None)
def test_a_changed_byte_is_one_line_or_harmless(written: dict[str, Path], place: float, byte: int, kind: str) -> None:
    whole = written[kind].read_bytes()
    # where structure is: the headers of all formats are at either end
    at = int(place * min(6000, len(whole) - 1))
    try:
        written[kind].write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
        wav2vec2.load(written[kind])
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017  most changes do no harm
    finally:
        written[kind].write_bytes(whole)


def test_namespaces_and_enumerations_come_through() -> None:
    nested = Namespace(model=Namespace(layers=3, kinds=("a", None)), rate=0.5)
    from wav2vec2.checkpoints.tensors.unpickle import Namespace as Ours
    from wav2vec2.checkpoints.tensors.unpickle import Opaque

    ours = Ours()
    ours.__dict__.update(layers=3, mode=Opaque("layer_norm"), other=Opaque(1, 2), meter=Opaque())
    assert plain_settings(ours) == {"layers": 3, "mode": "layer_norm", "other": None, "meter": None}
    assert plain_settings(nested) is None  # the real class never gets here


def test_a_damaged_description_is_one_line(written: dict[str, Path]) -> None:
    beside = written["torchaudio"].with_suffix(".json")
    whole = beside.read_text()
    for change in ({"labels": []}, {"labels": "abc"}, {"arguments": 3}, {"sample_rate": 8000}):
        beside.write_text(json.dumps(json.loads(whole) | change))
        with pytest.raises(UserError, match=r"model\.json: "):
            wav2vec2.load(written["torchaudio"])
    beside.write_text(whole)
    card = written["fairseq2"].parent / "model.yaml"
    whole = card.read_text()
    for text in ("[", "- a", "model_config: 3", "model_config: {encoder_config: {num_encoder_attn_heads: x}}"):
        card.write_text(text)
        with pytest.raises(UserError, match=r"model\.yaml: "):
            wav2vec2.load(written["fairseq2"])
    card.write_text(whole)
    tokenizer = written["fairseq2"].parent / "tokenizer.model"
    data = tokenizer.read_bytes()
    for spoilt in (b"", data[:30], b"\xff" * 50, pickle.dumps({})):
        tokenizer.write_bytes(spoilt)
        with pytest.raises(UserError, match=r"tokenizer\.model: "):
            wav2vec2.load(written["fairseq2"])
    tokenizer.write_bytes(data)
