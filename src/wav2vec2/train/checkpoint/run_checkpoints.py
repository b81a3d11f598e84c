"""What a run saves, and where it goes on: from the newest checkpoint that is what was written."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wav2vec2.config import as_plain
from wav2vec2.errors import UserError
from wav2vec2.train import distributed
from wav2vec2.train.best import BestWeights
from wav2vec2.train.checkpoint.contents import refuse_changes, restore, training_tensors
from wav2vec2.train.checkpoint.folder import GOOD, Checkpoints
from wav2vec2.train.checkpoint.seal import Damaged, read_state, read_without_trust, verify
from wav2vec2.train.metrics import Reporter
from wav2vec2.train.objective import Run
from wav2vec2.train.state import LogWindow, RunState
from wav2vec2.train.step import Step


class RunCheckpoints:
    """Saves a run and loads it again. All processes call each method together, except ``report``.

    Args:
        run: settings of the run.
        step: has the model, the moments of its parameters and, in float16, the scale of the loss.
        window: sums of the next log line.
        best: the best weights, which a checkpoint refers to.
        reporter: prints lines, and has the log, which must not lack what a checkpoint is past.
    """

    def __init__(
        self,
        run: Run,
        step: Step[Any],
        window: LogWindow,
        best: BestWeights,
        reporter: Reporter,
    ) -> None:
        self._run, self._step, self._window = run, step, window
        self._best, self._reporter, self._say = best, reporter, reporter.say
        self._folder = Checkpoints(run.output / "checkpoints", run.log.keep_last)

    def save(self, state: RunState, *, wait: bool) -> None:
        """Write a checkpoint in the background, or at once. If the disk is full, say so and go on without it."""
        started = time.perf_counter()
        self._folder.finish()
        self.report()
        if failure := self._best.retry():
            self._say(f"the best weights, of update {state.best_update}, still cannot be written ({failure})")
            self._complain(state.update, failure)
        elif failure := distributed.gather_objects(self._reporter.sync())[0]:
            self._complain(state.update, failure)
        else:
            described = {
                "clock": [self._window.busy, self._window.waited],
                "fingerprint": self._run.fingerprint,
                "config": as_plain(self._run.config),
                GOOD: state.health_streak == 0 and state.skips == 0,
            }
            self._folder.begin(state.update, self._tensors(), state.as_plain() | described)
            if wait:
                self.finish()
        self._window.saving += time.perf_counter() - started

    def finish(self) -> None:
        """Wait for the save in flight."""
        self._folder.finish()
        self.report()

    def report(self) -> None:
        """If a save has ended since the last call, say why it failed, or let its best weights be the best."""
        saved = self._folder.ended()
        if saved is None:
            return
        if saved.failure:
            self._complain(saved.update, saved.failure)
        else:
            self._best.adopt(saved.state["best_update"])

    def resume(self) -> tuple[RunState | None, list[str]]:
        """Load the newest sound checkpoint; return its state, None if there is none, and lines to print.

        Raises:
            UserError: all are damaged, or the run had another configuration or other data.
        """
        found: list[RunState] = []

        def load(path: Path, saved: dict[str, Any]) -> None:
            found[:] = [self._load(path, saved)]

        path, lines = newest_sound(self._folder, load)
        if path is None:
            return None, lines
        return self._settled(found[0]), lines

    def go_back(self) -> RunState | None:
        """Load the last checkpoint that was written while nothing was suspicious; set newer ones aside.

        Returns its state, or None if there is no such checkpoint.
        """
        self.finish()
        good = self._folder.last_good()
        if good is None:
            return None
        try:
            state = self._load(good, sound_state(good))
        except Damaged:
            return None
        for path in self._folder.newest_first():
            if path.name > good.name:
                self._folder.set_aside(path, "suspicious")
        return self._settled(state)

    def _settled(self, state: RunState) -> RunState:
        if state.best is not None and not self._best.settle(state.best_update):
            # Its weights were replaced by those of a later validation, which will come again.
            state.best, state.best_update = None, 0
        return state

    def _tensors(self) -> dict[str, Any]:
        own = (
            training_tensors(self._step.model, self._step.optimizer, self._run.fixed) | self._step.loss_scale.tensors()
        )
        return own | {"sums": self._window.gather()}

    def _load(self, path: Path, saved: dict[str, Any]) -> RunState:
        with read_without_trust(path):
            state, (busy, waited) = RunState.from_plain(saved), map(float, saved.get("clock", (0.0, 0.0)))
            refuse_changes(self._run.output, saved["config"], self._run.config)
        if saved.get("fingerprint") != self._run.fingerprint:
            raise UserError(
                f"{self._run.output}: was started {'from another model, or ' if self._run.fixed else ''}on other data: "
                "give the old one, or choose another output folder"
            )
        restore(path, self._tensors())
        self._window.resume()
        self._window.busy, self._window.waited = busy, waited
        return state

    def _complain(self, update: int, failure: str) -> None:
        newest = self._folder.newest_update
        self._say(
            f"the checkpoint of update {update} cannot be written ({failure}): free space; the newest is "
            f"{'still none' if newest is None else f'that of update {newest}'}"
        )


def newest_sound(
    checkpoints: Checkpoints, load: Callable[[Path, dict[str, Any]], None]
) -> tuple[Path | None, list[str]]:
    """Verify and ``load`` the newest checkpoint; if it is damaged, set it aside and take the one before.

    Args:
        checkpoints: of the run.
        load: takes the folder and its state; raises ``Damaged`` on all processes together if it cannot be loaded.

    Returns:
        The checkpoint that was loaded, None if there is none; and lines about damaged ones.

    Raises:
        UserError: all checkpoints are damaged, or ``load`` has refused.
    """
    damaged: list[Damaged] = []
    for path in checkpoints.newest_first():
        try:
            state = sound_state(path)
            load(path, state)
        except Damaged as error:
            damaged.append(error)
            continue
        lines = []
        for one in damaged:
            aside = checkpoints.set_aside(one.checkpoint, "damaged")
            lines.append(f"{one.checkpoint}: is damaged ({one.why}): set aside as {aside.name}, going on from {path}")
        return path, lines
    if damaged:
        first = damaged[0]
        more = f", and so are the {len(damaged) - 1} before it" if len(damaged) > 1 else ""
        raise UserError(
            f"{first.checkpoint}: is damaged ({first.why}){more}: copy a checkpoint back from a backup, or remove "
            f"{first.checkpoint.parent} to begin again"
        )
    return None, []


def sound_state(checkpoint: Path) -> dict[str, Any]:
    """The state of a checkpoint, after all its files have been compared with their SHA-256, each by one process.

    Raises:
        Damaged: on all processes, if any of them has found damage.
    """
    failure, state = "", {}
    try:
        state = read_state(checkpoint)
        verify(checkpoint, state, *distributed.place())
    except Damaged as error:
        failure = error.why
    if failure := distributed.first_text(failure):
        raise Damaged(checkpoint, failure)
    return state
