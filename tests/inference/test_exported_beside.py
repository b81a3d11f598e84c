"""An exported file in the model's folder: used on a CPU while it fits the weights, and never otherwise."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.inference.live.test_command import Piped
from tests.inference.spoken_symbols import VOCABULARY
from tests.small_models import GROUP, SMALLEST, recognizer

from wav2vec2.checkpoints.huggingface.directory import save
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.decode.presets import Preset, write_preset
from wav2vec2.errors import UserError
from wav2vec2.export.command import ExportOptions
from wav2vec2.export.command import run as export
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.exported import OnnxModel
from wav2vec2.inference.exported_beside import weights_print
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.live.command import ListenOptions
from wav2vec2.inference.live.command import run as listen
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.vocabulary import Vocabulary

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
SOUND = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    model = recognizer(replace(GROUP, **SMALLEST), VOCABULARY)  # type: ignore[arg-type]
    model.longest_heard = 3.5
    save(model, folder)
    export(ExportOptions(str(folder), folder / "model.onnx"))
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "model"))


def test_it_is_used_and_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transcriber = Transcriber(folder)
    assert isinstance(transcriber.model, OnnxModel)
    said = capsys.readouterr().err
    assert said == (
        f"{folder / 'model.onnx'}: used (float32), because it lies beside the model; --precision float32 turns it off\n"
    )
    plain = Transcriber(folder, precision="float32")
    assert isinstance(plain.model, Wav2Vec2ForCTC)
    assert capsys.readouterr().err == ""
    assert transcriber(SOUND).text == plain(SOUND).text


def test_it_knows_what_the_model_has_heard_and_leaves_what_it_cannot_do(folder: Path) -> None:
    exported = AcousticModel(folder).model
    assert isinstance(exported, OnnxModel)
    assert exported.longest_heard == 3.5
    for options in (ComputeOptions(pieces="none"), ComputeOptions(statistics="recording")):
        assert isinstance(AcousticModel(folder, compute=options).model, Wav2Vec2ForCTC)


def test_a_preset_s_statistics_of_the_recording_take_the_model(folder: Path, tmp_path: Path) -> None:
    preset = tmp_path / "preset.toml"
    write_preset(Preset("greedy", statistics="recording", margin=0.02), preset)
    with Transcriber(folder, decoding=DecodingOptions(preset=str(preset))) as transcriber:
        assert isinstance(transcriber.model, Wav2Vec2ForCTC)


def test_an_exported_file_says_once_that_it_measures_each_part(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transcriber = Transcriber(folder / "model.onnx", pieces="none", window_seconds=1.0, context_seconds=0.2)
    transcriber([np.tile(SOUND, 2), np.tile(SOUND, 3)])
    said = capsys.readouterr().err
    assert said.count("give the model directory in its place") == 1
    Transcriber(folder / "model.onnx")([SOUND, np.tile(SOUND, 5)])
    assert not capsys.readouterr().err


def test_listening_takes_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pcm = (SOUND * 8_000).astype("<i2").tobytes()
    monkeypatch.setattr("sys.stdin", Piped(pcm))
    listen(ListenOptions(("-",), str(folder), chunk=0.5))
    assert "speak now" in capfd.readouterr().err


def test_copies_of_a_folder_are_the_same_model_whatever_their_dates(folder: Path) -> None:
    (folder / "model.safetensors").touch()
    assert isinstance(AcousticModel(folder).model, OnnxModel)


def test_it_is_not_used_with_other_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Transcriber(folder, precision="float32").model
    assert isinstance(model, Wav2Vec2ForCTC)
    with torch.no_grad():
        model.head.bias[0] += 1e-3
    save(model, folder)
    assert isinstance(AcousticModel(folder).model, Wav2Vec2ForCTC)
    assert "model.onnx: not used, because it was made from other weights; export the model again" in (
        capsys.readouterr().err
    )
    export(ExportOptions(str(folder), folder / "model.onnx"))
    assert isinstance(AcousticModel(folder).model, OnnxModel)


def test_it_is_not_used_with_other_symbols(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / "vocab.json").read_text(encoding="utf-8")
    (folder / "vocab.json").write_text(text.replace('"Q"', '"Ä"'), encoding="utf-8")
    assert isinstance(AcousticModel(folder).model, Wav2Vec2ForCTC)
    assert "not used" in capsys.readouterr().err
    capsys.readouterr()
    assert isinstance(AcousticModel(folder, vocabulary=Vocabulary.load(folder)).model, Wav2Vec2ForCTC)


def test_a_damaged_one_does_no_harm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:1000])
    assert isinstance(AcousticModel(folder).model, Wav2Vec2ForCTC)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"the exported file beside the model is not used: {path}: ONNX Runtime cannot open it")


def test_exporting_again_takes_the_model_and_not_the_file(folder: Path) -> None:
    export(ExportOptions(str(folder), folder / "again.onnx"))
    with pytest.raises(UserError, match="already an exported file"):
        export(ExportOptions(str(folder / "again.onnx"), folder / "third.onnx"))


def test_shards_count_as_weights(folder: Path) -> None:
    whole = weights_print(folder)
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = '{"weight_map": {"lm_head.weight": "model-1.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    assert weights_print(folder) == whole
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(UserError, match=r"model-1\.safetensors: cannot be read"):
        weights_print(folder)
    assert weights_print(folder / "model.onnx") == ""
