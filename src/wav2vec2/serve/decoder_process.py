"""A decoder process: it reads one file of a stranger, cuts it into pieces, and writes what the model hears in them.

The decoders of audio are native code that a damaged file may crash or keep busy, so each request has a process to
itself, with limits of memory and processor time, which may be killed at any time. It is forked from a parent that has
imported everything and opened the language model, and shares their memory.

The parent takes nothing but descriptors: the end of the request's channel, and the file, which lies in memory. The
model is elsewhere: pieces go out as audio, and come back as the best symbols of their frames or all log-probabilities.
"""

import gc
import os
import select
import socket
import warnings
from typing import Any

import torch

from wav2vec2.errors import UserError, cause
from wav2vec2.inference.freed_memory import give_back
from wav2vec2.serve.child import run_child
from wav2vec2.serve.decoder_children import DecoderChildren, limit, next_request
from wav2vec2.serve.decoder_tasks import Recognizer, align, transcribe
from wav2vec2.serve.idle_memory import IDLE_SECONDS
from wav2vec2.serve.limited_recording import LimitedRecording
from wav2vec2.serve.messages import Channel, Closed, Message
from wav2vec2.serve.peaks import Peaks
from wav2vec2.serve.remote_model import Refused


def run_job(recognizer: Recognizer, channel: Channel, descriptor: int) -> bool:
    """Do what the first message asks for, and say why where it cannot be done.

    Return False after an error that is not the file's. Raises Closed when the front has gone, and Refused when it
    has ended the request.
    """
    channel.send(Message("begun", {"pid": os.getpid()}))
    job = channel.receive().fields
    limit(job["memory_bytes"], job["processor_seconds"])
    peaks = Peaks() if job.get("peaks") else None
    part = job.get("start") or 0.0, job.get("end")
    recording = LimitedRecording(descriptor, job["name"], job["most_seconds"], part, peaks)
    code, why = "", ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the transcript has it
            done = (transcribe if job["task"] == "transcribe" else align)(recognizer, recording, job, channel)
        if peaks is not None:
            channel.send(Message("peaks", {"rate": peaks.rate}, peaks.finish()))
        channel.send(Message("done", done))
    except UserError as error:
        code, why = "too_long" if recording.too_long else "bad_file", str(error)
    except MemoryError:
        code, why = "too_large", f"{job['name']}: needs too much memory"
    except (RuntimeError, ValueError, OSError, ArithmeticError) as error:
        code, why = "crashed", cause(error)
    if code:
        channel.send(Message("failed", {"message": why, "code": code}))
    return code in ("", "too_long", "bad_file")


def do_requests(recognizer: Recognizer, parent: socket.socket) -> None:
    """Give every pair of descriptors that comes to a process, until the front closes its end."""
    # Python 3.12 warns of forking beside threads. Those here are pools of libraries, idle, and no child uses them.
    warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
    gc.freeze()  # a collection in a child would copy what it shares
    children = DecoderChildren(lambda connection, file: _do(recognizer, connection, file), parent)
    compiled = [_compile_aside(recognizer)]
    wait: float | None = IDLE_SECONDS
    while True:
        ready, _, _ = select.select([parent, *compiled, *children.controls], [], [], wait)
        wait = IDLE_SECONDS if ready else None
        if not ready:
            children.retire()
            give_back()
        if compiled and compiled[0] in ready:
            compiled.pop().close()
            recognizer.compile_search()
            gc.freeze()
            children.replace()
            continue
        children.news([control for control in ready if control is not parent])
        if parent in ready:
            request = next_request(parent)
            if request is None:
                return
            children.give(*request)


def _compile_aside(recognizer: Recognizer) -> socket.socket:
    """Compile the search in a process of its own, which takes minutes once; return what can be read when it is done.

    What is compiled is kept on the disk, from where this process takes it then.
    """
    done, open_while_compiling = socket.socketpair()
    if os.fork() == 0:
        try:
            os.nice(19)  # requests come first
            recognizer.compile_search()
        finally:
            os._exit(0)
    open_while_compiling.close()
    return done


def _do(recognizer: Recognizer, connection: int, file: int) -> bool:
    """Do a request; return whether this process can be trusted with another one."""
    try:
        with socket.socket(fileno=connection) as ends:
            well = run_job(recognizer, Channel(ends), file)
            # Until the front has closed its end it may kill this process, and would hit the next request.
            return well and not ends.recv(1)
    except (Closed, Refused, OSError):  # the client has gone, or the front has ended it
        return False
    finally:
        os.close(file)


def _opened(settings: dict[str, Any]) -> Recognizer:
    torch.set_num_threads(1)
    return Recognizer(settings)


if __name__ == "__main__":
    run_child(_opened, Recognizer.facts, do_requests)
