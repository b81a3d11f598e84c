"""Two sides of a comparison, each in a process of its own, that take turns.

While one works the other sleeps on its pipe, so their times do not disturb each other and their memory is told apart.
On a CPU, memory is the highest resident size of the steps, less the size before there was a model; on a GPU it is the
highest that torch had allocated there.
"""

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, cast

import torch

from wav2vec2.errors import UserError
from wav2vec2.train.benchmark.allocator import keep_freed_memory
from wav2vec2.train.benchmark.ceiling import matmul_ceiling, synchronize
from wav2vec2.train.benchmark.ours import OurSteps, Steps
from wav2vec2.train.benchmark.parts import time_of_parts
from wav2vec2.train.benchmark.reading import Heard, Source, listen
from wav2vec2.train.benchmark.workload import Waveforms, Workload

Side = Literal["wav2vec2", "transformers"]
OURS: Side = "wav2vec2"
THEIRS: Side = "transformers"


@dataclass(frozen=True)
class Turn:
    """The steps of one turn together."""

    seconds: float
    cpu_seconds: float
    """Of all threads: what other work on the machine disturbs least."""
    host_seconds: float = 0.0
    """Until the host had queued everything: about as long as the steps where a GPU waits for it."""


class Worker:
    """What one side can be asked for."""

    def __init__(self, side: Side, w: Workload, directory: Path | None, *, keep: bool) -> None:
        self.keeps = keep and keep_freed_memory()
        torch.set_num_threads(w.threads)
        self.device = torch.device(w.device)
        self.half = w.half
        self._before = 0 if self.device.type == "cuda" else _resident("VmRSS:")
        self.steps = _steps(side, w, directory)
        _forget_peak(self.device)

    def turn(self, rows: Waveforms, update: int, repeat: int, untimed: int) -> Turn:
        """Take ``repeat`` steps on one batch, after ``untimed`` ones."""
        batch = self.steps.ready(rows, update)
        for _ in range(untimed):
            self.steps.compute(batch, update)
        synchronize(self.device)
        started, cpu_started = time.perf_counter(), time.process_time()
        for number in range(repeat):
            self.steps.compute(batch, update + number)
        queued = time.perf_counter() - started
        synchronize(self.device)
        return Turn(time.perf_counter() - started, time.process_time() - cpu_started, queued)

    def fits(self, rows: Waveforms) -> bool:
        """Whether there is memory for a step on this batch."""
        try:
            self.steps.compute(self.steps.ready(rows, 0), 0)
            synchronize(self.device)
        except torch.OutOfMemoryError:
            fitting = False
        else:
            fitting = True
        self.steps.forget_gradients()
        self.release()
        return fitting

    def parts(self, rows: Waveforms, update: int) -> dict[str, float]:
        """Seconds of one step by part."""
        return time_of_parts(cast(OurSteps, self.steps), rows, update)

    def masked(self, rows: Waveforms, update: int) -> list[int] | None:
        """Masked frames of each utterance."""
        steps = cast(OurSteps, self.steps)
        return steps.masked(steps.ready(rows, update), update)

    def listen(self, source: Source, steps: int) -> Heard:
        """Train or infer on the batches of a manifest as they are read."""
        return listen(cast(OurSteps, self.steps), source, steps)

    def logits(self, rows: Waveforms) -> Any:
        """What inference gives, as an array."""
        logits = self.steps.compute(self.steps.ready(rows, 0), 0)
        assert logits is not None
        return logits.float().cpu().numpy()

    def ceiling(self) -> float:
        """Operations a second in plain products."""
        return matmul_ceiling(self.device, half=self.half)

    def peak(self) -> int:
        """Bytes at the peak: weights, gradients, AdamW's state and activations."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return _resident("VmHWM:") - self._before

    def release(self) -> None:
        """Give cached memory of a GPU back, for the other side's turn."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _steps(side: Side, w: Workload, directory: Path | None) -> Steps:
    if side == OURS:
        return OurSteps(w)
    from wav2vec2.train.benchmark.theirs import TheirSteps

    assert directory is not None
    return TheirSteps(w, directory)


def _resident(field: str) -> int:
    """Bytes by a field of /proc/self/status; 0 where there is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return 0


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew


def _serve(pipe: Connection, side: Side, w: Workload, directory: Path | None, keep: bool) -> None:
    """The process of one side: answers until the pipe is closed."""
    try:
        worker = Worker(side, w, directory, keep=keep)
        pipe.send((True, worker.keeps))
        while True:
            name, arguments = pipe.recv()
            pipe.send((True, getattr(worker, name)(*arguments)))
    except (EOFError, KeyboardInterrupt):
        pass
    except (torch.OutOfMemoryError, MemoryError):
        pipe.send((False, f"{side}: the device ran out of memory: lower --batch"))
    except UserError as error:
        pipe.send((False, str(error)))


class Opponent:
    """The process of one side, asked by method names of ``Worker``."""

    def __init__(self, side: Side, w: Workload, directory: Path | None, *, keep: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.side, self.on_gpu = side, w.device.startswith("cuda")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, side, w, directory, keep), daemon=True)
        self._process.start()
        far.close()
        self.keeps_freed_memory = bool(self._answer())

    def ask(self, name: str, *arguments: Any) -> Any:
        """Let it do one thing and return the answer.

        Raises:
            UserError: memory is not enough, or the process ended.
        """
        self._pipe.send((name, arguments))
        answer = self._answer()
        time.sleep(0.05)  # threads of the side that just worked may still spin
        return answer

    def _answer(self) -> Any:
        try:
            good, answer = self._pipe.recv()
        except EOFError:
            raise UserError(
                f"{self.side}: its process ended, perhaps for lack of memory: lower --batch or --seconds"
            ) from None
        if not good:
            raise UserError(answer)
        return answer

    def end(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def say(line: str) -> None:
    """Tell the user what is going on."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def opponents(sides: tuple[Side, ...], w: Workload, directory: Path | None, *, keep: bool) -> Iterator[list[Opponent]]:
    """The processes of these sides, built one after another and ended with the block."""
    running: list[Opponent] = []
    try:
        for side in sides:
            say(f"building the model of {side}")
            running.append(Opponent(side, w, directory, keep=keep))
        yield running
    finally:
        for one in running:
            one.end()


def alternate(sides: list[Opponent], batches: list[Waveforms], *, warmup: int, repeat: int) -> dict[Side, list[Turn]]:
    """Turns of every batch on each side, A B A B, after ``warmup`` rounds.

    On a GPU that both share, each gives its cached memory back after its turn, and gets it anew in an untimed step.
    """
    turns: dict[Side, list[Turn]] = {one.side: [] for one in sides}
    shared = len(sides) > 1 and sides[0].on_gpu
    rounds = [*batches[:1] * warmup, *batches]
    for number, rows in enumerate(rounds):
        for one in sides:
            say(f"round {number + 1} of {len(rounds)}: {one.side}")
            taken = one.ask("turn", rows, number * repeat, repeat, int(shared))
            if number >= warmup:
                turns[one.side].append(taken)
            if shared:
                one.ask("release")
    return turns
