"""The training loop, the same for pre-training, fine-tuning and language models.

``train/step.py`` does one update. Everything random is a function of (seed, update, row of the global batch), so a
resumed run repeats the interrupted one bit for bit.
"""

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor, nn

from wav2vec2.config import as_plain, write_toml
from wav2vec2.data.dataset import Update
from wav2vec2.errors import UserError
from wav2vec2.train import distributed, optimizer
from wav2vec2.train.checkpoint.contents import refuse_changes, restore, training_tensors
from wav2vec2.train.checkpoint.folder import GOOD, Checkpoints
from wav2vec2.train.checkpoint.resume import newest_sound
from wav2vec2.train.checkpoint.seal import read_without_trust
from wav2vec2.train.distributed import Ranks, StopRequest, stop_signals
from wav2vec2.train.health import HealthMonitor
from wav2vec2.train.metrics import Reporter, duration
from wav2vec2.train.objective import BatchT, Loader, Objective, Run
from wav2vec2.train.state import LogWindow, RunState
from wav2vec2.train.step import Step, Work


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
        self.checkpoints = Checkpoints(run.output / "checkpoints", run.log.keep_last)
        self.health = HealthMonitor(
            run.health,
            run.train.updates,
            chance=objective.chance,
            codebooks=objective.codebooks,
            judged=objective.judged,
        )
        self.state = RunState()
        self.window = LogWindow(loader.unit, objective.sums(), ranks.device)

    def train(self, announcements: list[str]) -> Path:
        """Train, and return the model directory: the weights of the best validation, or the last ones without any.

        Args:
            announcements: lines to print first.

        Raises:
            UserError: the run to be resumed had another configuration or other data; a health check failed; memory or
                the disk is full.
        """
        resumed = self._resume()
        run, updates, main = self.run, self.run.train.updates, self.ranks.is_main
        if main:
            run.output.mkdir(parents=True, exist_ok=True)
            write_toml(run.config, run.output / "config.toml")
        self.reporter = Reporter(run.output, updates, self.state.update, tensorboard=run.log.tensorboard, enabled=main)
        try:
            extra = [self.step.decay_line, *([self.lr_line] if self.lr_line else []), *resumed]
            for line in [*announcements, *extra]:
                self.reporter.say(line)
            with stop_signals() as stop:
                reason = self._loop(stop)
            return self._finish(reason)
        except torch.OutOfMemoryError:
            raise UserError(
                f"{run.output}: the device ran out of memory: lower batch.micro_{self.window.unit}"
            ) from None
        finally:
            self.reporter.close()

    def _loop(self, stop: StopRequest) -> str:
        """Run updates until the last one, or until asked to stop; return the reason for stopping, "" at the end."""
        log, state, window, total = self.run.log, self.state, self.window, self.run.train.updates
        began, limit = time.monotonic(), self.run.train.max_minutes * 60 or math.inf
        updates = self.loader.updates(state.position) if state.update < total else iter(())
        asked = False
        while state.update < total and not asked:
            started = time.perf_counter()
            batches = next(updates)
            window.waited += time.perf_counter() - started
            if not stop.reason and time.monotonic() - began > limit:
                stop.reason = f"train.max_minutes = {self.run.train.max_minutes:g}"
            asked = self._step(batches, bool(stop.reason))
            # Several processes learn of a request one update later; a single one need not wait.
            asked = asked or (self.ranks.world == 1 and bool(stop.reason))
            window.busy += time.perf_counter() - started
            self.reporter.tick(state.update)
            self._report_save()
            done = state.update == total
            if self._due(state.update):
                self._log_line()
            if log.validate_every and (state.update % log.validate_every == 0 or done) and not asked:
                self._validate()
            if (log.save_every and state.update % log.save_every == 0) or done or asked:
                self._save(wait=done or asked)
        return (stop.reason or "another process was asked to stop") if asked and not done else ""

    def _due(self, update: int) -> bool:
        """Whether a log line is written after this update."""
        return update % self.run.log.every == 0 or update == self.run.train.updates

    def _step(self, update: Update[BatchT], stop: bool) -> bool:
        """Do one update; return whether any process had been asked to stop before it."""
        state = self.state
        work = self.step.prepare(update, state.update, stop)
        if work.bad_files:
            self._report_bad_files([line for batch in work.batches for line in batch.bad])
        if work.held == 0:
            self._save(wait=True)  # a drive may have gone away: keep what has been learned
            raise UserError(
                f"{self.run.output}: no recording of update {state.update} could be read (see the lines above): "
                "check the files and run the same command again"
            )
        lr, due = self.peak * self.schedule(state.update), self._due(state.update + 1)
        taken = self.step.take(work, state.update, lr, self.window.zeros(), by_part=due)
        self._count_skips(work, taken.norm)
        self.step.forget_gradients()
        self.window.add(taken.sums, taken.norm)
        state.update, state.position = state.update + 1, update.following
        return work.stop

    def _count_skips(self, work: Work[BatchT], norm: Tensor) -> None:
        """Say so if the update was skipped, since its gradient is not finite; give up after too many in a row."""
        state = self.state
        if math.isfinite(float(norm)):
            state.skips = 0
            return
        state.skips += 1
        where = self.step.bad_parameter() or "loss"
        self.reporter.say(f"update {state.update} skipped: {where} is not finite ({state.skips} in a row)")
        if state.skips >= self.run.train.max_skips or where.startswith("parameter"):
            where = self.step.bad_module(work, state.update) or where
            raise UserError(
                f"{self.run.output}: {where} is not finite at update {state.update}, {state.skips} skipped in a row: "
                "lower train.lr, set train.clip_norm, or use train.precision fp32; the last checkpoint is kept"
            )

    def _log_line(self) -> None:
        state, window, updates = self.state, self.window, self.run.train.updates
        numbers = self.objective.numbers(window.sums, state.update - 1) | self.step.part_norms | window.numbers()
        numbers["lr"] = self.step.optimizer.param_groups[0]["lr"]
        batches = self.loader.plan.batches(state.position.epoch)
        numbers["epoch"] = state.position.epoch + state.position.position / batches
        shown = f"{window.rate:.0f} {'s' if window.unit == 'seconds' else window.unit}/s"
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
            state.health_streak = self.health.check(state.health_streak, state.update, numbers, str(self.run.output))

    def _validate(self) -> None:
        state = self.state
        self.step.module.eval()
        numbers = self.objective.validate(self.step.module)
        self.step.module.train()
        if numbers is None:
            return
        self.reporter.write("validation", state.update, numbers)
        better = state.best is None or numbers["score"] < state.best
        if better:
            state.best, state.best_update = numbers["score"], state.update
            if (whole := self.step.engine.whole()) is not None:
                self.objective.export(whole, self.run.output / "best")
        shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items() if name != "score")
        self.reporter.say(f"validation at {state.update}: {shown}{'  (best so far)' if better else ''}")
        for line in self.objective.remarks():
            self.reporter.say(line)

    def _tensors(self) -> dict[str, Any]:
        return training_tensors(self.step.model, self.step.optimizer) | {"sums": self.window.sums}

    def _save(self, *, wait: bool) -> None:
        """Write a checkpoint in the background, or at once; the run goes on without it if the disk is full."""
        described = {
            "clock": [self.window.busy, self.window.waited],
            "fingerprint": self.run.fingerprint,
            "config": as_plain(self.run.config),
            GOOD: self.state.health_streak == 0 and self.state.skips == 0,
        }
        started = time.perf_counter()
        self.checkpoints.finish()
        self._report_save()
        self.checkpoints.begin(self.state.update, self._tensors(), self.state.as_plain() | described)
        if wait:
            self.checkpoints.finish()
            self._report_save()
        self.window.saving += time.perf_counter() - started

    def _report_save(self) -> None:
        saved = self.checkpoints.ended()
        if saved is not None and saved.failure:
            newest = self.checkpoints.newest_update
            self.reporter.say(
                f"the checkpoint of update {saved.update} cannot be written ({saved.failure}): free space; the newest "
                f"is {'still none' if newest is None else f'that of update {newest}'}"
            )

    def _resume(self) -> list[str]:
        """Load the newest sound checkpoint, if there is one; return lines about it."""
        found, lines = newest_sound(self.checkpoints, self._load)
        if found is None:
            return lines
        return [*lines, f"resuming {self.run.output} at update {self.state.update} of {self.run.train.updates}"]

    def _load(self, path: Path, saved: dict[str, Any]) -> None:
        with read_without_trust(path):
            state, (busy, waited) = RunState.from_plain(saved), map(float, saved.get("clock", (0.0, 0.0)))
            refuse_changes(self.run.output, saved["config"], self.run.config)
        if saved.get("fingerprint") != self.run.fingerprint:
            raise UserError(
                f"{self.run.output}: was started on other data: give the old data, or choose another output folder"
            )
        restore(path, self._tensors())
        self.state, self.window.busy, self.window.waited = state, busy, waited

    def _finish(self, reason: str) -> Path:
        """Write the model directory and report where it is."""
        target, best = self.run.output / "model", self.run.output / "best"
        state = self.state
        # as the main process sees it: others may look before it has written the folder
        use_best = distributed.gather_objects(state.best is not None and best.exists())[0]
        if use_best and self.ranks.is_main:
            shutil.copytree(best, target, dirs_exist_ok=True)
        elif not use_best and (whole := self.step.engine.whole()) is not None:
            self.objective.export(whole, target)
        which = f"best validation, update {state.best_update}" if use_best else f"update {state.update}"
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
