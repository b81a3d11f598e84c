"""Lanes of compute workers: answers in order, whoever still waits for them; several at once say what one says."""

import asyncio
import base64
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import openai
import pytest
from tests.bursts import burst
from tests.serve.conftest import Served, serving, silence

from wav2vec2.serve.failures import ApiError
from wav2vec2.serve.lane import Lane
from wav2vec2.serve.messages import AsyncChannel, Channel, Closed, Message

DELTA = "conversation.item.input_audio_transcription.delta"


def test_answers_go_to_who_asked_even_beside_one_who_has_gone():
    async def run() -> list[object]:
        ours, theirs = socket.socketpair()
        lane, worker = Lane(), Channel(theirs)
        listening = asyncio.create_task(lane.listen(await AsyncChannel.over(ours)))
        asked = [asyncio.create_task(lane.ask(Message("hear", {"number": number}))) for number in range(4)]
        heard = [await asyncio.to_thread(worker.receive) for _ in range(4)]  # nothing was answered yet
        asked[1].cancel()
        await asyncio.sleep(0)
        for message in heard[:3]:
            worker.send(Message("events", message.fields))
        worker.send(Message("failed", {"message": "no such session"}))
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert not lane.busy
        last = asyncio.create_task(lane.ask(Message("hear")))
        await asyncio.sleep(0)
        assert lane.busy
        theirs.close()
        with pytest.raises(Closed):
            await listening
        lane.close()
        return [*found, *await asyncio.gather(last, return_exceptions=True)]

    first, gone, third, refused, dead = asyncio.run(run())
    assert (first, third) == ({"number": 0}, {"number": 2})
    assert isinstance(gone, asyncio.CancelledError)
    assert isinstance(refused, ApiError)
    assert refused.status == 400
    assert isinstance(dead, ApiError)
    assert dead.status == 500


@pytest.fixture(scope="module")
def wide(model_folder: Path) -> Iterator[Served]:
    with serving(model_folder, "--model-name", "tiny", "--threads", "3") as served:
        yield served


def test_many_at_once_are_heard_as_one_alone(wide: Served, wav: Callable[..., Path]):
    files = [wav(*[2.0 + seed] * 3, name=f"{seed}.wav", seed=seed) for seed in range(4)]
    sounds = [np.concatenate([silence(0.5), burst(3.0 + seed, seed), silence(0.4)]) for seed in range(4)]
    client = openai.AsyncOpenAI(base_url=f"{wide.address}/v1", api_key="any", max_retries=0, timeout=120)

    async def written(file: Path) -> str:
        return (await client.audio.transcriptions.create(model="tiny", file=file)).text

    async def spoken(samples: np.ndarray) -> str:
        async with client.realtime.connect(model="tiny", extra_query={}) as connection:
            given = {"format": {"type": "audio/pcm", "rate": 16_000}}
            await connection.session.update(session={"type": "transcription", "audio": {"input": given}})  # type: ignore[typeddict-item]
            for begin in range(0, len(samples), 1600):
                data = (np.clip(samples[begin : begin + 1600], -1, 1) * 32767).astype("<i2").tobytes()
                await connection.input_audio_buffer.append(audio=base64.b64encode(data).decode())
            await connection.input_audio_buffer.commit()
            said = ""
            async for event in connection:
                said += event.delta or "" if event.type == DELTA else ""
                if event.type.endswith("transcription.completed"):
                    return said
        raise AssertionError

    async def run() -> None:
        async with asyncio.timeout(240):
            await compare()

    async def compare() -> None:
        alone = [await written(file) for file in files] + [await spoken(samples) for samples in sounds]
        together = await asyncio.gather(*map(written, files), *map(spoken, sounds), *map(written, files))
        assert all(alone)
        assert together == alone + alone[:4]

    asyncio.run(run())
