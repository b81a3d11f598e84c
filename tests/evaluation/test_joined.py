from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.evaluation.test_tune import case  # noqa: F401
from tests.inference.spoken_symbols import LoudnessCTC, spoken

from wav2vec2.data.utterance import Utterance
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.decode.presets import load_preset
from wav2vec2.errors import UserError
from wav2vec2.evaluation.joined import best_settings, joined, joined_errors
from wav2vec2.evaluation.tune import TuneOptions, run
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.windows import PieceSettings
from wav2vec2.text.error_rate import word_errors


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    rows = []
    for number, text in enumerate(["THE QUICK BROWN", "FOX JUMPS", "A LAZY", "DOG'S BOX"] * 2):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, spoken(text, hold=6), 16_000, subtype="FLOAT")
        samples, speaker = len(spoken(text, hold=6)), str(number % 2)
        rows.append(Utterance(str(number), str(path), samples=samples, sample_rate=16_000, text=text, speaker=speaker))
    return rows


def test_utterances_of_a_speaker_follow_one_another_with_pauses(utterances: list[Utterance]) -> None:
    first, second = joined(utterances, seconds=100.0, most_seconds=1000.0)
    assert first.texts == tuple(row.text for row in utterances[::2])
    assert second.text == " ".join(row.text or "" for row in utterances[1::2])
    whole = first.recording.read(0, first.recording.samples)
    spoken_samples = sum(row.samples for row in utterances[::2])
    assert 4 * 0.3 * 16_000 <= len(whole) - spoken_samples <= 4 * 1.5 * 16_000
    np.testing.assert_array_equal(first.recording.read(20_000, 50_000), whole[20_000:70_000])
    assert len(list(joined(utterances, seconds=3.0, most_seconds=1000.0))) > 2
    assert len(list(joined(utterances, seconds=3.0, most_seconds=3.0))) == 1


def test_the_best_settings_have_the_fewest_errors(utterances: list[Utterance]) -> None:
    model = AcousticModel(LoudnessCTC(), compute=ComputeOptions(device="cpu", longest_piece=2.5))
    recordings = list(joined(utterances, seconds=100.0, most_seconds=1000.0))
    tried: dict[PieceSettings, int] = {}
    best, errors = best_settings(
        model, recordings, word_errors, lambda settings, errors: tried.update({settings: errors.errors})
    )
    assert errors.errors == tried[best] == min(tried.values())
    assert len(tried) == 12 + 3
    assert joined_errors(model, recordings, best, word_errors) == errors


def test_tune_without_a_language_model_chooses_the_pieces(
    case: TuneOptions,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(replace(case, decoding=DecodingOptions()))
    said = capsys.readouterr()
    assert "pause 0.8 s, margin 0.1 s, statistics of the piece; error rate" in said.out
    assert said.err.count("pieces: ") == 16
    preset = load_preset(case.out)
    assert (preset.decoder, preset.pause, preset.margin, preset.statistics) == ("greedy", 0.8, 0.1, "piece")
    with pytest.raises(UserError, match="nothing to tune"):
        run(replace(case, decoding=DecodingOptions(), joined_minutes=0.0))
