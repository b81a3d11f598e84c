"""The training loop, the same for pre-training, fine-tuning and language models.

One update: the counts that the losses are divided by are summed over all micro-batches and processes before any
forward pass; each micro-batch's loss, already divided by them, is differentiated; gradients are summed over
processes; AdamW steps. Everything random is a function of (seed, update, place), so a resumed run repeats the
interrupted one bit for bit.
"""

import math
import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor, nn

from wav2vec2.config import as_plain, write_toml
from wav2vec2.data.dataset import Update
from wav2vec2.data.sampler import Position
from wav2vec2.errors import UserError
from wav2vec2.train import checkpoint, distributed, optimizer
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.health import HealthMonitor, first_bad_module, first_bad_parameter
from wav2vec2.train.interrupt import StopRequest, stop_signals
from wav2vec2.train.metrics import Reporter, duration
from wav2vec2.train.objective import BatchT, Loader, Objective, Run

DTYPES = {"fp32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}


class Trainer(Generic[BatchT]):
    """Runs an objective over a loader, from the newest checkpoint to the end or until asked to stop."""

    def __init__(self, run: Run, objective: Objective[BatchT], loader: Loader[BatchT], ranks: Ranks) -> None:
        self.run, self.objective, self.loader, self.ranks = run, objective, loader, ranks
        self.objective.model.to(ranks.device, DTYPES[run.train.precision])
        named = [(n, p) for n, p in objective.model.named_parameters() if p.requires_grad]
        self.optimizer, self.decay_line = optimizer.build_optimizer(named, run.train)
        self.schedule = optimizer.schedule(run.train)
        self.peak, self.lr_line = optimizer.peak_lr(run.train, run.batch_seconds)
        self.checkpoints = checkpoint.Checkpoints(run.output / "checkpoints", run.log.keep_last)
        self.unit = loader.unit
        self.health = HealthMonitor(
            run.health, run.train.updates, chance=objective.chance, groups=objective.groups, judged=objective.judged
        )
        self.sums = self._zero_sums()
        self.update, self.position = 0, Position()
        self.best: float | None = None
        self.best_update = self.skips = self.bad_files = 0
        self._busy = self._waited = 0.0
        self._part_norms: dict[str, float] = {}

    def train(self, announcements: list[str]) -> Path:
        """Train, and return the model directory: the best validated weights, else the last.

        Raises:
            UserError: the configuration differs from that of the run to be resumed; the run is sick; the disk is full.
        """
        resumed = self._resume()
        main = self.ranks.is_main
        if main:
            self.run.output.mkdir(parents=True, exist_ok=True)
            write_toml(self.run.config, self.run.output / "config.toml")
        self.reporter = Reporter(
            self.run.output, self.run.train.updates, self.update, tensorboard=self.run.log.tensorboard, enabled=main
        )
        try:
            for line in [*announcements, self.decay_line, *([self.lr_line] if self.lr_line else [])]:
                self.reporter.say(line)
            if resumed:
                self.reporter.say(f"resuming {self.run.output} at update {self.update} of {self.run.train.updates}")
            with stop_signals() as stop:
                reason = self._loop(stop)
            return self._finish(reason)
        except torch.OutOfMemoryError:
            raise UserError(f"{self.run.output}: the device's memory is full: lower batch.micro_{self.unit}") from None
        finally:
            self.reporter.close()

    def _loop(self, stop: StopRequest) -> str:
        """Update until done or asked to stop; returns why it stopped, "" when done."""
        began, log = time.monotonic(), self.run.log
        limit = self.run.train.max_minutes * 60 or math.inf
        updates = self.loader.updates(self.position) if self.update < self.run.train.updates else iter(())
        asked = False
        while self.update < self.run.train.updates and not asked:
            started = time.perf_counter()
            batches = next(updates)
            self._waited += time.perf_counter() - started
            if not stop.reason and time.monotonic() - began > limit:
                stop.reason = f"train.max_minutes = {self.run.train.max_minutes:g}"
            asked = self._step(batches, bool(stop.reason))
            # Alone, this process need not wait an update for the others to agree.
            asked = asked or (self.ranks.world == 1 and bool(stop.reason))
            self._busy += time.perf_counter() - started
            self.reporter.tick(self.update)
            done = self.update == self.run.train.updates
            if self._due(self.update):
                self._log_line()
            if log.validate_every and (self.update % log.validate_every == 0 or done) and not asked:
                self._validate()
            if (log.save_every and self.update % log.save_every == 0) or done or asked:
                self._save()
        return (stop.reason or "another process was asked to stop") if asked and not done else ""

    def _due(self, update: int) -> bool:
        """Whether a log line is written after this update."""
        return update % self.run.log.every == 0 or update == self.run.train.updates

    def _step(self, update: Update[BatchT], stop: bool) -> bool:
        """One optimiser update; returns whether any process was asked to stop before it began."""
        device, dtype = self.ranks.device, DTYPES[self.run.train.precision]
        batches = [batch.to(device, dtype) for batch in update.micro_batches]
        self.objective.model.train()
        counts = self.objective.counts(batches, self.update)
        bad = [line for batch in batches for line in batch.bad]
        held = torch.stack([batch.amount.double() for batch in batches]).sum().to(device)
        flags = torch.tensor([len(bad), float(stop)], dtype=torch.float64, device=device)
        counts = distributed.sum_over_ranks(torch.cat([counts, held[None], flags]))
        if counts[-2] > 0:
            self._report_bad_files(bad)
        if counts[-3] == 0:
            self._save()  # e.g. a drive that went away: nothing learned so far is lost
            raise UserError(f"{self.run.output}: nothing of update {self.update} could be read: see the lines above")
        sums = self._zero_sums()
        for number, batch in enumerate(batches):
            loss, terms = self._forward(batch, number, counts[:-3])
            if loss is not None:
                loss.backward()
            for name, value in terms.items():
                sums[name] += value.detach()
            sums[self.unit] += batch.amount
            sums[f"padded_{self.unit}"] += batch.padded_amount
        parameters = self.objective.trained(self.update)
        distributed.sum_gradients(parameters)
        norm = optimizer.gradient_norm(parameters)
        if self._due(self.update + 1):
            self._part_norms = optimizer.gradient_norms_by_part(self.objective.model)
        self._apply(parameters, norm, batches, counts[:-3])
        self._add_sums(sums, norm)
        self.update, self.position = self.update + 1, update.following
        return bool(counts[-1] > 0)

    def _forward(self, batch: BatchT, number: int, counts: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        # Dropout on accelerators draws from torch's generator: seeded here, a resumed run needs no stored state.
        torch.manual_seed(distributed.dropout_seed(self.run.seed, self.update, self.ranks.rank, number))
        half = self.run.train.precision == "bf16"
        with torch.autocast(self.ranks.device.type, torch.bfloat16) if half else nullcontext():
            return self.objective.loss(batch, number, counts, self.update)

    def _apply(self, parameters: list[nn.Parameter], norm: Tensor, batches: Sequence[BatchT], counts: Tensor) -> None:
        """Step the optimiser, or skip the update when the gradient is not finite (all processes see the same one)."""
        lr = self.peak * self.schedule(self.update)
        optimizer.set_lr(self.optimizer, lr)
        if math.isfinite(float(norm)):
            self.skips = 0
            if self.run.train.clip_norm > 0:
                optimizer.clip_gradients(parameters, norm, self.run.train.clip_norm)
            self.optimizer.step()
        else:
            self.skips += 1
            where = first_bad_parameter(self.objective.model) or "loss"
            self.reporter.say(f"update {self.update}: {where} is not finite, update skipped ({self.skips} in a row)")
            if self.skips >= self.run.train.max_skips or where.startswith("parameter"):
                self._give_up(where, batches, counts)
        self.optimizer.zero_grad(set_to_none=True)

    def _give_up(self, where: str, batches: Sequence[BatchT], counts: Tensor) -> None:
        """Run the update once more to name the first module that fails, and stop the run."""

        def again() -> None:
            for number, batch in enumerate(batches):
                self._forward(batch, number, counts)

        where = first_bad_module(self.objective.model, again) or where
        raise UserError(
            f"{self.run.output}: not finite at update {self.update} ({where}), {self.skips} updates skipped in a row: "
            "lower train.lr, set train.clip_norm, or use train.precision fp32; the last checkpoint is kept"
        )

    def _zero_sums(self) -> dict[str, Tensor]:
        device = self.ranks.device
        own = {n: torch.zeros((), dtype=torch.float64, device=device) for n in (self.unit, f"padded_{self.unit}")}
        own |= {n: torch.zeros((), dtype=torch.float64, device=device) for n in ("gradient_norm", "updates", "skipped")}
        return own | {name: value.to(device) for name, value in self.objective.sums().items()}

    def _add_sums(self, sums: dict[str, Tensor], norm: Tensor) -> None:
        """Add one update's sums over all processes to the window (one reduction for all of them)."""
        if not math.isfinite(float(norm)):
            # A skipped update's sums may not be finite either: they would spoil the whole window.
            self.sums["skipped"] += 1
            return
        flat = distributed.sum_over_ranks(torch.cat([value.double().reshape(-1) for value in sums.values()]))
        first = 0
        for name, value in sums.items():
            self.sums[name] += flat[first : first + value.numel()].view_as(value)
            first += value.numel()
        self.sums["gradient_norm"] += norm.double()
        self.sums["updates"] += 1

    def _log_line(self) -> None:
        sums, train = self.sums, self.run.train
        taken, skipped = float(sums["updates"]), float(sums["skipped"])
        numbers = self.objective.numbers(sums, self.update - 1) | self._part_norms
        numbers["lr"] = self.optimizer.param_groups[0]["lr"]
        numbers["gradient_norm"] = float(sums["gradient_norm"]) / max(1.0, taken)
        numbers["skipped"] = skipped
        numbers["padding"] = 1.0 - float(sums[self.unit]) / max(1e-9, float(sums[f"padded_{self.unit}"]))
        numbers["epoch"] = self.position.epoch + self.position.position / self.loader.plan.batches(self.position.epoch)
        rate = float(sums[self.unit]) / max(1e-9, self._busy)
        shown = f"{rate:.0f} {'s' if self.unit == 'seconds' else self.unit}/s"
        speed = {f"{self.unit}_per_second": rate, "wait_share": self._waited / max(1e-9, self._busy)}
        left = duration((train.updates - self.update) * self._busy / max(1.0, taken + skipped))
        self.reporter.write("train", self.update, numbers | speed)
        self.reporter.note(f"{shown}, {left} left")
        self.reporter.say(
            f"update {self.update}/{train.updates}  epoch {numbers['epoch']:.2f}  {self.objective.describe(numbers)}  "
            f"lr {numbers['lr']:.2e}  grad {numbers['gradient_norm']:.3g}  {shown}  {left} left"
        )
        self.sums = self._zero_sums()
        self._busy = self._waited = 0.0
        if taken:
            self.health.check(self.update, numbers, str(self.run.output))

    def _validate(self) -> None:
        self.objective.model.eval()
        numbers = self.objective.validate()
        self.objective.model.train()
        if numbers is None:
            return
        self.reporter.write("validation", self.update, numbers)
        better = self.best is None or numbers["score"] < self.best
        if better:
            self.best, self.best_update = numbers["score"], self.update
            if self.ranks.is_main:
                self.objective.export(self.run.output / "best")
        shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items() if name != "score")
        self.reporter.say(f"validation at {self.update}: {shown}{'  (best so far)' if better else ''}")
        for line in self.objective.remarks():
            self.reporter.say(line)

    def _tensors(self) -> dict[str, Any]:
        return checkpoint.training_tensors(self.objective.model, self.optimizer) | {"sums": self.sums}

    def _save(self) -> None:
        state = {
            "update": self.update,
            "position": [self.position.epoch, self.position.position],
            "best": self.best,
            "best_update": self.best_update,
            "skips": self.skips,
            "bad_files": self.bad_files,
            "health_streak": self.health.streak,
            "clock": [self._busy, self._waited],
            "fingerprint": self.run.fingerprint,
            "config": as_plain(self.run.config),
        }
        self.checkpoints.save(self.update, self._tensors(), state)

    def _resume(self) -> bool:
        latest = self.checkpoints.latest()
        if latest is None:
            return False
        state = checkpoint.read_state(latest)
        config = self.run.config
        checkpoint.refuse_changes(self.run.output, state["config"], config)
        if state["fingerprint"] != self.run.fingerprint:
            raise UserError(f"{self.run.output}: was started on other utterances: give the old data or another output")
        checkpoint.restore(latest, self._tensors())
        self.update, self.position = state["update"], Position(*state["position"])
        self.best, self.best_update, self.skips = state["best"], state["best_update"], state["skips"]
        self.bad_files, self.health.streak = state["bad_files"], state["health_streak"]
        self._busy, self._waited = state.get("clock", (0.0, 0.0))
        return True

    def _finish(self, reason: str) -> Path:
        """Write the model directory and say where it is."""
        target, best = self.run.output / "model", self.run.output / "best"
        use_best = self.best is not None and best.exists()
        if self.ranks.is_main:
            if use_best:
                shutil.copytree(best, target, dirs_exist_ok=True)
            else:
                self.objective.export(target)
        which = f"best validation, update {self.best_update}" if use_best else f"update {self.update}"
        self.reporter.write("stop", self.update, {"reason": reason or "done", "bad_files": self.bad_files})
        if reason:
            self.reporter.say(f"stopped at update {self.update} ({reason}); the same command goes on from here")
        self.reporter.say(f"model: {target} ({which})")
        distributed.barrier()
        return target

    def _report_bad_files(self, bad: list[str]) -> None:
        for line in [line for lines in distributed.gather_objects(bad) for line in lines]:
            self.bad_files += 1
            self.reporter.say(f"left out ({self.bad_files} so far): {line}")
            self.reporter.write("bad_file", self.update + 1, {"message": line})
