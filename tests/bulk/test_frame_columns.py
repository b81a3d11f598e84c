"""Outputs of layers and log-probabilities of a manifest's rows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.bulk.test_bulk import LENGTHS, manifest, model

import wav2vec2
from wav2vec2.bulk.results import read_results
from wav2vec2.cli import main
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.waveforms import read_utterance

__all__ = ["manifest", "model"]


def run(model: Path, manifest: Path, out: Path, *options: str) -> list[dict[str, object]]:
    words = ["features", str(model), str(manifest), "--out", str(out), "--device", "cpu", "--task-minutes", "0.01"]
    assert main([*words, *options]) == 0
    return list(read_results(out))


@torch.no_grad()
def test_layers_are_those_of_the_model_alone(model: Path, manifest: Path, tmp_path: Path) -> None:
    rows = run(model, manifest, tmp_path / "out", "--layer", "0", "2")
    loaded = wav2vec2.load(model)
    assert [row["id"] for row in rows] == [f"u{number}" for number in range(len(LENGTHS))]
    for row, utterance in zip(rows, Manifest.open(manifest), strict=True):
        if utterance.samples < 400:
            assert (row["frames"], row["layer_2"]) == (0, [])
            continue
        waveform = torch.from_numpy(read_utterance(utterance))[None]
        states, _ = loaded.encode_layers(waveform, None, [0, 2], closing_norm=True)
        for name, state in zip(("layer_0", "layer_2"), states, strict=True):
            ours = np.array(row[name], dtype=np.float16).reshape(row["frames"], -1)  # type: ignore[call-overload]
            np.testing.assert_allclose(ours, state[0].numpy(), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_emissions_are_those_of_the_model_alone(model: Path, manifest: Path, tmp_path: Path) -> None:
    rows = run(model, manifest, tmp_path / "out", "--emissions", "--dtype", "float32")
    loaded = wav2vec2.load(model)
    utterance = Manifest.open(manifest).utterance(6)
    logits, _ = loaded(torch.from_numpy(read_utterance(utterance))[None])
    ours = np.array(rows[6]["emissions"]).reshape(rows[6]["frames"], -1)  # type: ignore[call-overload]
    np.testing.assert_allclose(ours, logits[0].log_softmax(-1).numpy(), atol=1e-4)
    about = read_results(tmp_path / "out").about
    assert about["symbols"] == list(loaded.vocabulary.symbols)
    assert about["first_frame"] + about["frame_step"] == loaded.architecture.frame_center(1)


def test_numbers_are_float16_and_other_readers_see_them(model: Path, manifest: Path, tmp_path: Path) -> None:
    run(model, manifest, tmp_path / "out")
    column = read_results(tmp_path / "out").table(["layer_2"]).schema.field("layer_2")
    assert str(column.type) == "large_list<element: halffloat>"
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(tmp_path / "out")
    assert frame["layer_2"][0].dtype == np.float16
    assert len(frame) == len(LENGTHS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--layer", "9"], "this model has 2 layers: give 1 to 2"),
        (["--emissions", "--layer", "1"], "exclude each other"),
        (["--all-layers", "--layer", "1"], "exclude each other"),
    ],
)
def test_impossible_choices_are_one_line(
    options: list[str], said: str, model: Path, manifest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["features", str(model), str(manifest), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, *options]) == 2
    assert said in capfd.readouterr().err
