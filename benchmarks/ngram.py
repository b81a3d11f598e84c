"""N-gram estimation: time and memory of our estimator and of KenLM's lmplz, if it is on PATH, and whether the two files
have the same entries.

    python benchmarks/ngram.py TEXT --ids --order 4

Each engine runs in its own process; memory is its largest resident size. Ours includes Python, numpy and numba (row
"import alone"). lmplz reads the text as our estimator has normalised it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wav2vec2.errors import UserError
from wav2vec2.lm.corpus import Corpus
from wav2vec2.lm.ngram.arpa import read_arpa
from wav2vec2.lm.ngram.model import NgramModel


@dataclass(frozen=True)
class Run:
    name: str
    seconds: float
    cpu_seconds: float
    memory_bytes: int


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="text file with one sentence per line")
    parser.add_argument("--ids", action="store_true", help="each line begins with an identifier")
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--prune", nargs="*", default=[])
    parser.add_argument("--memory", type=int, nargs="+", default=[1024, 32], help="memory for n-grams, in MiB")
    parser.add_argument("--repeat", type=int, default=1, help="repeat the text this often, with other words each time")
    return parser.parse_args()


def measure(name: str, command: Sequence[str], stdin: Path | None = None) -> Run:
    with open(stdin or os.devnull, "rb") as source, tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=source, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise UserError(f"{name} failed: {said.read().decode(errors='replace')[-300:]}")
    return Run(name, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def entries(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """N-grams of each order, sorted, words by their place in the alphabet; and their two numbers."""
    words, orders = read_arpa(path)
    rank = np.empty(len(words), np.int64)
    rank[np.argsort(np.array(words))] = np.arange(len(words))
    tables = []
    for order in orders:
        ids = rank[order.words]
        sorting = np.lexsort(ids.T[::-1])
        tables.append((ids[sorting], np.stack([order.log10_probability, order.log10_backoff], 1)[sorting]))
    return tables


def largest_difference(ours: Path, theirs: Path) -> float:
    """Of the log10 values; UserError if the files do not hold the same n-grams."""
    worst = 0.0
    for (a, values), (b, others) in zip(entries(ours), entries(theirs), strict=True):
        if not np.array_equal(a, b):
            raise UserError("the two files do not hold the same n-grams")
        worst = max(worst, float(np.abs(values - others).max()))
    return worst


def write_corpus(corpus: Corpus, path: Path, repeat: int) -> int:
    """Write the text ``repeat`` times, each time with every seventh word changed; returns the number of words."""
    words = 0
    with path.open("w", encoding="utf-8") as file:
        for turn in range(repeat):
            for sentence in corpus:
                changed = [f"{word}{turn}" if turn and i % 7 == turn % 7 else word for i, word in enumerate(sentence)]
                words += len(changed)
                file.write(" ".join(changed) + "\n")
    return words


def main() -> None:
    o = options()
    prune = ["--prune", *o.prune] if o.prune else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text, ours, theirs = folder / "text.txt", folder / "ours.arpa", folder / "theirs.arpa"
        words = write_corpus(Corpus([o.text], ids=o.ids), text, o.repeat)
        python = [sys.executable, "-m", "wav2vec2", "lm", "ngram", str(text), "--order", str(o.order), *prune]
        runs = [measure("import alone", [sys.executable, "-c", "import wav2vec2.lm.ngram.command"])]
        for memory in o.memory:
            command = [*python, "--out", str(ours), "--memory", str(memory), "--temporary", name]
            runs.append(measure(f"ours, --memory {memory}", command))
        lmplz = shutil.which("lmplz")
        if lmplz is not None:
            for memory in o.memory:
                size = max(memory, 64)  # lmplz asks for some minimum
                command = [lmplz, "-o", str(o.order), "-S", f"{size}M", "-T", f"{name}/", "--arpa", str(theirs)]
                runs.append(measure(f"lmplz, -S {size}M", [*command, "--discount_fallback", *prune], text))
        print(f"\n{words} words, order {o.order}, prune {' '.join(o.prune) or 'none'}\n")
        print("| engine | seconds | CPU seconds | words a CPU second | memory |\n|---|---:|---:|---:|---:|")
        for run in runs:
            rate = "" if run is runs[0] else f"{words / run.cpu_seconds:,.0f}"
            print(f"| {run.name} | {run.seconds:.1f} | {run.cpu_seconds:.1f} | {rate} | {run.memory_bytes >> 20} MiB |")
        print(f"\nARPA file {ours.stat().st_size >> 20} MiB; ", end="")
        started, cpu = time.perf_counter(), time.process_time()
        NgramModel.load(ours)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
        print(f"loading it {wall:.1f} s ({cpu:.1f} CPU s); ", end="")
        if lmplz is None:
            print("no lmplz on PATH to compare with")
        else:
            print(f"largest difference from lmplz's, log10: {largest_difference(ours, theirs):.1e}")


if __name__ == "__main__":
    main()
