"""Damage files of every kind and read them, to find what a hostile file can do.

    python -m scripts.fuzz --count 100000           the whole run
    python -m scripts.fuzz --seconds 60             a minute of it, in CI
    python -m scripts.fuzz --target audio --input 4711 --seed 0     one input again, with its traceback
    python -m scripts.fuzz --target ngram --atheris  guided by coverage, where atheris is installed

A reader may return, or raise UserError with one line. Anything else is a finding: another exception, a process that
dies, more than 20 seconds, more than 4 GB, a line that somebody else prints, a program that is started, a connection,
a file that is written elsewhere. Each input is a function of the seed and its number. Findings are kept in --out. The
exit status is 1 if there was one.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.fuzz_guided import guided, instrumented
from scripts.fuzz_mutations import mutated
from scripts.fuzz_targets import TARGETS, Target

LONGEST_SECONDS = 20.0
MOST_MEMORY = 4 << 30
_TRIAL = [sys.executable, "-m", "wav2vec2.lm.ngram.kenlm_file"]  # opens a KenLM binary in a process of its own
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "socket.connect")


@dataclass(frozen=True)
class Input:
    """One damaged file: a number, the kind of file, and what to read."""

    number: int
    target: Target
    name: str
    path: Path


def target_of(number: int, seed: int, chosen: str) -> str:
    """The kind of file of an input."""
    names = [name for name, target in TARGETS.items() for _ in range(target.share)]
    return chosen or random.Random(f"{seed} {number}").choice(names)


def make_input(number: int, seed: int, chosen: str, seeds: Path, folder: Path) -> Input:
    """Write input `number` below `folder`."""
    name = target_of(number, seed, chosen)
    target, random_ = TARGETS[name], random.Random(f"{seed} {number} bytes")
    good = random_.choice(sorted((seeds / name).iterdir()))
    path = folder / good.name
    if good.is_dir():
        shutil.copytree(good, path)
        changed = random_.choice(sorted(file for file in path.rglob("*") if file.is_file()))
    else:
        changed = path
        shutil.copyfile(good, path)
    others = sorted(file for file in (seeds / name).rglob("*") if file.is_file())
    changed.write_bytes(mutated(changed.read_bytes(), random_, random_.choice(others).read_bytes()))
    return Input(number, target, name, path)


class Watch:
    """What Python does while an input is read: programs started, connections, files written elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.on, self.seen = folder.resolve(), False, ""
        sys.addaudithook(self._event)

    def _event(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on:
            return
        if event == "subprocess.Popen" and list(arguments[1])[:3] == _TRIAL:  # type: ignore[call-overload]
            return
        if event.startswith(_FORBIDDEN):
            self.seen = self.seen or f"{event} {arguments!r:.200}"
        elif event == "open" and isinstance(arguments[0], str) and isinstance(arguments[1], str):
            path = Path(arguments[0])
            allowed = (self.folder, Path("/dev"), Path(tempfile.gettempdir()), Path.home() / ".cache")
            compiled = "__pycache__" in path.parts
            inside = compiled or any(path.is_relative_to(place) for place in allowed)
            if set(arguments[1]) & set("wax+") and not inside:
                self.seen = self.seen or f"writes {path}"


def finding(item: Input, watch: Watch, printed: Path) -> tuple[str, str] | None:
    """Read an input; returns the kind of a finding and what it is, or None."""
    from wav2vec2.errors import UserError

    problem: tuple[str, str] | None = None
    watch.on, watch.seen = True, ""
    try:
        item.target.read(item.path)
    except UserError as error:
        if "\n" in str(error) or len(str(error)) > 2_000:
            problem = "message", repr(str(error)[:300])
    except Exception:
        problem = "traceback", traceback.format_exc()[-3_000:]
    finally:
        watch.on = False
    if watch.seen:
        problem = "execution", watch.seen
    sys.stdout.flush()
    sys.stderr.flush()
    if said := printed.read_bytes():
        problem = problem or ("print", said[:300].decode(errors="replace"))
        os.truncate(printed, 0)
    return problem


def too_much_memory() -> tuple[str, str] | None:
    """A finding if this process has ever held more than MOST_MEMORY: true of a worker, which reads inputs alone."""
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > MOST_MEMORY:
        return "memory", "more than 4 GB"
    return None


def work(options: argparse.Namespace) -> None:
    """Be a worker: read every `step`th input from `begin` on, and report each before and after."""
    report = os.fdopen(os.dup(1), "w", buffering=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        printed = folder / "printed"
        sink = os.open(printed, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        watch = Watch(folder)
        for name in [options.target] if options.target else TARGETS:  # so that imports count for no input
            for good in sorted((options.seeds / name).iterdir()):
                TARGETS[name].read(good)
        os.truncate(printed, 0)
        for number in range(options.begin, options.count, options.step):
            print(json.dumps(["begin", number]), file=report)
            place = folder / "input"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            item = make_input(number, options.seed, options.target, options.seeds, place)
            if (found := finding(item, watch, printed) or too_much_memory()) is not None:
                kept = options.out / f"{item.name}-{number}-{found[0]}"
                shutil.copytree(place, kept, dirs_exist_ok=True)
                (kept / "finding.txt").write_text(found[1], encoding="utf-8", errors="replace")
                print(json.dumps(["found", number, *found]), file=report)
                if found[0] == "memory":
                    return
    print(json.dumps(["end", options.count]), file=report)


class Worker:
    """A process that reads inputs, and is started anew when one of them ends it."""

    def __init__(self, options: argparse.Namespace, begin: int, step: int) -> None:
        self.options, self.next, self.step, self.done = options, begin, step, 0
        self.current = -1
        self.finished = begin >= options.count
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "scripts.fuzz", "--begin", str(self.next), "--step", str(self.step)]
        for name in ("seed", "count", "target", "seeds", "out"):
            command += [f"--{name}", str(getattr(self.options, name))]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_bounded)
        os.set_blocking(self.process.stdout.fileno(), False)  # type: ignore[union-attr]
        self.left, self.heard, self.current = b"", time.monotonic(), -1

    def poll(self) -> Iterator[tuple[str, str, int]]:
        """Yield the (kind, what, number) of findings since the last call."""
        content = self.process.stdout.read() if self.process.stdout else None
        *lines, self.left = (self.left + (content or b"")).split(b"\n")
        for line in lines:
            kind, number, *rest = json.loads(line)
            self.heard = time.monotonic()
            if kind == "begin":
                self.done += 1
                self.current, self.next = number, number + self.step
            elif kind == "found":
                yield rest[0], rest[1], number
            else:
                self.finished = True
        if self.finished:
            self.process.kill()
            return
        hung = self.current >= 0 and time.monotonic() - self.heard > LONGEST_SECONDS
        if hung or (self.process.poll() is not None and not content):
            if hung:
                self.process.kill()
            status = self.process.wait()
            if hung or status != 0:
                said = (self.process.stderr.read() if self.process.stderr else b"")[-300:].decode(errors="replace")
                yield "hang" if hung else "crash", f"status {status} {said}", self.current
            self.finished = self.next >= self.options.count or self.current < 0
            if not self.finished:
                self._start()


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(options: argparse.Namespace) -> Counter[str]:
    """Share the inputs among the workers; returns how many findings of each kind there were."""
    counts: Counter[str] = Counter()
    workers = [Worker(options, begin, options.workers) for begin in range(options.workers)]
    began = said = time.monotonic()
    while not all(worker.finished for worker in workers):
        time.sleep(0.05)
        for worker in workers:
            for kind, what, number in worker.poll() if not worker.finished else ():
                counts[kind] += 1
                name = target_of(number, options.seed, options.target)
                line = what.strip().splitlines()[-1] if what.strip() else ""
                print(f"{kind}: --target {name} --input {number} --seed {options.seed}: {line:.300}", flush=True)
        now = time.monotonic()
        if now - said > 60:
            said = now
            print(f"{sum(worker.done for worker in workers)} inputs, {dict(counts)}", flush=True)
        if options.seconds and now - began > options.seconds:
            break
    for worker in workers:
        worker.process.kill()
    counts["inputs"] = sum(worker.done for worker in workers)
    return counts


def write_seeds(folder: Path, chosen: str) -> None:
    """Write the good files of every target, or of one, and read them: what is compiled once is compiled then."""
    for name, target in TARGETS.items():
        if chosen in ("", name):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for path in target.seeds(folder / name):
                target.read(path)


def again(options: argparse.Namespace) -> None:
    """Read one input again, in this process."""
    with tempfile.TemporaryDirectory() as name:
        item = make_input(options.input, options.seed, options.target, options.seeds, Path(name))
        print(f"{item.name}: {item.path}")
        item.target.read(item.path)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--target", default="")
    parser.add_argument("--input", type=int)
    parser.add_argument("--atheris", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--seeds", type=Path)
    parser.add_argument("--begin", type=int)
    parser.add_argument("--step", type=int)
    options = parser.parse_args()
    if options.begin is not None:
        work(options)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        options.seeds = Path(name)
        with instrumented(options.atheris):
            write_seeds(options.seeds, options.target)
        if options.input is not None:
            again(options)
            return 0
        if options.atheris:
            guided(options.target, options.seeds, options.seconds or 600, LONGEST_SECONDS)
            return 0
        counts = run(options)
    kinds = ("execution", "crash", "hang", "memory", "traceback", "message", "print")
    print(f"{counts['inputs']} inputs: " + ", ".join(f"{counts[kind]} {kind}" for kind in kinds))
    return int(any(counts[kind] for kind in kinds))


if __name__ == "__main__":
    sys.exit(main())
