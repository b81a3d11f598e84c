"""A decoder process: it reads one file of a stranger, cuts it into pieces, and writes what the model hears in them.

The decoders of audio are native code that a damaged file may crash or keep busy, so each request has a process of its
own, with limits of memory and processor time, which may be killed at any time. It is forked from a parent that has
imported everything and opened the language model, which takes milliseconds, and shares their memory.

The parent takes nothing but descriptors: the end of the request's channel, and the file, which lies in memory. The
model is elsewhere: pieces go out as audio, and come back as the best symbols of their frames or all log-probabilities.
"""

import os
import resource
import select
import signal
import socket
import warnings
from typing import Any

import torch

from wav2vec2.errors import UserError, cause
from wav2vec2.serve.child import run_child
from wav2vec2.serve.decoder_tasks import Recognizer, align, transcribe
from wav2vec2.serve.limited_recording import LimitedRecording
from wav2vec2.serve.messages import Channel, Closed, Message
from wav2vec2.serve.peaks import Peaks
from wav2vec2.serve.remote_model import Refused


def run_job(recognizer: Recognizer, channel: Channel, descriptor: int) -> None:
    """Do what the first message asks for, and say why where it cannot be done."""
    channel.send(Message("begun", {"pid": os.getpid()}))
    job = channel.receive().fields
    _limit(job["memory_bytes"], job["processor_seconds"])
    peaks = Peaks() if job.get("peaks") else None
    part = job.get("start") or 0.0, job.get("end")
    recording = LimitedRecording(descriptor, job["name"], job["most_seconds"], part, peaks)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the transcript has it
            done = (transcribe if job["task"] == "transcribe" else align)(recognizer, recording, job, channel)
        if peaks is not None:
            channel.send(Message("peaks", {"rate": peaks.rate}, peaks.finish()))
        channel.send(Message("done", done))
    except UserError as error:
        channel.send(
            Message("failed", {"message": str(error), "code": "too_long" if recording.too_long else "bad_file"})
        )
    except MemoryError:
        channel.send(Message("failed", {"message": f"{job['name']}: needs too much memory", "code": "too_large"}))
    except (RuntimeError, ValueError, OSError, ArithmeticError) as error:
        channel.send(Message("failed", {"message": cause(error), "code": "crashed"}))


def _limit(memory: int, seconds: int) -> None:
    """Limit this process: `memory` bytes beyond what it has now, `seconds` of processor time."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def fork_for_requests(recognizer: Recognizer, parent: socket.socket) -> None:
    """Fork a process for every pair of descriptors that comes, until the front closes its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    compiled = [_compile_aside(recognizer)]
    while True:
        ready, _, _ = select.select([parent.fileno(), *compiled], [], [])
        if compiled and compiled[0] in ready:
            os.close(compiled.pop())
            recognizer.compile_search()
            continue
        _, descriptors, _, _ = socket.recv_fds(parent, 1, 2)
        if len(descriptors) != 2:
            return
        if os.fork() == 0:
            parent.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _finish(recognizer, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _compile_aside(recognizer: Recognizer) -> int:
    """Compile the search in a process of its own, which takes minutes once; return what can be read when it is done.

    What is compiled is kept on the disk, from where this process takes it then.
    """
    done, open_while_compiling = os.pipe()
    if os.fork() == 0:
        try:
            os.nice(19)  # requests come first
            recognizer.compile_search()
        finally:
            os._exit(0)
    os.close(open_while_compiling)
    return done


def _finish(recognizer: Recognizer, connection: int, file: int) -> None:
    """Run a request and end the process, without what Python does at its end."""
    status = 1
    try:
        run_job(recognizer, Channel(socket.socket(fileno=connection)), file)
        status = 0
    except (Closed, Refused):  # the client has gone, or the front has ended it
        status = 0
    finally:
        os._exit(status)


def _opened(settings: dict[str, Any]) -> Recognizer:
    torch.set_num_threads(1)
    return Recognizer(settings)


if __name__ == "__main__":
    run_child(_opened, Recognizer.facts, fork_for_requests)
