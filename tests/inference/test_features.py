from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import load_file
from tests.small_models import FAMILIES, noise, recognizer

import wav2vec2
from wav2vec2.cli import main
from wav2vec2.inference.frame_columns import chosen_layers
from wav2vec2.model.encoder import SharedEncoder
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_transcripts(["A FOX"])
CONVENTIONS = ["fairseq", "transformers"]


@pytest.fixture(params=["group", "layer"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    model = recognizer(replace(FAMILIES[request.param], layers=3), VOCABULARY)
    wav2vec2.save(model, tmp_path / "model")
    return tmp_path / "model"


def write(path: Path, samples: int) -> Path:
    soundfile.write(path, 0.1 * noise(samples)[0][0].numpy(), 16_000, subtype="FLOAT")
    return path


def test_transformers_hidden_states(directory: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(directory).eval()
    waveforms, _ = noise(6000)
    with torch.no_grad():
        output = theirs.wav2vec2(waveforms, output_hidden_states=True)
    model = wav2vec2.load(directory)
    with torch.no_grad():
        states, _ = model.encode_layers(waveforms, None, range(4), closing_norm=True)
    # its versions differ in whether the last of `hidden_states` has passed the final norm; `last_hidden_state` has
    for mine, other in zip(states, [*output.hidden_states[:3], output.last_hidden_state], strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-5)


@torch.no_grad()
def test_the_conventions_differ_by_the_final_norm_of_the_pre_ln_family(directory: Path) -> None:
    model = wav2vec2.load(directory)
    waveforms, lengths = noise(6000, 3000)
    fairseq, transformers = (
        model.encode_layers(waveforms, lengths, range(4), closing_norm=name == "transformers")[0]
        for name in CONVENTIONS
    )
    for layer in range(3):
        assert torch.equal(fairseq[layer], transformers[layer])
    expected = fairseq[3]
    if model.architecture.layer_norm_first:
        expected = model.encoder.context.norm(fairseq[3])
        assert not torch.allclose(fairseq[3], transformers[3], atol=1e-2)
    frames = model.architecture.frame_length(3000)
    for row, count in enumerate((expected.shape[1], frames)):
        np.testing.assert_allclose(transformers[3][row, :count], expected[row, :count], atol=1e-5)
    assert not transformers[3][1, frames:].any()


@pytest.mark.parametrize("name", ["base-tiny", "large-tiny"])
def test_fairseq_layers(name: str, reference_root: Path) -> None:
    from safetensors.torch import load_file as load_tensors

    model = wav2vec2.load(reference_root / f"{name}.pt")
    expected = load_tensors(reference_root / f"{name}.expected.safetensors")
    depth = model.architecture.layers
    layers = list(range(1, depth + 1))
    with torch.no_grad():
        states, _ = model.encode_layers(expected["waveform_equal"], None, layers, closing_norm=False)
    for layer, state in zip(layers, states, strict=True):
        np.testing.assert_allclose(state, expected[f"equal.layer{layer - 1}"], atol=2e-5)


@pytest.mark.parametrize("file_format", ["npz", "safetensors"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_files_hold_layers_and_frame_times(directory: Path, tmp_path: Path, file_format: str, convention: str) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    write(audio / "a.wav", 9000), write(audio / "b.wav", 5000)
    options = ["--convention", convention, "--format", file_format, "--all-layers"]
    assert main(["features", str(directory), str(audio), "--out", str(tmp_path / "out"), *options]) == 0
    model = wav2vec2.load(directory)
    for name in "ab":
        path = tmp_path / "out" / f"{name}.{file_format}"
        arrays = dict(np.load(path)) if file_format == "npz" else load_file(path)
        waveform = torch.from_numpy(soundfile.read(audio / f"{name}.wav", dtype="float32")[0])
        if model.architecture.normalize_input:
            waveform = (waveform - waveform.mean()) / (waveform.var(unbiased=False) + 1e-7).sqrt()
        with torch.no_grad():
            closing_norm = convention == "transformers"
            expected, _ = model.encode_layers(waveform[None], None, range(4), closing_norm=closing_norm)
        assert sorted(arrays) == ["layer_0", "layer_1", "layer_2", "layer_3", "times"]
        for layer in range(4):
            np.testing.assert_allclose(arrays[f"layer_{layer}"], expected[layer][0], atol=1e-4)
        assert arrays["times"].tolist() == [(320 * frame + 200) / 16_000 for frame in range(len(expected[0][0]))]


def test_layers_are_counted_from_the_last_too() -> None:
    architecture = replace(FAMILIES["group"], layers=12)
    assert chosen_layers((-1, -4, 9, -13), architecture, every=False) == [0, 9, 12]
    assert chosen_layers((), architecture, every=False) == [12]


def test_long_recordings_come_in_windows(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longest: list[int] = []
    encode_layers = SharedEncoder.encode_layers

    def spy(self: SharedEncoder, waveforms: torch.Tensor, *arguments: object, **options: object) -> object:
        longest.append(waveforms.shape[1])
        return encode_layers(self, waveforms, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(SharedEncoder, "encode_layers", spy)
    path = write(tmp_path / "long.wav", 48_000)
    windows = ["--window-seconds", "1", "--context-seconds", "0.3", "--batch-seconds", "2"]
    out = tmp_path / "out"
    assert main(["features", str(directory), str(path), "--out", str(out), "--layer", "-3", *windows]) == 0
    assert max(longest) <= 16_400
    arrays = np.load(out / "long.npz")
    model = wav2vec2.load(directory)
    assert len(arrays["layer_1"]) == len(arrays["times"]) == model.architecture.frame_length(48_000)


def test_bad_input_is_one_line(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = str(write(tmp_path / "good.wav", 4000))
    other = tmp_path / "other"
    other.mkdir()
    short, out = str(write(tmp_path / "short.wav", 100)), ["--out", str(tmp_path / "out")]
    twin = str(write(other / "good.wav", 4000))
    for arguments, message in (
        ([good, "--layer", "4", *out], "this model has 3 layers: give 1 to 3, 0 for the input of the first, or count"),
        ([good, "--layer", "-5", *out], "--layer -5: this model has 3 layers"),
        ([good], "--out"),
        ([good, "--layer", "1", "--all-layers", *out], "exclude each other"),
        ([good, "--window-seconds", "1", *out], "window_seconds"),
        ([good, "--device", "nowhere", *out], "nowhere"),
        ([str(tmp_path / "missing.wav"), *out], "1 of 1"),
        ([short, *out], "1 of 1"),
        ([good, good, *out], None),
        ([good, twin, *out], None),
    ):
        status = main(["features", str(directory), *arguments])
        said = capsys.readouterr().err
        assert status == (2 if message else 0), (arguments, said)
        if message:
            assert message in said.splitlines()[-1]
            assert len(said.splitlines()) <= 2
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"other-good.npz"}
