"""The epsilon of the input normalisation, by the model's origin, on every way from a file to the network.

At -44 dBFS transformers' 1e-7 and fairseq's 1e-5 give amplitudes that differ by a tenth; both are common on the hub.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tests.small_models import LAYER, recognizer

import wav2vec2
from wav2vec2.audio.normalize import FAIRSEQ_EPSILON, TRANSFORMERS_EPSILON, normalize_waveform
from wav2vec2.audio.recordings import open_recording
from wav2vec2.checkpoints.convert import write
from wav2vec2.data.dataset import Row, read_rows
from wav2vec2.data.utterance import Utterance
from wav2vec2.inference.acoustic_model import AcousticModel, AcousticOutput
from wav2vec2.inference.exported import ExportMetadata
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train.options import ModelConfig

VOCABULARY = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFG"))
QUIET = 10 ** (-44 / 20)
EPSILONS = [FAIRSEQ_EPSILON, TRANSFORMERS_EPSILON]


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    samples = np.random.default_rng(0).normal(0, QUIET, 24_000).astype(np.float32)
    soundfile.write(tmp_path / "quiet.wav", samples, 16_000, subtype="FLOAT")
    return tmp_path / "quiet.wav"


def expected(model: Wav2Vec2ForCTC, file: Path, epsilon: float) -> torch.Tensor:
    samples = soundfile.read(file, dtype="float32")[0]
    with torch.no_grad():
        return model(torch.from_numpy(normalize_waveform(samples, epsilon))[None])[0][0].log_softmax(-1)


def emitted(source: Path, file: Path) -> torch.Tensor:
    (pool,) = AcousticModel(source).pools([open_recording(file)], log_probs=True)
    (output,) = pool
    assert isinstance(output, AcousticOutput)
    return torch.from_numpy(output.log_probs)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("to", ["huggingface", "fairseq"])
def test_transcription_has_the_epsilon_of_the_model(to: str, epsilon: float, quiet: Path, tmp_path: Path) -> None:
    model = recognizer(replace(LAYER, input_epsilon=epsilon), VOCABULARY)
    write(model, tmp_path / "model", to)
    found = emitted(tmp_path / "model", quiet)
    torch.testing.assert_close(found, expected(model, quiet, epsilon), atol=1e-4, rtol=0)
    (other,) = set(EPSILONS) - {epsilon}
    assert (found - expected(model, quiet, other)).abs().max() > 1e-2


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_training_reads_with_it(epsilon: float, quiet: Path) -> None:
    utterance = Utterance(id="a", path=str(quiet), start=0, samples=24_000, sample_rate=16_000, text=None)
    (row,) = read_rows((Row(utterance, 0, 0, 24_000),), epsilon=epsilon).waveforms
    samples = soundfile.read(quiet, dtype="float32")[0]
    assert np.array_equal(row.numpy(), normalize_waveform(samples, epsilon))


def test_an_exported_file_keeps_it_and_older_ones_have_fairseqs() -> None:
    metadata = ExportMetadata(replace(LAYER, input_epsilon=1e-7), VOCABULARY, log_softmax=False, precision="float32")
    facts = metadata.as_strings()
    assert ExportMetadata.from_strings(facts, "m.onnx").architecture.input_epsilon == 1e-7
    assert facts["input_epsilon"] == "1e-07"
    older = facts | {"architecture": facts["architecture"].replace('"input_epsilon": 1e-07, ', "")}
    assert ExportMetadata.from_strings(older, "m.onnx").architecture.input_epsilon == 1e-5


def test_new_models_are_trained_with_what_transformers_will_compute(tmp_path: Path) -> None:
    architecture = ModelConfig(architecture="large_lv60k").build()
    assert architecture.normalization_epsilon == TRANSFORMERS_EPSILON
    assert ModelConfig(architecture="base").build().normalization_epsilon is None
    # and a model that goes on from another keeps the other's
    write(recognizer(replace(LAYER, input_epsilon=1e-5), VOCABULARY), tmp_path / "fairseq", "fairseq")
    again = wav2vec2.load(tmp_path / "fairseq")
    wav2vec2.save(again, tmp_path / "ours")
    assert wav2vec2.load(tmp_path / "ours").architecture == again.architecture
    assert again.architecture.input_epsilon == FAIRSEQ_EPSILON
