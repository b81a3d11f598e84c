"""What a server carries: many clients at once, short clips beside long files, live sessions.

    python -m scripts.serve_load clients MODEL AUDIO --clients 50 --minutes 5
    python -m scripts.serve_load beside MODEL AUDIO
    python -m scripts.serve_load live MODEL AUDIO --sessions 20

AUDIO is a folder of short recordings. The server runs as a process of its own, on this machine. `clients` compares with
`Transcriber` over the same files in one process; `beside` takes the times of 3 s clips, alone and beside five files of
ten minutes; `live` plays recordings in real time into so many sessions, and takes how much later than the stated
latency each word was committed. Options of `serve` may follow.
"""

import argparse
import asyncio
import base64
import time
from pathlib import Path

import httpx2
import numpy as np
import openai
import soundfile
from scripts.served import CLIP, ask, encoded, memory, serving, speech

from wav2vec2 import Transcriber
from wav2vec2.audio.recordings import recordings_below

STEP = 1600
"""Samples of a message of a live session: a tenth of a second."""


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def clients(options: argparse.Namespace) -> None:
    """Many clients at once, each with one file after the other."""
    paths = sorted(recordings_below(options.audio))
    files = [path.read_bytes() for path in paths]
    seconds = [soundfile.info(path).duration for path in paths]
    with Transcriber(options.model) as transcriber:
        expected = [transcriber(path).text for path in paths]
        begin = time.monotonic()
        list(transcriber.stream(map(str, paths)))
        offline = sum(seconds) / (time.monotonic() - begin)
    print(f"offline: {offline:.1f} s of audio a second")
    with serving(options.model, *options.serve) as (address, process):
        lost, heard, taken, sizes = 0, 0.0, list[float](), list[float]()
        end = time.monotonic() + 60 * options.minutes
        order = iter(range(10**9))

        async def client() -> None:
            nonlocal lost, heard
            async with httpx2.AsyncClient(timeout=600) as http:
                while time.monotonic() < end:
                    number = next(order) % len(files)
                    try:
                        text, took = await ask(http, address, files[number])
                    except httpx2.HTTPError:
                        lost += 1
                        continue
                    lost += text != expected[number]
                    heard += seconds[number]
                    taken.append(took)

        async def watch() -> None:
            while time.monotonic() < end:
                await asyncio.sleep(5)
                sizes.append(memory(process))

        begin = time.monotonic()
        await asyncio.gather(watch(), *(client() for _ in range(options.clients)))
        rate = heard / (time.monotonic() - begin)
    print(f"{options.clients} clients: {len(taken)} answers, {lost} lost or other than offline")
    print(f"served: {rate:.1f} s of audio a second, {rate / offline:.2f} of offline")
    print(f"time of an answer: p50 {percentile(taken, 0.5):.2f} s, p99 {percentile(taken, 0.99):.2f} s")
    print(f"private memory from the first fifth on: {[round(size) for size in sizes[len(sizes) // 5 :: 6]]} MiB")


async def beside(options: argparse.Namespace) -> None:
    """Clips of 3 s, alone and beside long files."""
    clips = [encoded(speech(options.audio, CLIP, seed)) for seed in range(100)]
    long = [encoded(speech(options.audio, 600, seed)) for seed in range(5)]
    with serving(options.model, *options.serve) as (address, _):
        async with httpx2.AsyncClient(timeout=1200) as http:

            async def timed() -> list[float]:
                return [(await ask(http, address, clip))[1] for clip in clips]

            await ask(http, address, clips[0])
            idle = await timed()
            running = [asyncio.create_task(ask(http, address, content)) for content in long]
            await asyncio.sleep(1)
            busy = await timed()
            done = sum(task.done() for task in running)
            await asyncio.gather(*running)
    print(f"alone: p50 {percentile(idle, 0.5):.3f} s, p99 {percentile(idle, 0.99):.3f} s")
    print(f"beside five files of ten minutes: p50 {percentile(busy, 0.5):.3f} s, p99 {percentile(busy, 0.99):.3f} s")
    print(
        f"{percentile(busy, 0.99) / percentile(idle, 0.99):.1f} times; {done} of 5 files were done before the last clip"
    )


def due(transcriber: Transcriber, samples: np.ndarray) -> list[int]:
    """After which step of `samples` each word of a live session is committed, as a session of one's own finds."""
    session = transcriber.live()
    blocks = [samples[place : place + STEP] for place in range(0, len(samples), STEP)]
    told = [event for step, block in enumerate(blocks) for event in ((step, each) for each in session.push(block))]
    told += [(len(blocks), event) for event in session.finish()]
    return [step for step, event in told if event.kind == "committed" for _ in event.words]


async def live(options: argparse.Namespace) -> None:
    """Sessions in real time: how much later a word comes than the samples that decide it.

    What a session has to wait for by its design (chunk and look-ahead) is found by hearing the same samples beforehand.
    The time from sending the step that decides a word to receiving the word is what the server adds.
    """
    spoken = [speech(options.audio, options.seconds, seed) for seed in range(options.sessions)]
    recordings = [(samples * 32767).astype("<i2") for samples in spoken]
    with Transcriber(options.model) as transcriber:
        decided = [due(transcriber, samples.astype(np.float32) / 32768) for samples in recordings]
    late: list[float] = []
    lost = 0
    with serving(options.model, "--live-sessions", str(options.sessions), *options.serve) as (address, _):
        client = openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)

        async def session(number: int) -> None:
            nonlocal lost
            samples, sent, words = recordings[number], list[float](), list[float]()
            await asyncio.sleep(number * 0.137 % 2)  # speakers do not begin together
            async with client.realtime.connect(model=Path(options.model).name, extra_query={}) as connection:
                given = {"format": {"type": "audio/pcm", "rate": 16_000}}
                await connection.session.update(session={"type": "transcription", "audio": {"input": given}})  # type: ignore[typeddict-item]

                async def listen() -> None:
                    async for event in connection:
                        if event.type == "conversation.item.input_audio_transcription.delta":
                            words.extend([time.monotonic()] * len((event.delta or "").split()))
                        if len(words) >= len(decided[number]):
                            return

                listening = asyncio.create_task(listen())
                begin = time.monotonic()
                for place in range(0, len(samples), STEP):
                    data = samples[place : place + STEP].tobytes()
                    await asyncio.sleep(max(0.0, begin + (place + STEP) / 16_000 - time.monotonic()))
                    sent.append(time.monotonic())
                    await connection.input_audio_buffer.append(audio=base64.b64encode(data).decode())
                sent.append(time.monotonic())
                await connection.input_audio_buffer.commit()
                await asyncio.wait([listening], timeout=20)
            lost += len(decided[number]) - len(words)
            late.extend(came - sent[step] for came, step in zip(words, decided[number], strict=False))

        await asyncio.gather(*(session(number) for number in range(options.sessions)))
    print(f"{options.sessions} sessions of {options.seconds:g} s: {len(late)} words, {lost} lost")
    shares = ", ".join(f"p{round(100 * share)} {1000 * percentile(late, share):.0f} ms" for share in (0.5, 0.95, 0.99))
    print(f"a word after the samples that decide it: {shares}")


def main() -> None:
    """Run what the first argument names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["clients", "beside", "live"])
    parser.add_argument("model")
    parser.add_argument("audio", type=Path)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    options, options.serve = parser.parse_known_args()
    asyncio.run({"clients": clients, "beside": beside, "live": live}[options.what](options))


if __name__ == "__main__":
    main()
