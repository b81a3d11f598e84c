"""Worker processes that each load something once and then answer requests, so that code that holds Python's lock uses
every core.

They are started as programs of their own, not forked or spawned by `multiprocessing`: a script that uses them needs no
`if __name__ == "__main__"`, and threads of the parent do no harm. A worker ends when its parent does.
"""

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from wav2vec2.errors import UserError

_PROGRAM = "wav2vec2.decode.lexicon.worker"
_PATIENCE_SECONDS = 5.0


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerPool:
    """`count` workers, each with what `setup` describes (see `wav2vec2.decode.lexicon.worker`).

    Raises UserError if `setup` cannot be loaded or a worker dies; the pool is then closed.
    """

    def __init__(self, setup: Any, count: int) -> None:
        self._workers = [_Worker(number) for number in range(count)]
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(max_workers=count, thread_name_prefix="decode")
        packed = pickle.dumps(setup, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            list(self._threads.map(lambda worker: worker.start(packed), self._workers))
        except BaseException:
            self.close()
            raise
        for worker in self._workers:
            self._free.put(worker)

    def ask(self, requests: Sequence[Any]) -> list[Any]:
        """Answer all requests, in their order, whoever works on which. They are dealt out as they come: put the long
        ones first.
        """
        try:
            return list(self._threads.map(self._ask, requests))
        except BaseException:
            self.close()
            raise

    def _ask(self, request: Any) -> Any:
        worker = self._free.get()
        try:
            return worker.ask(request)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End the workers; requests under way are dropped."""
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(wait=True, cancel_futures=True)


class _Worker:
    def __init__(self, number: int) -> None:
        self._number = number
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None

    def start(self, setup: bytes) -> None:
        """Start the program and wait until it has loaded its setup."""
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        self._process = subprocess.Popen(
            [sys.executable, "-m", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        self._exchange(setup)

    def ask(self, request: Any) -> Any:
        return self._exchange(pickle.dumps(request, protocol=pickle.HIGHEST_PROTOCOL))

    def _exchange(self, packed: bytes) -> Any:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise UserError("this decoder is closed; make a new one")
        try:
            process.stdin.write(packed)
            process.stdin.flush()
            good, answer = pickle.load(process.stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            raise UserError(self._obituary(process)) from None
        if not good:
            raise UserError(answer)
        return answer

    def _obituary(self, process: "subprocess.Popen[bytes]") -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_SECONDS)
        code = process.returncode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        lines: list[str] = []
        if self._complaints is not None:
            with contextlib.suppress(OSError, ValueError):
                self._complaints.seek(0)
                lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        said = f" ({lines[-1]})" if lines else ""
        return (
            f"decoding worker {self._number} (process {process.pid}) died: {how}{said}; "
            "if memory ran out, use fewer --workers or a smaller beam"
        )

    def end(self) -> None:
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, self._complaints):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
