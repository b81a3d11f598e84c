"""Updates that are skipped: their recordings could not be read, or their gradient is not finite."""

import math
from collections import deque
from collections.abc import Callable
from typing import Generic

from torch import Tensor

from wav2vec2.errors import UserError
from wav2vec2.train.health import Verdict
from wav2vec2.train.host_value import HostValue
from wav2vec2.train.objective import BatchT, Run
from wav2vec2.train.state import RunState
from wav2vec2.train.step import Step, Work


class Skips(Generic[BatchT]):
    """Counts skipped updates in a row (``state.skips``), says so, and gives up after ``train.max_skips``.

    A GPU may be an update behind the host: the norm of a gradient is read when the next update has been queued.

    Args:
        run: settings of the run.
        step: looks for what is not finite.
        say: prints a line.
    """

    def __init__(self, run: Run, step: Step[BatchT], say: Callable[[str], None]) -> None:
        self._run, self._step, self._say = run, step, say
        self._pending: deque[tuple[int, Work[BatchT], HostValue]] = deque()

    def taken(self, state: RunState, work: Work[BatchT], norm: Tensor) -> None:
        """Note an update and the norm of its gradient; may raise as ``read`` does, of an earlier one."""
        self._pending.append((state.update, work, HostValue(norm)))
        self.read(state, 1 if norm.is_cuda else 0)

    def read(self, state: RunState, leave: int = 0) -> None:
        """Read the norms of all but the last ``leave`` updates.

        Raises:
            Verdict: too many updates in a row were skipped, or a parameter is not finite.
        """
        while len(self._pending) > leave:
            number, work, norm = self._pending.popleft()
            if math.isfinite(norm.read()):
                state.skips = 0
            else:
                self._not_finite(state, work, number)

    def forget(self) -> None:
        """Drop what has not been read: the run goes back to a checkpoint."""
        self._pending.clear()

    def _not_finite(self, state: RunState, work: Work[BatchT], number: int) -> None:
        state.skips += 1
        where = self._step.bad_parameter() or "loss"
        self._say(f"update {number} skipped: {where} is not finite ({state.skips} in a row)")
        if state.skips >= self._run.train.max_skips or where.startswith("parameter"):
            where = self._step.bad_module(work, number) or where
            self._step.forget_gradients()
            raise Verdict(
                f"{self._run.output}: {where} is not finite at update {number}, {state.skips} skipped in a row: "
                "lower train.lr, set train.clip_norm, or use train.precision fp32; the last checkpoint is kept"
            )

    def unreadable(self, state: RunState) -> None:
        """Count an update without data.

        Raises:
            UserError: too many updates in a row were skipped.
        """
        self.read(state)
        state.skips += 1
        self._say(f"update {state.update} skipped: no recording of it could be read ({state.skips} in a row)")
        if state.skips >= min(self._run.train.max_skips, self._run.train.updates):
            raise UserError(
                f"{self._run.output}: no recording of update {state.update} could be read, {state.skips} updates "
                "skipped in a row (train.max_skips; see the lines above): check the files or their drive, and run the "
                "same command again"
            )
