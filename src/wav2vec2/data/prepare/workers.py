"""The worker processes of `prepare`. A recording that makes its process die is found, rejected and passed over.

A worker notes which recording of a chunk it has begun (`examine_chunk`). When one dies, the chunks that were in work
are examined again, each in a process of its own, and the recording that was noted is left out.
"""

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import replace

from wav2vec2.data.prepare.examine import Chunk, begun_recording, examine_chunk
from wav2vec2.errors import UserError
from wav2vec2.ray_cluster import RayOptions, run_on_cluster


def run_chunks(pieces: Iterator[Chunk], workers: int, advance: Callable[[Chunk, int], None]) -> None:
    """Examine chunks, and call `advance` with each and the number of samples decoded.

    A single chunk, or all with one worker, are examined in this process; a chunk at which an earlier run died, in one
    of its own. Raises UserError if a worker dies again and again.
    """
    first = next(pieces, None)
    if first is None:
        return
    second = next(pieces, None)
    pieces = itertools.chain([first], [] if second is None else [second], pieces)
    if workers == 1 or second is None:
        for chunk in pieces:
            advance(chunk, _carefully(chunk))
        return
    while suspects := _until_a_worker_dies(pieces, workers, advance):
        for chunk in suspects:
            advance(chunk, _alone(chunk))


def run_chunks_on_cluster(pieces: Iterator[Chunk], options: RayOptions, advance: Callable[[Chunk, int], None]) -> None:
    """As `run_chunks`, with the processes of a Ray cluster, which all see the files and the journal's folder.

    A process that dies, be it of a recording or with its node, has its chunk examined again in a process of its own.
    """
    share = replace(options, ray_gpus=options.ray_gpus or 0.0)
    with closing(run_on_cluster(_examiner, pieces, share, name=lambda chunk: chunk.journal.name)) as examined:
        for chunk, samples in examined:
            if not chunk.journal.exists():
                where = f"{chunk.journal}: was written on another machine and is not seen here"
                raise UserError(f"{where}: give --out a folder that all machines share")
            advance(chunk, samples)


def _examiner() -> Callable[[Chunk], int]:
    return lambda chunk: 0 if chunk.journal.exists() else _carefully(chunk)


def _carefully(chunk: Chunk) -> int:
    """Examine a chunk; one at which a process died, in a process of its own."""
    return _alone(chunk) if begun_recording(chunk.journal) is not None else examine_chunk(chunk)


def _until_a_worker_dies(pieces: Iterator[Chunk], workers: int, advance: Callable[[Chunk, int], None]) -> list[Chunk]:
    """Examine chunks in several processes; returns those in work when a process died, none after the last chunk."""
    waiting: dict[Future[int], Chunk] = {}
    with _pool(workers) as pool:
        try:
            for chunk in pieces:
                waiting[pool.submit(examine_chunk, chunk)] = chunk
                if len(waiting) >= 3 * workers:  # no more than a few per worker: there may be millions of files
                    _collect(waiting, advance)
            while waiting:
                _collect(waiting, advance)
        except BrokenProcessPool:
            return [chunk for chunk in waiting.values() if not chunk.journal.exists()]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return []


def _collect(waiting: dict[Future[int], Chunk], advance: Callable[[Chunk, int], None]) -> None:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        samples = future.result()
        advance(waiting.pop(future), samples)


def _alone(chunk: Chunk) -> int:
    """Examine a chunk in a process of its own, as often as a recording kills it."""
    deadly: frozenset[int] = frozenset()
    while True:
        with _pool(1) as pool:
            try:
                return pool.submit(examine_chunk, chunk, deadly).result()
            except BrokenProcessPool:
                begun = begun_recording(chunk.journal)
        if begun is None or begun in deadly:
            remedy = "use fewer --workers if memory is short, and run the same command again; it continues"
            raise UserError(f"prepare: a worker process died: {remedy}")
        deadly |= {begun}


def _pool(workers: int) -> ProcessPoolExecutor:
    # "spawn": a fork of a process with threads (progress bar, Arrow) may hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)


def _begin_worker() -> None:
    """Ignore Ctrl-C, which reaches the whole process group: the parent stops a worker after its chunk.

    A parent that is killed cannot do that, and its workers would wait for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
