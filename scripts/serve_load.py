"""What a server carries: many clients at once, short clips beside long files, live sessions, and things that go wrong.

    python scripts/serve_load.py clients MODEL AUDIO --clients 50 --minutes 5
    python scripts/serve_load.py beside MODEL AUDIO
    python scripts/serve_load.py live MODEL AUDIO --sessions 20
    python scripts/serve_load.py faults MODEL AUDIO

AUDIO is a folder of short recordings. The server runs as a process of its own, on this machine. `clients` compares with
`Transcriber` over the same files in one process; `beside` takes the times of 3 s clips, alone and beside five files of
ten minutes; `live` plays recordings in real time into so many sessions, and takes how much later than the stated
latency each word was committed; `faults` kills processes, sends half bodies, tiny files and headers of noise, and looks
whether the server still answers as before, and has its memory back.
"""

import argparse
import asyncio
import base64
import io
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import numpy as np
import openai
import soundfile

from wav2vec2 import Transcriber
from wav2vec2.audio.recordings import recordings_below

CLIP = 3.0


@contextmanager
def serving(model: str, *options: str) -> Iterator[tuple[str, int]]:
    """Run a server; yield its address and the number of its process."""
    command = [sys.executable, "-m", "wav2vec2", "serve", "--model", model, "--port", "0", "--waiting", "10000"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        place = re.search(r"at (\S+)", process.stderr.readline())
        assert place, process.stderr.read()
        threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop the server
        try:
            yield place[1], process.pid
        finally:
            process.terminate()


def family(parent: int) -> list[int]:
    """A process and all below it."""
    found = [parent]
    for number in found:
        try:
            found += map(int, Path(f"/proc/{number}/task/{number}/children").read_text().split())
        except OSError:
            continue
    return found


def memory(parent: int) -> float:
    """Private MiB of a server's processes."""
    total = 0
    for number in family(parent):
        try:
            text = Path(f"/proc/{number}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(value) for value in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", text))
    return total / 1024


def encoded(samples: np.ndarray) -> bytes:
    """A FLAC file."""
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="FLAC")
    return file.getvalue()


def speech(folder: Path, seconds: float, seed: int) -> np.ndarray:
    """So many seconds of recordings, joined in a random order."""
    paths = random.Random(seed).sample(found := sorted(recordings_below(folder)), len(found))
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * 16_000:
        parts.append(soundfile.read(paths[len(parts) % len(paths)], dtype="float32")[0])
    return np.concatenate(parts)[: round(seconds * 16_000)]


async def ask(client: httpx2.AsyncClient, address: str, content: bytes) -> tuple[str, float]:
    """Have a file transcribed: its text, and the seconds that took."""
    begin = time.monotonic()
    answer = await client.post(f"{address}/v1/audio/transcriptions", files={"file": ("a.flac", content)})
    answer.raise_for_status()
    return answer.json()["text"], time.monotonic() - begin


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
    with serving(options.model) as (address, process):
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
    with serving(options.model) as (address, _):
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


async def live(options: argparse.Namespace) -> None:
    """Sessions in real time: when a word is committed, against the end of the word plus the latency."""
    late: list[float] = []
    with serving(options.model, "--live-sessions", str(options.sessions)) as (address, _):
        client = openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)

        async def session(seed: int) -> int:
            samples = speech(options.audio, options.seconds, seed)
            words = 0
            async with client.realtime.connect(model=Path(options.model).name, extra_query={}) as connection:
                given = {"format": {"type": "audio/pcm", "rate": 16_000}}
                await connection.session.update(session={"type": "transcription", "audio": {"input": given}})  # type: ignore[typeddict-item]
                begin = time.monotonic()

                async def listen() -> None:
                    nonlocal words
                    async for event in connection:
                        if event.type == "conversation.item.input_audio_transcription.completed":
                            words += len(event.transcript.split())
                        if event.type == "input_audio_buffer.committed" and time.monotonic() > begin + options.seconds:
                            return

                listening = asyncio.create_task(listen())
                step = 1600
                for place in range(0, len(samples), step):
                    sent = time.monotonic()
                    data = (samples[place : place + step] * 32767).astype("<i2").tobytes()
                    await connection.input_audio_buffer.append(audio=base64.b64encode(data).decode())
                    late.append(time.monotonic() - sent)
                    await asyncio.sleep(max(0.0, begin + (place + step) / 16_000 - time.monotonic()))
                last = time.monotonic()
                await connection.input_audio_buffer.commit()
                await asyncio.wait_for(listening, 60)
                late.append(time.monotonic() - last)
            return words

        begin = time.monotonic()
        words = await asyncio.gather(*(session(seed) for seed in range(options.sessions)))
        took = time.monotonic() - begin
    print(
        f"{options.sessions} sessions of {options.seconds:g} s: {took:.1f} s, {sum(words)} words, fewest {min(words)}"
    )
    ends = sorted(late[-options.sessions :])
    print(f"from the last sample to the last word: p50 {ends[len(ends) // 2]:.2f} s, most {ends[-1]:.2f} s")


async def faults(options: argparse.Namespace) -> None:
    """Everything that goes wrong; after each, the same clip must have the same text."""
    clip = encoded(speech(options.audio, CLIP, 0))
    noise = random.Random(0)
    with serving(options.model) as (address, process):
        place = urlsplit(address)
        async with httpx2.AsyncClient(timeout=120) as http:
            text, _ = await ask(http, address, clip)
            before = memory(process)

            def raw(data: bytes, *, listen: bool = False) -> str:
                with socket.create_connection((place.hostname, place.port), timeout=5) as connection:
                    connection.sendall(data)
                    return connection.recv(12).decode() if listen else ""

            async def check(name: str) -> None:
                again, took = await ask(http, address, clip)
                print(f"{name}: {'as before' if again == text else 'OTHER TEXT'}, {took:.2f} s", flush=True)

            worker = next(
                number
                for number in family(process)
                if b"compute_worker" in Path(f"/proc/{number}/cmdline").read_bytes()
            )
            os.kill(worker, signal.SIGKILL)
            await check("a compute worker killed")
            head = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
            head += b"Content-Type: multipart/form-data; boundary=X\r\n"
            for _ in range(200):
                raw(head + b"Content-Length: 100000\r\n\r\n--X\r\n")
            await check("200 half bodies")
            for _ in range(options.headers):
                raw(noise.randbytes(noise.randrange(1, 300)) + b"\r\n\r\n")
            await check(f"{options.headers} headers of noise")
            statuses: dict[int, int] = {}
            for _ in range(options.files):
                answer = await http.post(
                    f"{address}/v1/audio/transcriptions",
                    files={"file": ("a.wav", noise.randbytes(noise.randrange(60)))},
                )
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            await check(f"{options.files} tiny files {statuses}")
            status = raw(head + b"Content-Length: 2147483648\r\n\r\n--X\r\n", listen=True)
            await check(f"a body of 2 GB ({status})")
            bomb = io.BytesIO()
            with soundfile.SoundFile(bomb, "w", 48_000, 8, format="FLAC") as file:
                for _ in range(900):
                    file.write(np.zeros((48_000 * 20, 8), np.int16))
            answer = await http.post(
                f"{address}/v1/audio/transcriptions", files={"file": ("bomb.wav", bomb.getvalue())}
            )
            await check(f"5 h of silence in {len(bomb.getvalue()) >> 10} KiB ({answer.status_code})")
            await asyncio.sleep(2)
            print(f"private memory: {before:.0f} MiB before, {memory(process):.0f} after")


def main() -> None:
    """Run what the first argument names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["clients", "beside", "live", "faults"])
    parser.add_argument("model")
    parser.add_argument("audio", type=Path)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--headers", type=int, default=2000)
    parser.add_argument("--files", type=int, default=1000)
    options = parser.parse_args()
    asyncio.run({"clients": clients, "beside": beside, "live": live, "faults": faults}[options.what](options))


if __name__ == "__main__":
    main()
