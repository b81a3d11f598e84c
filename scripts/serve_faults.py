"""What a server does when things go wrong: after each fault, the same clip must have the same text.

    python -m scripts.serve_faults MODEL AUDIO --headers 100000 --files 10000

AUDIO is a folder of short recordings. Kills a compute worker; sends half bodies, bodies that stop, headers of noise,
tiny files, a body that promises 2 GB, and hours of silence in a small file; lets clients vanish while they wait.
Private memory of all processes, and anonymous memory of each kind, is printed after each.
"""

import argparse
import asyncio
import io
import os
import random
import signal
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import numpy as np
import soundfile
from scripts.served import CLIP, ask, encoded, family, memory, memory_by_kind, serving, speech

HEAD = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=X\r\n"
PATH = "/v1/audio/transcriptions"
IDLE_SECONDS = 15
"""Before the first look at the memory, and before the last one: the search is compiled, freed memory is given back."""


class Victim:
    """The server, a client, and what its answer was before anything went wrong."""

    def __init__(self, address: str, process: int, http: httpx2.AsyncClient, clip: bytes, text: str) -> None:
        self.address, self.process, self.http, self._clip, self._text = address, process, http, clip, text

    def raw(self, data: bytes, *, listen: bool = False) -> str:
        """Send bytes over a connection of their own; the first of the answer."""
        place = urlsplit(self.address)
        with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
            connection.sendall(data)
            return connection.recv(12).decode() if listen else ""

    async def post(self, content: bytes, name: str = "a.wav") -> int:
        """Send a file; the status of the answer."""
        return (await self.http.post(self.address + PATH, files={"file": (name, content)})).status_code

    async def check(self, name: str) -> None:
        """Whether the clip still has its text."""
        again, took = await ask(self.http, self.address, self._clip)
        used = memory_by_kind(self.process)
        parts = ", ".join(f"{kind} {size:.0f}" for kind, size in used.items())
        sizes = f"private {memory(self.process):.0f} MiB, anonymous {sum(used.values()):.0f} ({parts})"
        same = "as before" if again == self._text else "OTHER TEXT"
        print(f"{name}: {same}, {took:.2f} s, {sizes}", flush=True)


async def killed_worker(victim: Victim, _: argparse.Namespace) -> str:
    """SIGKILL to a compute worker."""
    commands = {number: Path(f"/proc/{number}/cmdline").read_bytes() for number in family(victim.process)}
    os.kill(next(number for number, words in commands.items() if b"compute_worker" in words), signal.SIGKILL)
    return "a compute worker killed"


async def half_bodies(victim: Victim, _: argparse.Namespace) -> str:
    """Connections that close after a part of what they promised."""
    for _number in range(200):
        victim.raw(HEAD + b"Content-Length: 100000\r\n\r\n--X\r\n")
    return "200 half bodies"


async def trickles(victim: Victim, _: argparse.Namespace) -> str:
    """Clients that send nothing more, and wait."""
    sent = HEAD + b"Content-Length: 100000\r\n\r\n--X\r\n"
    answers = await asyncio.gather(*(asyncio.to_thread(victim.raw, sent, listen=True) for _ in range(30)))
    return f"30 bodies that stop ({dict(Counter(answer[9:] or 'closed' for answer in answers))})"


async def vanishing(victim: Victim, options: argparse.Namespace) -> str:
    """Clients that close their connection while a minute of speech is being written down."""
    minute = encoded(speech(options.audio, 60, 1))
    asked = [asyncio.create_task(victim.post(minute, "a.flac")) for _ in range(50)]
    await asyncio.sleep(0.5)
    answered = sum(task.done() for task in asked)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    return f"50 clients that vanish ({answered} had been answered)"


async def headers_of_noise(victim: Victim, options: argparse.Namespace) -> str:
    """Requests of random bytes."""
    noise = random.Random(0)
    for _number in range(options.headers):
        victim.raw(noise.randbytes(noise.randrange(1, 300)) + b"\r\n\r\n")
    return f"{options.headers} headers of noise"


async def tiny_files(victim: Victim, options: argparse.Namespace) -> str:
    """Files of less than sixty random bytes."""
    noise = random.Random(1)
    statuses = Counter([await victim.post(noise.randbytes(noise.randrange(60))) for _ in range(options.files)])
    return f"{options.files} tiny files ({dict(statuses)})"


async def large_promise(victim: Victim, _: argparse.Namespace) -> str:
    """A body of 2 GB, by its header."""
    status = victim.raw(HEAD + b"Content-Length: 2147483648\r\n\r\n--X\r\n", listen=True)
    return f"a body of 2 GB ({status[9:]})"


async def silent_hours(victim: Victim, _: argparse.Namespace) -> str:
    """A small file of 5 h of silence on 8 channels."""
    bomb = io.BytesIO()
    with soundfile.SoundFile(bomb, "w", 48_000, 8, format="FLAC") as file:
        for _number in range(900):
            file.write(np.zeros((48_000 * 20, 8), np.int16))
    return f"5 h of silence in {len(bomb.getvalue()) >> 10} KiB ({await victim.post(bomb.getvalue())})"


FAULTS: tuple[Callable[[Victim, argparse.Namespace], Awaitable[str]], ...] = (
    killed_worker,
    half_bodies,
    trickles,
    vanishing,
    headers_of_noise,
    tiny_files,
    large_promise,
    silent_hours,
)


async def faults(options: argparse.Namespace) -> None:
    """One after the other."""
    clip = encoded(speech(options.audio, CLIP, 0))
    with serving(options.model) as (address, process):
        async with httpx2.AsyncClient(timeout=600) as http:
            text, _ = await ask(http, address, clip)
            for _number in range(20):
                await ask(http, address, clip)
            await asyncio.sleep(IDLE_SECONDS)
            victim = Victim(address, process, http, clip, text)
            await victim.check("before")
            for fault in FAULTS:
                await victim.check(await fault(victim, options))
            await asyncio.sleep(IDLE_SECONDS)
            await victim.check(f"after {IDLE_SECONDS} s without work")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("audio", type=Path)
    parser.add_argument("--headers", type=int, default=2000)
    parser.add_argument("--files", type=int, default=1000)
    asyncio.run(faults(parser.parse_args()))


if __name__ == "__main__":
    main()
