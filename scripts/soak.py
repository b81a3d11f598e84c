"""A small pre-training is interrupted again and again, and must be, in every number, the one that nobody disturbed.

    python -m scripts.soak --count 200 --seed 1 --work /tmp/soak

First the run is made once, undisturbed. Then it is made again and interrupted ``--count`` times: by SIGTERM, SIGINT,
two SIGINTs and SIGKILL, at random moments of its start, its updates, its validations, its exports and its saves; by a
disk that is full for a while; and by damage to its newest checkpoint. After each interruption all lines of its log and
all tensors of its newest sound checkpoint are compared with the undisturbed run's, and at each end the best weights and
the model. A run that ends before the count is reached is followed by another.

Where a tmpfs can be mounted (root on Linux), the folder of the run is one of 16 MiB, which is filled. Elsewhere, or
with ``--no-mount``, a limit on the size of files (RLIMIT_FSIZE) makes writes fail.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from scripts.soak_life import Disk, Life
from tests.train.tiny_run import pretrain_config, with_train, write_corpus

from wav2vec2.train import optimizer
from wav2vec2.train.checkpoint.contents import restore, training_tensors
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.checkpoint.seal import Damaged, read_state, verify
from wav2vec2.train.pretrain.command import PretrainConfig, build_model

CLOCK = ("time", "seconds_per_second", "wait_share", "save_seconds")
MOMENTS = {"start": b"", "update": b"u", "validation": b"v", "export": b"b", "save": b"s"}
SIGNALS = ("SIGTERM", "SIGINT", "SIGINT twice", "SIGKILL")
KINDS = (*SIGNALS, *SIGNALS, "disk full", "newest checkpoint damaged")
STATUS = {"SIGTERM": {75, -15}, "SIGINT": {130, -2}, "SIGINT twice": {130, -2}, "SIGKILL": {-9}}


def recipe(manifest: Path, output: Path, updates: int) -> PretrainConfig:
    """A run of tiny updates that logs, validates and saves all the time."""
    config = with_train(pretrain_config(manifest, output), updates=updates, lr=2e-2)
    config = replace(config, batch=replace(config.batch, seconds=0.7, micro_seconds=0.7, max_seconds=0.35))
    return replace(config, log=replace(config.log, every=2, validate_every=4, save_every=3, keep_last=3))


class Soak:
    """The undisturbed run, the disturbed one, and what was found."""

    def __init__(self, work: Path, updates: int, seed: int, mount: bool) -> None:
        self._work, self._draw = work, random.Random(seed)
        manifest = write_corpus(work / "corpus")
        self._disk = Disk(work / "disk", mount)
        self._config = recipe(manifest, work / "disk" / "run", updates)
        whole = replace(self._config, output=str(work / "whole"))
        self._whole = replace(whole, log=replace(whole.log, save_every=1, keep_last=updates))
        model, _ = build_model(self._config)
        steps, _ = optimizer.build_optimizer(model.named_parameters(), self._config.train)
        self._nested = training_tensors(model, steps)
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self.laps = 0

    def run(self, count: int) -> None:
        """Make the undisturbed run, then interrupt the other one ``count`` times, and to the end."""
        status = Life(self._whole, self._work / "whole.txt").end()
        assert status == 0, (self._work / "whole.txt").read_text()
        self._expected = list(records(Path(self._whole.output)))
        try:
            while sum(self.done.values()) < count:
                self._lap(count)
        finally:
            self._disk.free()
            self._disk.close()

    def _lap(self, count: int) -> None:
        output = Path(self._config.output)
        shutil.rmtree(output, ignore_errors=True)
        self.laps += 1
        for number in range(10 * count + 10):
            last = sum(self.done.values()) >= count
            console = self._work / f"life-{self.laps}-{number}.txt"
            life = Life(self._config, console)
            kind = "" if last else self._interrupt(life)
            status = life.end()
            self._disk.free()
            if "Traceback" in console.read_text():
                self.faults.append(f"{console}: a traceback")
            if not kind and status == 0:
                break
            self._judge(kind, status, console)
        for name in ("best", "model"):
            found, whole = (path / name / "model.safetensors" for path in (output, Path(self._whole.output)))
            if found.read_bytes() != whole.read_bytes():
                self.faults.append(f"lap {self.laps}: {name} is another")
        if list(records(output)) != self._expected:
            self.faults.append(f"lap {self.laps}: the log is another")

    def _interrupt(self, life: Life) -> str:
        """Interrupt a life somewhere; return how, or "" if it had ended before."""
        draw = self._draw
        kind, moment = draw.choice(KINDS), draw.choice(list(MOMENTS))
        name = f"{kind} ({moment})"
        if moment == "start":
            time.sleep(draw.random() * 0.5)
        elif not life.wait_for(MOMENTS[moment], draw.randint(1, 4 if moment == "update" else 2)):
            return ""
        time.sleep(draw.choice((0.0, 0.001, 0.01, 0.03)) * draw.random())
        if kind == "disk full":
            self._disk.fill(life.pid)
            life.wait_for(b"u", draw.randint(1, 8))
            if draw.random() < 0.5:  # the run goes on with space, or is taken away without any
                self._disk.free()
                life.wait_for(b"u", draw.randint(1, 4))
            life.signal(draw.choice((signal.SIGTERM, signal.SIGKILL)))
        elif kind == "newest checkpoint damaged":
            life.signal(signal.SIGKILL)
            life.wait_for(b"")
            if not self._damage():
                name = f"SIGKILL ({moment})"
        else:
            life.signal(getattr(signal, kind.split()[0]))
            if kind == "SIGINT twice":
                time.sleep(draw.random() * 0.05)
                life.signal(signal.SIGINT)
        return name

    def _damage(self) -> bool:
        """Harm the newest checkpoint if there is a sound one before it."""
        sound = [path for path in Checkpoints(self._checkpoints, 1).newest_first() if is_sound(path)]
        if len(sound) < 2:
            return False
        file = self._draw.choice(sorted(path for path in sound[0].iterdir() if path.name != "state.json"))
        content, how = bytearray(file.read_bytes()), self._draw.choice(("bit", "cut", "gone"))
        if how == "gone":
            file.unlink()
            return True
        if how == "bit":
            content[self._draw.randrange(len(content))] ^= 1 << self._draw.randrange(8)
        file.write_bytes(content if how == "bit" else content[: self._draw.randrange(len(content))])
        return True

    def _same(self, checkpoint: Path) -> bool:
        """Whether all weights and moments are those of the undisturbed run after the same update, bit for bit."""
        restore(checkpoint, self._nested)
        one = {name: value.clone() for name, value in flat(self._nested).items()}
        restore(Path(self._whole.output) / "checkpoints" / checkpoint.name, self._nested)
        return all(torch.equal(one[name], value) for name, value in flat(self._nested).items())

    @property
    def _checkpoints(self) -> Path:
        return Path(self._config.output) / "checkpoints"

    def _judge(self, kind: str, status: int, console: Path) -> None:
        """Count an interruption, and compare what it left with the undisturbed run."""
        self.done[kind] += 1
        allowed = STATUS.get(kind.partition(" (")[0], {75, -9, -15}) | {0}  # 0: it was just done
        if "run the same command again" in console.read_text():  # the last checkpoint or the model found no space
            allowed |= {2}
        if status not in allowed:
            self.faults.append(f"{console}: {kind} left with status {status}")
        found = list(records(Path(self._config.output)))
        if found != self._expected[: len(found)]:
            self.faults.append(f"{console}: {kind} left another log")
        sound = [path for path in Checkpoints(self._checkpoints, 1).newest_first() if is_sound(path)]
        if sound and not self._same(sound[0]):
            self.faults.append(f"{console}: {kind} left other weights at update {int(sound[0].name)}")


def flat(nested: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights and moments by name."""
    moments = {f"{n}/{k}": v for n, state in nested["optimizer"].items() for k, v in state.items()}
    return dict(nested["model"]) | moments


def records(run: Path) -> Iterator[dict[str, Any]]:
    """Whole lines of a run's log, without clocks and stops."""
    log = run / "log.jsonl"
    for line in log.read_text().splitlines(keepends=True) if log.exists() else ():
        if line.endswith("\n"):
            record = json.loads(line)
            if record["kind"] != "stop":
                yield {key: value for key, value in record.items() if key not in CLOCK}


def is_sound(checkpoint: Path) -> bool:
    """Whether a checkpoint is what was written."""
    try:
        verify(checkpoint, read_state(checkpoint))
    except Damaged:
        return False
    return True


def main(arguments: list[str]) -> int:
    """Interrupt, print a table of what was done and what was found; status 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="interruptions")
    parser.add_argument("--updates", type=int, default=20, help="length of the run")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--no-mount", action="store_true", help="limit the size of files instead of filling a tmpfs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    soak, began = Soak(options.work, options.updates, options.seed, not options.no_mount), time.monotonic()
    soak.run(options.count)
    for kind, count in sorted(soak.done.items()):
        print(f"{count:4d}  {kind}")
    print(
        f"{sum(soak.done.values())} interruptions of {soak.laps} runs of {options.updates} updates in "
        f"{time.monotonic() - began:.0f} s; {len(soak.faults)} differ from the undisturbed run"
    )
    print("\n".join(soak.faults))
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
