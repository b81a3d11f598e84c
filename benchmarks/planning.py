"""What planning costs on a large corpus: start, private memory, the end of an epoch, holding utterances out.

    python benchmarks/planning.py --rows 14000000 --processes 1 8

A manifest of made-up rows is written once into --folder. Then so many processes of one machine each open it, hold 1,000
utterances out and plan as ``pretrain`` does, with the batches of LARGE; every process asks for its first batch, goes
through the second half of an epoch, and asks for the first batch of the next one. Private memory is the anonymous
memory of /proc/self/smaps_rollup, beyond what the process had after its imports; its peak is sampled every 20 ms. Each
number is that of the worst process; CPU is the processor time up to the first batch.
"""

import argparse
import json
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from arguments import run

from wav2vec2.data.hold_out import hold_out
from wav2vec2.data.sampler import Position
from wav2vec2.data.utterance import SCHEMA
from wav2vec2.train.corpus import open_manifest, plan_corpus
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.options import BatchConfig

ROWS_AT_ONCE = 1_000_000
MIB = 1 << 20


def write_rows(path: Path, rows: int) -> None:
    """Write a manifest of ``rows`` utterances of 2 to 35 s, most of them around 14 s, in shards of 2,000."""
    random = np.random.default_rng(0)
    part = path.with_suffix(".partial")
    with pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        for first in range(0, rows, ROWS_AT_ONCE):
            numbers = np.arange(first, min(first + ROWS_AT_ONCE, rows))
            count = len(numbers)
            lengths = np.clip(random.normal(14, 5, count), 2, 35) * 16_000
            texts = {
                "id": [f"{n % 7439:05d}-{n:09d}" for n in numbers.tolist()],
                "path": [f"s3://bucket/shard-{n // 2000:06d}.tar" for n in numbers.tolist()],
            }
            integers = {"offset": numbers % 2000 * 300_000, "size": np.full(count, 299_000), "samples": lengths}
            columns = []
            for field in SCHEMA:
                if field.name in texts:
                    columns.append(pa.array(texts[field.name]))
                elif field.name in ("text",):
                    columns.append(pa.nulls(count, field.type))
                elif field.type == pa.string():
                    columns.append(pa.array([""] * count))
                else:
                    values = integers.get(field.name, np.full(count, 16_000 if field.name == "sample_rate" else 0))
                    columns.append(pa.array(values.astype(np.int64)).cast(field.type))
            writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
    part.replace(path)


def private_bytes() -> int:
    """Memory of this process alone: not the pages of files that it maps, which the system can drop or share."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Anonymous"))


class Peak(threading.Thread):
    """The greatest private memory since the start, beyond ``base``."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.base = private_bytes()
        self.most = 0

    def run(self) -> None:
        """Look every 20 ms."""
        while True:
            self.most = max(self.most, private_bytes() - self.base)
            time.sleep(0.02)


def one_process(rank: int, world: int, manifest_path: str, buckets: int, ready: Any, answers: Any) -> None:
    """Open, hold out, plan, and pass from one epoch to the next."""
    torch.set_num_threads(1)
    peak = Peak()
    peak.start()
    ready.wait()
    began, processor = time.perf_counter(), time.process_time()
    manifest = open_manifest(manifest_path, "", "data.manifest")
    opened = time.perf_counter()
    manifest, _ = hold_out(manifest, 1000, set())
    held = time.perf_counter()
    batch = BatchConfig(
        seconds=9600.0, micro_seconds=75.0, min_seconds=2.0, max_seconds=20.0, buckets=buckets, multiple=128, workers=0
    )
    corpus = plan_corpus(manifest, batch, Ranks(rank, world, torch.device("cpu")), seed=1, crop=True, epsilon=None)
    plan = corpus.loader.plan
    plan.batch(Position())
    started, processor = time.perf_counter(), time.process_time() - processor
    at_rest = private_bytes() - peak.base
    count = plan.batches(0)
    slowest = 0.0
    for number in range(count // 2, count):
        asked = time.perf_counter()
        plan.batch(Position(0, number))
        slowest = max(slowest, time.perf_counter() - asked)
        time.sleep(30.0 / (count - count // 2))  # an epoch of 53,000 hours takes hours
    asked = time.perf_counter()
    assert plan.batch(Position(0, count)).epoch == 1
    answers.put(
        {
            "opened": opened - began,
            "held out": held - opened,
            "planned": started - held,
            "start": started - began,
            "CPU": processor,
            "epoch end": time.perf_counter() - asked,
            "slowest batch": slowest,
            "at rest": at_rest / MIB,
            "peak": peak.most / MIB,
        }
    )


def measure(world: int, manifest: Path, buckets: int) -> dict[str, float]:
    """The worst of ``world`` processes that start together."""
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(world), context.Queue()
    processes = [
        context.Process(target=one_process, args=(rank, world, str(manifest), buckets, ready, answers))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    found = [answers.get(timeout=1800) for _ in processes]
    for process in processes:
        process.join()
    return {name: max(one[name] for one in found) for name in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=14_000_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--buckets", type=int, nargs="+", default=[0, 8])
    parser.add_argument(
        "--folder", type=Path, default=Path("planning"), help="where manifest, cache and plans are kept"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"XDG_CACHE_HOME": str(options.folder.resolve()), "TMPDIR": str(options.folder.resolve())}
    manifest = options.folder / f"{options.rows}.parquet"
    if not manifest.exists():
        write_rows(manifest, options.rows)
    began = time.perf_counter()
    open_manifest(str(manifest), "", "data.manifest")
    print(f"first opening, which unpacks the manifest: {time.perf_counter() - began:.1f} s\n", flush=True)
    names = ("opened", "held out", "planned", "start", "CPU", "epoch end", "slowest batch", "at rest", "peak")
    print("| processes | buckets | " + " | ".join(names) + " |")
    print("|" + "---:|" * (2 + len(names)))
    for world in options.processes:
        for buckets in options.buckets:
            for made in options.folder.glob("wav2vec2-plans-*/*"):
                made.unlink()
            found = measure(world, manifest, buckets)
            cells = [f"{found[n]:.0f} MiB" if n in ("at rest", "peak") else f"{found[n]:.2f} s" for n in names]
            print(f"| {world} | {buckets} | " + " | ".join(cells) + " |", flush=True)
            with (options.folder / "results.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"rows": options.rows, "processes": world, "buckets": buckets} | found) + "\n")


if __name__ == "__main__":
    run(main)
