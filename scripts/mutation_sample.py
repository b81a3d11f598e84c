"""How many small faults do the tests notice? A seeded sample of mutants, each run against the tests of its room.

    python scripts/mutation_sample.py --count 300 --seed 1 --out mutants.jsonl      goes on where it was stopped
    python scripts/mutation_sample.py --only src/wav2vec2/train/loop.py --count 40  one file

First each room's tests run once and note which lines they cross. A mutant then meets the tests that cross its
line, quick ones first, then the others of the same files, until one fails, or until --seconds are over (it survived).
A mutant that hangs is killed. Compiled code is interpreted, so that its lines are seen; a test that fails without a
mutant, or takes more than 20 seconds so, is left out. Needs the package `coverage`, and a system that can fork.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coverage
import hypothesis
import pytest
import torch
import transformers
from mutants import Mutant, mutants

HERE = Path(__file__).resolve().parents[1]
PACKAGE = "src/wav2vec2"
ROOMS = {
    "model": ("tests/model", "tests/parity"),
    "train": ("tests/train", "tests/distributed"),
    "data/sampler.py": ("tests/data",),
    "decode": ("tests/decode",),
    "lm": ("tests/lm",),
    "checkpoints": ("tests/checkpoints", "tests/parity"),
}
SLOWEST = 20.0
PRELOADED = (hypothesis, torch, transformers)
"""Imported before forking, so that no mutant waits for them."""


class Notes:
    """A pytest plugin: the seconds and the outcome of each test, and the lines that it crosses."""

    def __init__(self, lines: coverage.Coverage) -> None:
        self.lines = lines
        self.seconds: Counter[str] = Counter()
        self.failed: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        self.lines.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        if not report.passed:
            self.failed.add(report.nodeid)


def in_a_child(work: Callable[[], int], seconds: float) -> int | None:
    """The exit status of ``work`` in a forked process group of its own; None when it took too long."""
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            os._exit(work())
        except BaseException:
            os._exit(99)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def tests(tree: Path, arguments: list[str], plugins: list[Any], log: Path) -> int:
    """Run pytest on a tree, with that tree's package, and its output in a file."""
    os.chdir(tree)
    sys.path.insert(0, str(tree / "src"))
    os.environ |= {"PYTHONPATH": str(tree / "src"), "NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    with log.open("a", encoding="utf-8") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly", "--hypothesis-seed=0"]
    return int(pytest.main([*quiet, *arguments], plugins=plugins))


def noted(tree: Path, room: str, out: Path) -> dict[str, Any]:
    """Which tests of a room cross which lines of it, from a run without a mutant."""
    file = out / f"{room.replace('/', '-')}.json"
    if not file.exists():

        def work() -> int:
            lines = coverage.Coverage(data_file=None, source=[str(tree / PACKAGE / room)])
            if (tree / PACKAGE / room).is_file():
                lines = coverage.Coverage(data_file=None, include=[str(tree / PACKAGE / room)])
            notes = Notes(lines)
            lines.start()
            tests(tree, [*ROOMS[room], "-m", "not slow"], [notes], out / "baseline.log")
            lines.stop()
            data = lines.get_data()
            crossed = {
                str(Path(name).relative_to(tree)): {
                    str(line): sorted(set(filter(None, contexts)))
                    for line, contexts in data.contexts_by_lineno(name).items()
                }
                for name in data.measured_files()
            }
            good = {name: seconds for name, seconds in notes.seconds.items() if seconds < SLOWEST}
            good = {name: seconds for name, seconds in good.items() if name not in notes.failed}
            file.write_text(json.dumps({"seconds": good, "crossed": crossed}), encoding="utf-8")
            return 0

        print(f"{room}: running its tests once ...", flush=True)
        if in_a_child(work, 3600) != 0 or not file.exists():
            sys.exit(f"{room}: the run without a mutant failed: see {out / 'baseline.log'}")
    notes: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return notes


def chosen(notes: dict[str, Any], mutant: Mutant, tree: Path, budget: float) -> list[str]:
    """The tests that a mutant meets: those that cross its lines, quick ones first, then the others of their files."""
    crossed = notes["crossed"].get(str(mutant.path.relative_to(tree)), {})
    seconds = notes["seconds"]
    lines = range(mutant.line, mutant.line + mutant.before.count("\n") + 1)
    direct = {name for line in lines for name in crossed.get(str(line), ()) if name in seconds}
    files = {name.partition("::")[0] for name in direct}
    beside = [name for name in seconds if name.partition("::")[0] in files or not direct]
    picked, spent = [], 0.0
    for name in (*sorted(direct, key=seconds.get), *sorted(set(beside) - direct, key=seconds.get)):
        if spent + seconds[name] <= budget:
            picked.append(name)
            spent += seconds[name]
    return picked


def verdict(tree: Path, mutant: Mutant, names: list[str], seconds: float, out: Path) -> str:
    """``killed``, ``hung`` or ``survived``."""
    if not names:
        return "survived"
    original = mutant.path.read_bytes()
    mutant.path.write_bytes(mutant.applied())
    log = out / "mutant.log"
    log.write_text("", encoding="utf-8")
    try:
        status = in_a_child(lambda: tests(tree, ["-x", *names], [], log), 4 * seconds + 30)
    finally:
        mutant.path.write_bytes(original)
    return {None: "hung", 0: "survived"}.get(status, "killed")


def every(tree: Path, only: Path | None) -> list[tuple[str, Mutant]]:
    """Every mutant of every room, or of one file, with its room."""
    found = []
    for room in ROOMS:
        place = tree / PACKAGE / room
        for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
            if only is None or (tree / only) == file:
                found += [(room, mutant) for mutant in mutants(file)]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=Path, help="one file of the package, as a path from the repository")
    parser.add_argument("--seconds", type=float, default=60.0, help="of tests that a mutant meets at the most")
    parser.add_argument("--again", action="store_true", help="once more those of --out that survived, by name")
    parser.add_argument("--part", default="1/1", help="2/3: the second of three shares of the sample")
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"), help="a line for each mutant; notes beside")
    o = parser.parse_args()
    out = o.out.resolve()
    known = {}
    if out.exists():
        known = {line["mutant"]: line for line in map(json.loads, out.read_text(encoding="utf-8").splitlines())}
    beside = out.with_suffix(".notes")
    tree = Path(tempfile.gettempdir()).resolve() / f"wav2vec2-mutants-{os.getpid()}"
    shutil.copytree(HERE, tree, ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache", "runs"))
    share, of = map(int, o.part.split("/"))
    beside.mkdir(parents=True, exist_ok=True)
    try:
        found = [(room, str(mutant).removeprefix(f"{tree}/"), mutant) for room, mutant in every(tree, o.only)]
        if o.again:
            survivors = {name for name, line in known.items() if line["result"] == "survived"}
            found = [one for one in found if one[1] in survivors]
        else:
            found = random.Random(o.seed).sample(found, min(o.count, len(found)))
        for room, name, mutant in found[share - 1 :: of]:
            if name in known and not o.again:
                continue
            notes = noted(tree, room, beside)
            names = chosen(notes, mutant, tree, o.seconds)
            started = time.monotonic()
            result = verdict(tree, mutant, names, sum(map(notes["seconds"].get, names)), beside)
            known[name] = {"room": room, "mutant": name, "line": mutant.line, "result": result, "tests": len(names)}
            with out.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(known[name]) + "\n")
            print(f"{result:9} {time.monotonic() - started:5.1f} s  {name}", flush=True)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    for room in ROOMS:
        results = Counter(line["result"] for line in known.values() if line["room"] == room)
        if total := sum(results.values()):
            print(f"{room:16} {total - results['survived']:4} of {total:4} killed")
    total = len(known)
    killed = sum(line["result"] != "survived" for line in known.values())
    print(f"{'all':16} {killed:4} of {total:4} killed: {100 * killed / max(total, 1):.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
