"""Commands without a model, with a language, and with the model as their first word, as in older versions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import torch
from tests.hub_double import repositories
from tests.hub_double.in_process import turn_to
from tests.hub_double.server import HubDouble
from tests.small_models import noise

import wav2vec2
from wav2vec2.checkpoints.default_model import DEFAULT_MODEL, MULTILINGUAL_MODEL, model_and_words
from wav2vec2.cli import main

CPU = ("--device", "cpu", "--decoder", "greedy")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("published")
    made = {DEFAULT_MODEL: repositories.base_960h(root / "base"), MULTILINGUAL_MODEL: root / "mms"}
    repositories.mms_1b_all(root / "mms")
    return made


@pytest.fixture
def here(published: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a recording, in which the test runs; the hub is the double, with both default models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WAV2VEC2_MODEL", raising=False)
    (waveform,), _ = noise(16_000)
    soundfile.write(tmp_path / "talk.wav", (0.1 * waveform).numpy(), 16_000)
    with HubDouble() as double:
        for name, folder in published.items():
            double.add(name, folder)
        turn_to(double, tmp_path / "cache", monkeypatch)
        yield tmp_path


def text_of(source: Path, language: str | None = None) -> str:
    return wav2vec2.Transcriber(wav2vec2.load(source, language=language), decoder="greedy")("talk.wav").text


def test_transcribe_without_a_model(here: Path, published: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    expected = text_of(published[DEFAULT_MODEL])
    assert expected
    assert main(["transcribe", "talk.wav", *CPU]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == expected
    assert err.startswith(f"{DEFAULT_MODEL}: fetching ")
    assert "licence: apache-2.0" in err
    assert wav2vec2.Transcriber(decoder="greedy")("talk.wav").text == expected
    assert main(["align", "talk.wav", "THE FOX", "--format", "tsv", "--device", "cpu"]) == 0
    assert "FOX" in capsys.readouterr().out


def test_a_language(here: Path, published: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    expected = text_of(published[MULTILINGUAL_MODEL], "hin")
    assert main(["transcribe", "talk.wav", "--language", "hin", *CPU]) == 0
    assert capsys.readouterr().out.strip() == expected
    assert wav2vec2.Transcriber(language="hin", decoder="greedy")("talk.wav").text == expected
    assert main(["transcribe", "talk.wav", "--language", "hindi", *CPU]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(
        f"error: {MULTILINGUAL_MODEL}: has no language 'hindi'; did you mean hin? It has 3 languages"
    )
    local = str(published[MULTILINGUAL_MODEL])
    assert main(["transcribe", "talk.wav", "--model", local, "--language", "sw", *CPU]) == 2
    assert "did you mean swh? It has 3 languages" in capsys.readouterr().err
    assert main(["transcribe", "talk.wav", "--model", "model.onnx", "--language", "swh"]) == 2
    assert "has the one language that it was exported with" in capsys.readouterr().err


def test_the_environment_names_the_model(
    here: Path, published: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAV2VEC2_MODEL", str(published[MULTILINGUAL_MODEL]))
    assert main(["transcribe", "talk.wav", *CPU]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == text_of(published[MULTILINGUAL_MODEL])
    assert err == ""


def test_the_old_form_works_and_says_so(
    here: Path, published: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(published[DEFAULT_MODEL])
    hint = "{}: a model as the first word is the old form, which the next version drops; write --model {}"
    assert main(["transcribe", model, "talk.wav", *CPU]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == text_of(published[DEFAULT_MODEL])
    assert err.strip() == hint.format("transcribe", model)
    assert main(["align", model, "talk.wav", "THE", "FOX", "--format", "tsv", "--device", "cpu"]) == 0
    assert capsys.readouterr().err.startswith(hint.format("align", model))
    assert main(["align", model]) == 2
    assert "align: name a recording and its text, or a manifest" in capsys.readouterr().err


def test_which_first_word_is_a_model(here: Path, published: dict[str, Path]) -> None:
    (here / "calls").mkdir()
    (here / "config.json").touch()
    model = str(published[DEFAULT_MODEL])
    for words, model_there in (
        ((model,), True),
        ((model, "talk.wav"), True),
        (("model.onnx", "absent.wav"), True),
        (("wav2vec_small.pt", "-"), True),
        (("owner/name", "talk.wav"), True),
        (("owner/name", "absent.mp3"), True),
        (("owner/name", "calls"), True),
        (("owner/name", "-"), True),
        (("owner/name",), False),
        (("talk.wav", "talk.wav"), False),
        (("calls", "talk.wav"), False),
        (("calls/absent.wav", "talk.wav"), False),
        (("calls/*.mp3", "calls"), False),
        (("-",), False),
        (("2",), False),
        ((), False),
    ):
        chosen, rest = model_and_words("transcribe", words, None)
        assert (chosen, rest) == ((words[0], words[1:]) if model_there else (DEFAULT_MODEL, words)), words
    assert model_and_words("transcribe", (model, "talk.wav"), "mine") == ("mine", (model, "talk.wav"))


def test_weights_do_not_depend_on_the_language(here: Path, published: dict[str, Path]) -> None:
    """One encoder for all: only adapters, head and symbols are exchanged."""
    hindi, swahili = (wav2vec2.load(published[MULTILINGUAL_MODEL], language=code) for code in ("hin", "swh"))
    ours, theirs = hindi.state_dict(), swahili.state_dict()
    differ = {
        name for name in ours if ours[name].shape != theirs[name].shape or not torch.equal(ours[name], theirs[name])
    }
    assert differ == {name for name in ours if ".adapter." in name or name.startswith("head.")}
