"""Worker processes, each of which loads a lexicon search once and then answers requests.

flashlight holds Python's lock, so threads would not use more than one core. Workers are separate programs (this module,
run as a script), not forked or spawned by `multiprocessing`: code that uses them needs no `if __name__ == "__main__"`,
and threads of the parent do no harm. A worker reads pickles from stdin and answers each with a pair: (True, result), or
(False, an error message of one line). It ends when its parent does.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, Any

from wav2vec2.errors import UserError

_PROGRAM = "wav2vec2.decode.lexicon.workers"
_PATIENCE_SECONDS = 5.0  # for the exit status of a worker that died


class WorkerPool:
    """`count` workers, each with a `LexiconSearch` made from the arguments in `setup`.

    Raises UserError if the search cannot be loaded or a worker dies; the pool is then closed.
    """

    def __init__(self, setup: tuple[Any, ...], count: int) -> None:
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
        """Return the answers to requests, the arguments of `LexiconSearch.decode`, in their order.

        Each request goes to the next worker that is free, so put the longest first.
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
        """End the workers; unfinished requests are dropped."""
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(wait=True, cancel_futures=True)


class _Worker:
    def __init__(self, number: int) -> None:
        self._number = number
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def start(self, setup: bytes) -> None:
        """Start the program and wait until it has loaded its search."""
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        self._process = subprocess.Popen(
            [sys.executable, "-m", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
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
            raise UserError(self._cause_of_death(process)) from None
        if not good:
            raise UserError(answer)
        return answer

    def _cause_of_death(self, process: "subprocess.Popen[bytes]") -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_SECONDS)
        code = process.returncode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        lines: list[str] = []
        if self._errors is not None:
            with contextlib.suppress(OSError, ValueError):
                self._errors.seek(0)
                lines = self._errors.read().decode(errors="replace").strip().splitlines()
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
        for stream in (process.stdin, process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Load the search from the arguments that come first, then answer requests until the input ends."""

    def answer(work: Callable[[], Any]) -> tuple[bool, Any]:
        try:
            return True, work()
        except UserError as error:
            return False, str(error)
        except MemoryError:
            return False, "a decoding worker ran out of memory; use fewer --workers or a smaller beam"

    def send(reply: tuple[bool, Any]) -> None:
        pickle.dump(reply, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()

    def load() -> Any:
        from wav2vec2.decode.lexicon.search import LexiconSearch

        return LexiconSearch(*pickle.load(requests))

    good, search = answer(load)
    send((good, None if good else search))
    while good:
        try:
            arguments = pickle.load(requests)
        except EOFError:
            return
        send(answer(partial(search.decode, *arguments)))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # printed lines go to stderr, not among the answers
    serve(sys.stdin.buffer, channel)
