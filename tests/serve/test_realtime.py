"""`/v1/realtime` by OpenAI's own client, and the audio formats of telephones by ffmpeg's encoders."""

import asyncio
import base64
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
from tests.bursts import burst
from tests.serve.conftest import Served, serving, silence
from websockets.exceptions import ConnectionClosed

from wav2vec2.serve.live_audio import AudioFormat, LiveAudio

TRANSCRIPTION = "conversation.item.input_audio_transcription"


def pcm(samples: np.ndarray) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def session(rate: int = 16_000, **values: Any) -> dict[str, Any]:
    given = {"format": {"type": "audio/pcm", "rate": rate}, **values}
    return {"type": "transcription", "audio": {"input": given}}


def until(connection: Any, kind: str) -> list[Any]:
    events = []
    while not events or events[-1].type not in (kind, "error"):
        events.append(connection.recv())
    assert events[-1].type == kind, events[-1]
    return events


def append(connection: Any, samples: np.ndarray, block: int = 3200) -> None:
    data = pcm(samples)
    for begin in range(0, len(data), block):
        connection.input_audio_buffer.append(audio=base64.b64encode(data[begin : begin + block]).decode())


def test_an_utterance_becomes_an_item(server: Served):
    with server.client.realtime.connect(model="tiny", extra_query={"intent": "transcription"}) as connection:
        assert connection.recv().type == "session.created"
        connection.session.update(session=session())
        assert connection.recv().session.audio.input.format.rate == 16_000
        append(connection, np.concatenate([silence(1.0), burst(6.0, 3), silence(0.4)]))
        connection.input_audio_buffer.commit()
        events = until(connection, f"{TRANSCRIPTION}.completed")
        kinds = [event.type for event in events]
        assert kinds[0] == "input_audio_buffer.speech_started"
        assert 500 <= events[0].audio_start_ms <= 1100
        assert kinds.index("input_audio_buffer.speech_stopped") < kinds.index("input_audio_buffer.committed")
        deltas = [event.delta for event in events if event.type == f"{TRANSCRIPTION}.delta"]
        assert len(deltas) >= 2
        assert "".join(deltas) == events[-1].transcript
        assert len({event.item_id for event in events if hasattr(event, "item_id")}) == 1


def test_without_turn_detection_the_client_commits(server: Served):
    async def run() -> list[Any]:
        address = f"{server.address}/v1"
        client = openai.AsyncOpenAI(base_url=address, api_key="any", max_retries=0)
        async with client.realtime.connect(model="tiny", extra_query={"intent": "transcription"}) as connection:
            await connection.session.update(session=session(turn_detection=None))
            data = base64.b64encode(pcm(np.concatenate([burst(3.0, 3), silence(3.0), burst(3.0, 4)]))).decode()
            await connection.input_audio_buffer.append(audio=data)
            await connection.input_audio_buffer.commit()
            events = []
            async for event in connection:
                events.append(event)
                if event.type in ("error", f"{TRANSCRIPTION}.completed"):
                    return events
        raise AssertionError

    events = asyncio.run(run())
    assert events[-1].type == f"{TRANSCRIPTION}.completed"
    kinds = [event.type for event in events]
    assert "input_audio_buffer.speech_started" not in kinds
    assert kinds.count("input_audio_buffer.committed") == 1


def test_what_is_wrong_is_said_and_the_session_goes_on(server: Served):
    with server.client.realtime.connect(model="tiny") as connection:
        connection.recv()
        for message in ("{", "[]", '{"type": "response.create", "event_id": "mine"}'):
            connection.send_raw(message)
            assert connection.recv().type == "error"
        connection.send_raw('{"type": "input_audio_buffer.append", "audio": "***", "event_id": "mine"}')
        assert connection.recv().error.event_id == "mine"
        connection.session.update(session={"type": "transcription", "audio": {"input": {"format": {"type": "mp3"}}}})
        assert connection.recv().error.param == "session.audio.input.format"
        connection.input_audio_buffer.commit()
        assert connection.recv().error.code == "input_audio_buffer_empty"
        connection.session.update(session=session(8_000))
        assert connection.recv().type == "session.updated"


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(("kind", "codec"), [("audio/pcmu", "mulaw"), ("audio/pcma", "alaw")])
def test_g711_is_what_ffmpeg_writes(kind: str, codec: str, tmp_path: Path):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    soundfile.write(tmp_path / "tone.wav", tone, 16_000)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "tone.wav", "-ar", "8000", "-f", codec, "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    audio = LiveAudio(AudioFormat.of({"type": kind}))
    found = np.concatenate([audio.push(data[begin : begin + 1000]) for begin in range(0, len(data), 1000)])
    middle = slice(4_000, 12_000)
    shifts = [np.abs(np.roll(found, shift)[middle] - tone[: len(found)][middle]).max() for shift in range(-40, 41)]
    assert min(shifts) < 0.03


@pytest.fixture
def brief(model_folder: Path) -> Iterator[Served]:
    with serving(model_folder, "--drain-seconds", "20") as served:
        yield served


@pytest.mark.slow
def test_a_server_that_is_told_to_stop_finishes_what_it_has(brief: Served, wav: Callable[..., Path]):
    with brief.client.realtime.connect(model="tiny") as connection:
        connection.recv()
        connection.session.update(session=session())
        connection.recv()
        append(connection, burst(5.0, 3))
        until(connection, f"{TRANSCRIPTION}.delta")
        brief.process.terminate()
        events = until(connection, f"{TRANSCRIPTION}.completed")
        assert events[-1].transcript
        with pytest.raises(ConnectionClosed, match="1012"):
            until(connection, "never")
    assert brief.process.wait(30) == 0


@pytest.mark.slow
def test_killed_processes_cost_one_request_at_most(brief: Served, wav: Callable[..., Path]):

    path, create = wav(3.0), brief.client.audio.transcriptions.create
    text = create(model="tiny", file=path).text
    killed = brief.children("compute_worker")[0]
    os.kill(killed, signal.SIGKILL)
    assert create(model="tiny", file=path).text == text
    parent = brief.children("decoder_process")[0]
    long = wav(*[8.0] * 12, name="long.wav")
    caught: list[openai.APIStatusError] = []

    def ask() -> None:
        try:
            create(model="tiny", file=long)
        except openai.APIStatusError as error:
            caught.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    children = Path(f"/proc/{parent}/task/{parent}/children")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(OSError):  # a process may end between two looks
            busy = [int(n) for n in children.read_text().split() if "\nVmRSS" in Path(f"/proc/{n}/status").read_text()]
            if busy:
                os.kill(busy[-1], signal.SIGKILL)
        if not asking.is_alive():
            break
        time.sleep(0.02)
    asking.join()
    assert caught[0].status_code == 500
    assert caught[0].response.headers["x-should-retry"] == "false"
    assert create(model="tiny", file=path).text == text
