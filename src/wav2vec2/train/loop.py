"""The training loop, the same for pre-training, fine-tuning and language models.

``train/step.py`` does one update. Everything random is a function of (seed, update, row of the global batch), so a
resumed run repeats the interrupted one bit for bit.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic

import torch
from torch import nn

from wav2vec2.config import write_toml
from wav2vec2.data.dataset import Update
from wav2vec2.errors import Stopped, UserError, cause
from wav2vec2.train import distributed, optimizer
from wav2vec2.train.best import BestWeights, copy_weights
from wav2vec2.train.checkpoint.run_checkpoints import RunCheckpoints
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.health import HealthMonitor, Verdict
from wav2vec2.train.interrupt import StopRequest, stop_signals
from wav2vec2.train.lock import sole_run
from wav2vec2.train.metrics import Reporter, duration
from wav2vec2.train.objective import BatchT, Loader, Objective, Run
from wav2vec2.train.skips import Skips
from wav2vec2.train.state import LogWindow, RunState
from wav2vec2.train.step import Step

_SOON = 60  # seconds in which a run must have shown a sign of life


class Trainer(Generic[BatchT]):
    """Trains the model of an objective, from the newest checkpoint to the end of the run or until asked to stop.

    Args:
        run: settings of the run, and its folder.
        objective: the model, its loss and its validation.
        loader: yields the batches of each update.
        ranks: this process and its device.
        wrap: turns the model into the module that is called, for example a compiled or a distributed one. None calls
            the model itself. Parameters, checkpoints and exports are always those of the model.
    """

    def __init__(
        self,
        run: Run,
        objective: Objective[BatchT],
        loader: Loader[BatchT],
        ranks: Ranks,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        self.run, self.objective, self.loader, self.ranks = run, objective, loader, ranks
        self.step = Step(run, objective, loader.unit, ranks, wrap)
        self.schedule = optimizer.schedule(run.train)
        self.peak, self.lr_line = optimizer.peak_lr(run.train, run.batch_seconds)
        self.health = HealthMonitor(
            run.health,
            run.train.updates,
            chance=objective.chance,
            codebooks=objective.codebooks,
            judged=objective.judged,
        )
        self.state = RunState()
        self.window = LogWindow(loader.unit, objective.sums(), ranks.device)
        self.best = BestWeights(run.output, self.step.engine.whole, objective.export)
        self.reporter = Reporter(run.output, run.train.updates, tensorboard=run.log.tensorboard, enabled=ranks.is_main)
        self.skips = Skips(run, self.step, self.reporter.say)
        self.checkpoints = RunCheckpoints(run, self.step, self.window, self.best, self.reporter)

    def train(self, announcements: list[str]) -> Path:
        """Train, and return the model directory: the weights of the best validation, or the last ones without any.

        Args:
            announcements: lines to print first.

        Raises:
            UserError: the run to be resumed had another configuration or other data; another run works in the folder; a
                health check failed; memory or the disk is full.
            Stopped: a signal asked the run to stop. It has saved, and the same command continues it.
        """
        try:
            with stop_signals(speak=self.ranks.is_main) as stop, sole_run(self.run.output) as lines:
                found, more = self.checkpoints.resume()
                self.state = found or self.state
                if self.ranks.is_main:
                    write_toml(self.run.config, self.run.output / "config.toml")
                self.reporter.open(self.state.update, self.state.validated_at)
                try:
                    about = (self.step.decay_line, self.lr_line or "", self.step.precision_line or "")
                    lines = [*announcements, *about, *lines, *more]
                    if found is not None:
                        updates = f"{self.state.update} of {self.run.train.updates}"
                        lines.append(f"resuming {self.run.output} at update {updates}")
                    for line in filter(None, lines):
                        self.reporter.say(line)
                    reason = self._loop_with_one_return(stop)
                    target = self._finish(reason)
                finally:
                    self.checkpoints.finish()
                    self.reporter.close()
        except torch.OutOfMemoryError:
            raise UserError(
                f"{self.run.output}: the device ran out of memory: lower batch.micro_{self.window.unit}"
            ) from None
        if reason and any(distributed.gather_objects(stop.by_signal)):
            raise Stopped(reason)
        return target

    def _loop_with_one_return(self, stop: StopRequest) -> str:
        while True:
            try:
                return self._loop(stop)
            except Verdict as verdict:
                self._go_back(verdict)

    def _loop(self, stop: StopRequest) -> str:
        """Run updates until the last one, or until asked to stop; return the reason for stopping, "" at the end."""
        log, state, window, total = self.run.log, self.state, self.window, self.run.train.updates
        began, limit = time.monotonic(), self.run.train.max_minutes * 60 or math.inf
        updates = self.loader.updates(state.position) if state.update < total else iter(())
        first = state.update + 1
        asked = self._alone_and_asked(stop)
        if not asked and state.update and self._validate_if_due() and state.update == total:
            self.checkpoints.save(state, wait=True)  # the run had been stopped before its last validation
        while state.update < total and not asked:
            started = time.perf_counter()
            batches = next(updates)
            window.waited += time.perf_counter() - started
            if not stop.reason and time.monotonic() - began > limit:
                stop.reason = f"train.max_minutes = {self.run.train.max_minutes:g}"
            # Several processes learn of a request one update later; a single one need not wait.
            asked = self._step(batches, bool(stop.reason)) or self._alone_and_asked(stop)
            window.busy += time.perf_counter() - started
            self.reporter.tick(state.update)
            if state.update == first and window.busy * log.every > _SOON and not self._due(first):
                left = duration((total - first) * window.busy)
                self.reporter.say(f"update {first} took {window.busy:.0f} s; at this rate {left} are left")
            self.checkpoints.report()
            if self._due(state.update):
                self.skips.read(state)
                self._log_line()
            if not asked:
                self._validate_if_due()
                asked = self._alone_and_asked(stop)
            done = state.update == total
            if (log.save_every and state.update % log.save_every == 0) or done or asked:
                self.skips.read(state)
                self.checkpoints.save(state, wait=done or asked)
        if state.update == total and not self._validation_due():
            return ""
        return distributed.first_text(stop.reason) or "another process was asked to stop"

    def _alone_and_asked(self, stop: StopRequest) -> bool:
        return self.ranks.world == 1 and bool(stop.reason)

    def _due(self, update: int) -> bool:
        """Whether a log line is written after this update."""
        return update % self.run.log.every == 0 or update == self.run.train.updates

    def _validation_due(self) -> bool:
        update, every = self.state.update, self.run.log.validate_every
        now = bool(every) and (update % every == 0 or update == self.run.train.updates)
        return now and self.state.validated_at != update

    def _step(self, update: Update[BatchT], stop: bool) -> bool:
        """Do one update; return whether any process had been asked to stop before it."""
        state = self.state
        work = self.step.prepare(update, state.update, stop)
        if work.held == 0 and state.skips == 0:
            # A drive may have gone away: the next start tries these recordings again.
            self.checkpoints.save(state, wait=True)
        if work.bad_files:
            self._report_bad_files(list(work.bad))
        if work.held == 0:
            self.window.skip()
            self.skips.unreadable(state)
        else:
            lr, due = state.lr_scale * self.peak * self.schedule(state.update), self._due(state.update + 1)
            taken = self.step.take(work, state.update, lr, self.window.zeros(), by_part=due)
            self.window.add(taken.sums, taken.norm)
            self.skips.taken(state, work, taken.norm)
            self.step.forget_gradients()
        state.update, state.position = state.update + 1, update.following
        return work.stop

    def _go_back(self, verdict: Verdict) -> None:
        """Go back to the last good checkpoint with half the learning rate; raise ``verdict`` the second time."""
        self.skips.forget()
        went_back = self.state.lr_scale < 1
        good = None if went_back or not self.run.health.go_back else self.checkpoints.go_back()
        if good is None:
            tried = "; half of train.lr was tried from the last good checkpoint" if went_back else ""
            raise Verdict(f"{verdict}{tried}")
        sick, self.state = self.state.update, good
        good.lr_scale, good.judged_from, good.health_streak = 0.5, good.update, 0
        self.checkpoints.save(good, wait=True)
        self.reporter.go_back(good.update, {"from": sick, "lr_scale": good.lr_scale, "verdict": str(verdict)})
        self.reporter.say(
            f"{verdict}. Going back from update {sick} to the last good checkpoint, of update {good.update}, and on "
            "with half the learning rate; this is done once"
        )

    def _log_line(self) -> None:
        state, window, updates = self.state, self.window, self.run.train.updates
        numbers = self.objective.numbers(window.gather(), state.update - 1) | window.numbers()
        norms = {name: float(norm) for name, norm in self.step.part_norms.items()}
        numbers |= {name: norm for name, norm in norms.items() if math.isfinite(norm)}
        numbers["lr"] = self.step.optimizer.param_groups[0]["lr"]
        batches = self.loader.plan.batches(state.position.epoch)
        numbers["epoch"] = state.position.epoch + state.position.position / batches
        unit = "s of audio" if window.unit == "seconds" else window.unit
        shown = f"{window.rate:.{1 if window.rate < 10 else 0}f} {unit} a second"
        left = duration((updates - state.update) * window.seconds_per_update)
        self.reporter.write("train", state.update, numbers | window.speed())
        self.reporter.note(f"{shown}, {left} left")
        self.reporter.say(
            f"update {state.update}/{updates}  epoch {numbers['epoch']:.2f}  {self.objective.describe(numbers)}  "
            f"lr {numbers['lr']:.2e}  grad {numbers['gradient_norm']:.3g}  {shown}  {left} left"
        )
        judged = bool(window.taken)
        window.clear()
        if judged:
            where = str(self.run.output)
            state.health_streak = self.health.check(
                state.health_streak, state.update, numbers, where, state.judged_from
            )

    def _validate_if_due(self) -> bool:
        """Validate if the update asks for it and it has not been done; return whether it was done."""
        if not self._validation_due():
            return False
        state = self.state
        self.step.module.eval()
        with self.step.engine.shapes(static=False):
            numbers = self.objective.validate(self.step.module)
        self.step.module.train()
        state.validated_at = state.update
        if numbers is None:
            return True
        self.reporter.write("validation", state.update, numbers)
        # A collapsed task looks like success.
        better = (state.best is None or numbers["score"] < state.best) and not state.health_streak
        shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items() if name != "score")
        self.reporter.say(f"validation at {state.update}: {shown}{'  (best so far)' if better else ''}")
        for line in self.objective.remarks():
            self.reporter.say(line)
        if better:
            state.best, state.best_update = numbers["score"], state.update
            for line in self.best.keep(state.update):
                self.reporter.say(line)
        return True

    def _finish(self, reason: str) -> Path:
        """Write the model directory and report where it is.

        Raises UserError on all processes if it cannot be written and the run is at its end.
        """
        state, target = self.state, self.run.output / "model"
        best = None if state.best is None else self.best.chosen(state.best_update)
        whole = self.step.engine.whole() if best is None else None
        failure = ""
        try:
            if best is not None and self.ranks.is_main:
                copy_weights(best, target)
            elif whole is not None:
                self.objective.export(whole, target)
        except (OSError, UserError) as error:
            failure = cause(error)
        if failure := distributed.first_text(failure):
            if not reason:
                raise UserError(failure)
            self.reporter.say(failure)  # no failure of a run that goes on
        which = f"update {state.update}" if best is None else f"best validation, update {state.best_update}"
        self.reporter.write("stop", state.update, {"reason": reason or "done", "bad_files": state.bad_files})
        if reason:
            self.reporter.say(f"stopped at update {state.update} ({reason}); run the same command to continue")
        self.reporter.say(f"model: {target} ({which})")
        distributed.barrier()
        return target

    def _report_bad_files(self, bad: list[str]) -> None:
        for line in [line for lines in distributed.gather_objects(bad) for line in lines]:
            self.state.bad_files += 1
            self.reporter.say(f"left out ({self.state.bad_files} so far): {line}")
            self.reporter.write("bad_file", self.state.update + 1, {"message": line})
