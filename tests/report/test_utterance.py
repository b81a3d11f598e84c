from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from tests.inference.spoken_symbols import VOCABULARY, LoudnessCTC, spoken
from tests.report.tiny_models import sound, write_recogniser

from wav2vec2.cli import main
from wav2vec2.inference.align import Aligner
from wav2vec2.report.utterance import draw_utterance, parts, spectrogram, symbol_posteriors


@pytest.mark.parametrize("frequency", [500, 1000, 3000])
def test_spectrogram_shows_a_tone_where_it_is(frequency: int) -> None:
    time = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * frequency * time) * (time >= 0.5)
    levels = spectrogram(tone.astype(np.float32))
    assert levels.shape == (257, 1 + (16_000 - 400) // 160)
    assert levels[:, 80].argmax() == round(frequency / 8000 * 256)
    assert levels.max() == pytest.approx(0, abs=1e-5)
    assert (levels[:, :45] == -70).all()


@given(st.integers(0, 2000))
def test_any_length_has_a_spectrogram(samples: int) -> None:
    levels = spectrogram(np.zeros(samples, dtype=np.float32))
    assert levels.shape[1] == 1 + max(0, samples - 400) // 160
    assert np.isfinite(levels).all()


def test_only_symbols_that_the_model_considers_are_shown() -> None:
    probabilities = np.full((3, len(VOCABULARY)), 1e-6)
    probabilities[:, VOCABULARY.blank] = 0.9
    probabilities[1, VOCABULARY.symbols.index("X")] = 0.3
    probabilities[2, VOCABULARY.symbols.index("|")] = 0.06
    shown = symbol_posteriors(np.log(probabilities), VOCABULARY, 0.0025, 0.02)
    assert shown.labels == ("(blank)", "(space)", "X")
    assert shown.probabilities == pytest.approx(
        probabilities[:, [0, VOCABULARY.symbols.index("|"), VOCABULARY.symbols.index("X")]].T
    )


def test_picture_has_words_where_they_are_spoken() -> None:
    audio = spoken("A FOX")
    alignment = Aligner(LoudnessCTC(), device="cpu")(audio, "A FOX")
    log_probs = np.log(np.full((19, len(VOCABULARY)), 1 / len(VOCABULARY)))
    shown = symbol_posteriors(log_probs, VOCABULARY, 0.0025, 0.02)
    figure = draw_utterance(audio, shown, alignment, 0.0, 0.4)
    spectrum, posteriors, text = (axes for axes in figure.axes if axes.get_xlim() == (0.0, 0.4))
    assert spectrum.get_ylabel() == "frequency (kHz)"
    assert posteriors.images[0].get_extent()[:2] == pytest.approx([0.0025, 0.0025 + 19 * 0.02])
    places = {label.get_text(): label.get_position()[0] for label in text.texts}
    assert places.keys() == {"A", "FOX", "F", "O", "X"}
    word = alignment.words[1]
    assert word.start is not None
    assert word.end is not None
    assert places["FOX"] == pytest.approx((word.start + word.end) / 2)
    later = draw_utterance(audio, shown, alignment, 0.2, 0.2)
    assert "A" not in {label.get_text() for axes in later.axes for label in axes.texts}
    assert len(draw_utterance(audio, shown, None, 0.0, 0.4).axes) == 4  # two panels with their colour bars


@given(st.floats(0.01, 500), st.floats(0.5, 60))
def test_parts_cover_the_recording_once(seconds: float, most: float) -> None:
    beginnings, shown = parts(seconds, most)
    assert shown <= most * (1 + 1e-5)
    assert beginnings[0] == 0
    assert beginnings[-1] + shown == pytest.approx(seconds)
    assert np.diff(beginnings) == pytest.approx(shown)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("utterance")
    write_recogniser(folder / "model")
    soundfile.write(folder / "a.wav", sound(24_000), 16_000)
    return folder


def test_command_with_a_text(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a fox\n")
    arguments = ["report", "utterance", str(folder / "model"), str(folder / "a.wav"), "--out", str(tmp_path / "out")]
    more = ["--text", str(tmp_path / "text.txt"), "--start", "0.5"]
    assert main([*arguments, *more]) == 0
    page = (tmp_path / "out" / "report.md").read_text()
    assert "| seconds | 0.5 to 1.5 |" in page
    assert "| text | a fox |" in page
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"utterance_1.png"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--start", "5"], "lasts 1.50 s, so nothing is left"),
        (["--picture-seconds", "0"], "--picture-seconds must be above 0"),
        (["--text", "nowhere.txt"], "nowhere.txt: does not exist"),
        (["--text", "123"], "none of the text can be aligned"),
        (["--text", "A FOX " * 100], "frames"),
        (["--seconds", "0.001"], "shorter than one frame"),
    ],
)
def test_bad_input_gives_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    arguments = ["report", "utterance", str(folder / "model"), str(folder / "a.wav"), "--out", str(tmp_path / "out")]
    assert main([*arguments, *more]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def test_missing_and_long_recordings(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(folder / "model")
    assert main(["report", "utterance", model, str(tmp_path / "none.wav")]) == 2
    assert "none.wav" in capsys.readouterr().err
    soundfile.write(tmp_path / "long.wav", np.zeros(130 * 16_000, dtype=np.float32), 16_000)
    assert main(["report", "utterance", model, str(tmp_path / "long.wav")]) == 2
    assert "130 s are too long to draw" in capsys.readouterr().err
