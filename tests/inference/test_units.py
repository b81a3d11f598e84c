import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.inference.test_features import write
from tests.small_models import GROUP, noise, recognizer

import wav2vec2
from wav2vec2.cli import main
from wav2vec2.inference.units import flat_units, quantized_units, run_lengths
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = Wav2Vec2ForPretraining(GROUP).eval()
    wav2vec2.save(model, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", ["base-tiny", "large-tiny"])
def test_fairseq_codes(name: str, reference_root: Path) -> None:
    model = wav2vec2.load(reference_root / f"{name}.pt")
    assert isinstance(model, Wav2Vec2ForPretraining)
    expected = load_file(reference_root / f"{name}.expected.safetensors")
    codes, _ = quantized_units(model, expected["waveform_equal"])
    theirs = expected["codes"].long()
    assert torch.equal(codes, theirs)
    assert len(torch.unique(theirs)) > 3


def test_padding_changes_nothing(directory: Path) -> None:
    model = wav2vec2.load(directory)
    waveforms, lengths = noise(9000, 5000, 100)
    codes, frames = quantized_units(model, waveforms, lengths)
    for row, (samples, count) in enumerate(zip(lengths.tolist(), frames.tolist(), strict=True)):
        assert not codes[row, count:].any()
        if count:
            assert torch.equal(codes[row, :count], quantized_units(model, waveforms[row : row + 1, :samples])[0][0])


@given(
    st.integers(1, 40).flatmap(
        lambda entries: st.tuples(st.just(entries), st.lists(st.tuples(*[st.integers(0, entries - 1)] * 3), min_size=1))
    )
)
def test_flat_units_can_be_taken_apart_and_runs_put_together(case: tuple[int, list[tuple[int, int, int]]]) -> None:
    entries, rows = case
    codes = np.array(rows, dtype=np.int64)
    flat = flat_units(codes, entries)
    assert np.array_equal(np.stack(np.unravel_index(flat, (entries,) * 3), 1), codes)
    starts, durations = run_lengths(flat)
    assert np.array_equal(np.repeat(flat[starts], durations), flat)
    assert (np.diff(flat[starts]) != 0).all()


def test_every_format_says_the_same(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.wav", 20_000)
    model = wav2vec2.load(directory)
    waveform = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
    codes = quantized_units(model, waveform[None])[0][0].numpy()
    flat = codes[:, 0] * GROUP.codebook_entries + codes[:, 1]
    assert main(["units", str(directory), str(path)]) == 0
    name, units = capsys.readouterr().out.rstrip("\n").split("\t")
    assert (name, units) == (str(path), " ".join(map(str, flat)))
    assert main(["units", str(directory), str(path), "--format", "jsonl", "--merge"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert np.repeat(line["units"], line["durations"]).tolist() == flat.tolist()
    assert line["codes"][0] == codes[0].tolist()
    assert line["times"][0] == 200 / 16_000
    out = ["--format", "npz", "--out", str(tmp_path / "out")]
    assert main(["units", str(directory), str(path), *out]) == 0
    arrays = np.load(tmp_path / "out" / "a.npz")
    assert np.array_equal(arrays["codes"], codes)
    assert np.array_equal(arrays["units"], flat)


def test_bad_input_is_one_line(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = str(write(tmp_path / "good.wav", 4000))
    vocabulary = Vocabulary.from_transcripts(["A FOX"])
    wav2vec2.save(recognizer(GROUP, vocabulary), tmp_path / "ctc")
    for model, arguments, message in (
        (tmp_path / "ctc", [good], "without a quantizer"),
        (tmp_path / "nothing", [good], "no such model"),
        (directory, [good, "--format", "npz"], "--out"),
        (directory, [good, "--out", str(tmp_path)], "--format npz"),
        (directory, [str(tmp_path / "missing.wav")], "1 of 1"),
        (directory, [str(write(tmp_path / "short.wav", 100))], "1 of 1"),
    ):
        assert main(["units", str(model), *arguments]) == 2
        said = capsys.readouterr().err.splitlines()
        assert message in said[-1]
        assert len(said) <= 2
