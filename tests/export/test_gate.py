"""The command's gate and its complaints, with a stand-in for the exported file: no export is made here."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from tests.export.conftest import VOCABULARY
from tests.small_models import noise
from torch import Tensor

import wav2vec2
from wav2vec2.cli import main
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError
from wav2vec2.export import command as export
from wav2vec2.export.onnx_graph import data_file
from wav2vec2.inference.exported import ExportedRecognizer, ExportMetadata, OnnxModel
from wav2vec2.inference.torch_program import TorchProgram
from wav2vec2.model.ctc import Wav2Vec2ForCTC


class StandIn(ExportedRecognizer):
    """The model itself, its logits changed by `spoil`."""

    def __init__(self, model: Wav2Vec2ForCTC, metadata: ExportMetadata, spoil: Callable[[Tensor], Tensor]):
        super().__init__(metadata)
        self.model, self.spoil = model, spoil

    @torch.inference_mode()
    def run(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        logits, frames = self.model(waveforms, lengths)
        return self.spoil(logits), frames


@pytest.fixture
def write(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """write(spoil, *options) runs the command with a stand-in."""
    out = tmp_path / "model.onnx"

    def run(spoil: Callable[[Tensor], Tensor], *options: str) -> int:
        def writer(given: object, model: Wav2Vec2ForCTC, metadata: ExportMetadata) -> Callable[[Path], object]:
            def write(path: Path) -> StandIn:
                path.write_bytes(b"exported")
                data_file(path).write_bytes(b"weights")
                return StandIn(model, metadata, spoil)

            return write

        monkeypatch.setattr(export, "_writer", writer)
        return main(["export", str(directory), str(out), *options])

    return run  # type: ignore[return-value]


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "speech.wav", 0.1 * noise(16_000)[0][0].numpy(), 16_000, subtype="FLOAT")
    return tmp_path / "speech.wav"


def swapped(logits: Tensor) -> Tensor:
    """Every symbol becomes its neighbour."""
    return logits.roll(1, -1)


def test_an_equal_file_is_put_at_its_place(
    write: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write(lambda logits: logits) == 0
    assert (tmp_path / "model.onnx").read_bytes() == b"exported"
    assert (tmp_path / "model.onnx.data").read_bytes() == b"weights"
    assert "largest difference of outputs" in capsys.readouterr().out


def test_a_link_stays_a_link(write: Callable[..., int], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "model.onnx").symlink_to(tmp_path / "elsewhere" / "version1.onnx")
    assert write(lambda logits: logits) == 0
    assert (tmp_path / "model.onnx").is_symlink()
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {"version1.onnx", "version1.onnx.data"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda logits: logits + 0.1, "outputs differ by"),
        (lambda logits: logits * float("nan"), "outputs differ by"),
        (swapped, "outputs differ by"),
    ],
)
def test_a_spoiled_file_is_refused_and_the_old_one_stays(
    write: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Tensor], Tensor],
    message: str,
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"old")
    (tmp_path / "model.onnx.data").write_bytes(b"old weights")
    assert write(spoil) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert files == {"model.onnx": b"old", "model.onnx.data": b"old weights"}


def test_int8_is_judged_by_its_text(
    write: Callable[..., int], speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ["--int8", "--check", str(speech)]
    assert write(lambda logits: logits * 1.5, *check) == 0
    assert "0.00 % of characters differ" in capsys.readouterr().out
    assert write(swapped, *check) == 2
    assert "% of characters differ; --max-text-difference allows at most 1 %" in capsys.readouterr().err


def test_int8_is_judged_by_its_error_rate(
    write: Callable[..., int],
    directory: Path,
    speech: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = wav2vec2.Transcriber(directory, device="cpu")(speech).text
    row = Utterance(id="a", path=str(speech), start=0, samples=16_000, sample_rate=16_000, text=text, split="test")
    check = ["--int8", "--check", str(write_manifest([row], tmp_path / "manifest.parquet")), "--split", "test"]
    assert write(lambda logits: logits * 1.5, *check) == 0
    assert "error rate 0.00 % (model 0.00 %)" in capsys.readouterr().out
    assert write(swapped, *check) == 2
    assert "against the model's 0.00 %; --max-error-increase allows at most 0.3 points more" in capsys.readouterr().err


def test_wrong_options_are_one_line(
    directory: Path, tmp_path: Path, speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = str(directory), str(tmp_path / "model.onnx")
    (tmp_path / "folder.onnx").mkdir()
    for arguments, message in (
        ([model, str(tmp_path / "model.bin")], "model.onnx"),
        ([model, out, "--to", "torch-export"], "model.pt2"),
        ([model, str(tmp_path / "model.pt2"), "--to", "torch-export", "--int8"], "--int8 is only for"),
        ([model, out, "--int8"], "--check"),
        ([model, out, "--split", "dev"], "--check"),
        ([model, out, "--tolerance", "nan"], "--tolerance"),
        ([model, str(tmp_path / "folder.onnx")], "is a folder"),
        ([str(tmp_path / "nothing"), out], "no such model"),
    ):
        assert main(["export", *arguments]) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert message in said[0]
    assert not (tmp_path / "model.onnx").exists()


def test_foreign_and_damaged_files_are_one_line(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    for model, suffix in ((OnnxModel, ".onnx"), (TorchProgram, ".pt2")):
        path = tmp_path / f"broken{suffix}"
        with pytest.raises(UserError, match="no such file"):
            model(path)
        path.write_bytes(b"not a model at all" * 50)
        with pytest.raises(UserError, match="cannot open it") as caught:
            wav2vec2.Transcriber(path)
        assert "\n" not in str(caught.value)


def test_metadata_survive_and_damage_is_named(directory: Path) -> None:
    architecture = wav2vec2.load(directory).architecture
    metadata = ExportMetadata(architecture, VOCABULARY, log_softmax=True, precision="int8")
    facts = metadata.as_strings()
    assert ExportMetadata.from_strings(facts, "x") == metadata
    for key in ("vocabulary", "architecture", "outputs"):
        with pytest.raises(UserError, match=r"x: its metadata is damaged"):
            ExportMetadata.from_strings({k: v for k, v in facts.items() if k != key}, "x")
    with pytest.raises(UserError, match="export the model again"):
        ExportMetadata.from_strings({}, "x")
