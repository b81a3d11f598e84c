"""``wav2vec2 listen``: audio on stdin, the microphone that is not there, and what a terminal and a pipe get."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.inference.live.test_session import FAST, MODELS, burst, silence

import wav2vec2
from wav2vec2.audio.microphone import Microphone
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.live.command import ListenOptions, _settings, pcm_blocks, run
from wav2vec2.inference.live.events import EventKind, LiveEvent, write_growing, write_text
from wav2vec2.inference.live.open import capacity_line, live_encoder, seconds_a_chunk
from wav2vec2.inference.live.settings import LiveSettings
from wav2vec2.inference.windows import PieceSettings
from wav2vec2.output.captions import columns
from wav2vec2.output.transcript import Word


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live") / "model"
    wav2vec2.save(MODELS["group"].model, folder)  # type: ignore[arg-type]
    return folder


def pcm(audio: np.ndarray) -> bytes:
    return (np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()


class Piped(io.StringIO):
    """A stdin that is a pipe with something in it."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.reading, writing = os.pipe()
        threading.Thread(target=self._fill, args=(writing, content)).start()

    @staticmethod
    def _fill(writing: int, content: bytes) -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(content)

    def fileno(self) -> int:
        return self.reading


@pytest.mark.parametrize(("vad", "utterances"), [("energy", 1), ("silero", 0)])
def test_noise_is_an_utterance_to_energy_and_none_to_the_network(
    vad: str, utterances: int, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Piped(pcm(np.concatenate([silence(1.0), burst(2.0, 1), silence(3.0)]))))
    run(ListenOptions(("-",), str(model), chunk=0.5, vad=vad))  # type: ignore[arg-type]
    assert capsys.readouterr().out.count('"final"') == utterances


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_audio_on_stdin_becomes_lines_of_json(
    decoder: str, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = np.concatenate([burst(2.0, 1), silence(1.0), burst(0.6, 2)])
    monkeypatch.setattr("sys.stdin", Piped(pcm(audio)))
    decoding = DecodingOptions(decoder=decoder, beam=3)  # type: ignore[arg-type]
    run(ListenOptions(("-",), str(model), chunk=0.5, decoding=decoding))
    out, messages = capsys.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    committed = [word for event in events if event["kind"] == "committed" for word in event["words"]]
    final = [word for event in events if event["kind"] == "final" for word in event["words"]]
    assert committed == final != []
    assert {*final[0]} == {"text", "start", "end", "confidence"}
    assert "latency 1.78 s (0.5 s chunks, 1.28 s look-ahead)" in messages
    assert "this machine carries about" in messages


def test_ctrl_c_commits_what_is_left_and_ends_well(model: Path) -> None:
    command = [sys.executable, "-m", "wav2vec2", "listen", "-", "--model", str(model), "--format", "text"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(pcm(burst(1.5, 1)))
        process.stdin.flush()
        while b"speak now" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        text = process.stdout.read().decode()
        assert process.wait(60) == 0
    assert len(text.splitlines()) == 1


def test_pcm_comes_in_any_pieces_and_at_any_rate() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000).astype(np.float32) * 0.5
    data = pcm(tone)
    for rate in (8000, 16_000):
        reading, writing = os.pipe()
        for begin in range(0, len(data), 1001):
            os.write(writing, data[begin : begin + 1001])
        os.write(writing, b"\x01")  # half a sample
        os.close(writing)
        audio = np.concatenate(list(pcm_blocks(reading, rate)))
        os.close(reading)
        assert abs(len(audio) - 8000 * 16_000 / rate) <= 2
        if rate == 16_000:
            assert np.allclose(audio, tone, atol=1e-4)
        assert float(np.abs(audio[2000:6000]).max()) == pytest.approx(0.5, abs=0.01)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ListenOptions(("-",), "nowhere"), "stdin is a terminal"),
        (ListenOptions(("-",), "nowhere", rate=10), "--rate 10"),
        (ListenOptions(("-",), "nowhere", chunk=0.0), "chunk must be"),
        (ListenOptions(("-",), "nowhere", chunk=-1.0), "at least 0"),
    ],
)
def test_what_cannot_be_is_told_before_the_model_is_read(
    options: ListenOptions, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    with pytest.raises(UserError, match=message):
        run(options)


def test_without_sounddevice_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UserError, match=r"wav2vec2\[mic\].*listen -"):
        Microphone()


def test_without_portaudio_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # what sounddevice 0.5 raises on import where ctypes finds no such library
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(UserError, match="apt install libportaudio2"):
        Microphone()


def event(kind: EventKind, *texts: str) -> LiveEvent:
    return LiveEvent(kind, tuple(Word(text, 0.0, 1.0) for text in texts), " ".join(texts), 1.0)


def test_a_terminal_shows_the_tail_dimmed_and_begins_a_line_when_one_is_full() -> None:
    out = io.StringIO()
    write_growing([event("committed", "ONE", "TWO"), event("tentative", "THREE\x1b[2J")], out, 12)
    assert out.getvalue() == "\r\x1b[KONE TWO\r\x1b[KONE TWO \x1b[2mTHR\x1b[0m"
    out = io.StringIO()
    write_growing([event("committed", "ONE", "TWO", "THREE"), event("final", "ONE", "TWO", "THREE")], out, 10)
    assert out.getvalue().replace("\r\x1b[K", "") == "ONE TWO\nTHREETHREE\n"
    assert columns("語e\u0301") == 3


def test_settings_suit_the_model_and_the_preset_within_what_is_possible() -> None:
    plain, none = LiveSettings(), PieceSettings()
    assert plain.suited(None, none) == replace(plain, margin=0.1)
    assert plain.suited(16.0, none) == replace(plain, margin=0.1)
    assert plain.suited(6.0, none).margin == 0.02
    assert plain.suited(5.0, none).left_context == pytest.approx(5.0 - plain.latency)
    assert plain.suited(2.4, none).left_context == 1.28
    tuned = plain.suited(None, PieceSettings(pause=0.6, margin=0.05))
    assert (tuned.pause, tuned.margin) == (0.6, 0.05)
    assert plain.suited(None, PieceSettings(pause=0.15, margin=0.3)).margin == 0.075
    chosen = _settings(
        ListenOptions(("-",), "m", margin=0.02, left_context=2.0), 15.0, PieceSettings(pause=0.4, margin=0.1)
    )
    assert (chosen.margin, chosen.pause, chosen.left_context) == (0.02, 0.4, 2.0)
    assert _settings(ListenOptions(("-",), "m", pause=0.1), None, none).margin == 0.05
    with pytest.raises(UserError, match="margin must be at most half"):
        _settings(ListenOptions(("-",), "m", margin=0.2), None, none)


def test_products_in_half_precision_are_asked_for(model: Path) -> None:
    half = AcousticModel(model, compute=ComputeOptions("cpu", precision="bf16"))
    encoder = live_encoder(half, FAST)
    assert encoder.half == torch.bfloat16
    audio = burst(1.0, 1)
    encoder.extend(0, audio)
    exact = live_encoder(AcousticModel(model, compute=ComputeOptions("cpu", precision="float32")), FAST)
    exact.extend(0, audio)
    (_, ours), (_, theirs) = encoder.log_probs(0), exact.log_probs(0)
    assert ours.dtype == torch.float32
    assert 0 < float((ours - theirs).abs().max()) < 1.0  # of log-probabilities down to -19


def test_text_for_a_pipe_is_a_line_an_utterance() -> None:
    out = io.StringIO()
    write_text([event("committed", "A"), event("tentative", "B"), event("final", "A", "B"), event("final", "C")], out)
    assert out.getvalue() == "A B\nC\n"


def test_capacity_is_measured_and_said() -> None:
    encoder = live_encoder(MODELS["group"], FAST)
    assert 0 < seconds_a_chunk(encoder) < 10
    assert encoder.end == 0
    assert "about 10 such streams" in capacity_line(LiveSettings(), 0.09)
    assert "too slow" in capacity_line(LiveSettings(), 1.0)


def test_an_exported_model_is_refused() -> None:
    stand_in = AcousticModel.__new__(AcousticModel)
    stand_in.model = object()  # type: ignore[assignment]
    with pytest.raises(UserError, match="model directory"):
        live_encoder(stand_in, FAST)
