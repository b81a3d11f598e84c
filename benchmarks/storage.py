"""How fast one process reads speech from shards on a disk and behind a store that answers late, and how often it asks.

The recordings of a manifest are packed into shards and served over HTTP from this machine. Each answer is held back, as
object stores do before their first byte. Micro-batches of ROWS recordings are read in random order, as the plan does,
and segments of long recordings in the order of the manifest, as validation does.

    python benchmarks/storage.py data --split dev --late 0.03
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from arguments import run

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.shards import write_shards
from wav2vec2.data.utterance import Utterance
from wav2vec2.data.waveforms import fetch, read_utterance

PIECES = 10


@contextmanager
def served(folder: Path, late: float) -> Iterator[tuple[str, list[str]]]:
    """Serve ranges of the files of a folder; yields the address and a growing list of what was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            first, last = (int(edge) for edge in self.headers["Range"].removeprefix("bytes=").split("-"))
            asked.append(self.path)
            with (folder / self.path.lstrip("/")).open("rb") as file:
                file.seek(first)
                content = file.read(last + 1 - first)
            time.sleep(late)
            self.send_response(206)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def read(rows: Sequence[Utterance], size: int, *, ahead: bool) -> float:
    """Read rows in micro-batches of `size`; returns seconds of audio a second. ahead: fetch each at once."""
    began, heard = time.perf_counter(), 0
    for first in range(0, len(rows), size):
        batch = rows[first : first + size]
        fetched = fetch(batch) if ahead else None
        heard += sum(len(read_utterance(row, fetched)) for row in batch)
    return heard / SAMPLE_RATE / (time.perf_counter() - began)


def segments(rows: Sequence[Utterance]) -> list[Utterance]:
    """Each recording cut into equal pieces."""
    return [
        replace(row, id=f"{row.id}-{piece}", start=piece * (row.samples // PIECES), samples=row.samples // PIECES)
        for row in rows
        for piece in range(PIECES)
    ]


def main() -> None:
    """Print one line for each way of reading."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", help="a prepared manifest")
    parser.add_argument("--split", help="read only this split")
    parser.add_argument("--count", type=int, default=400, help="recordings that are packed")
    parser.add_argument("--rows", type=int, default=8, help="recordings of a micro-batch")
    parser.add_argument("--late", type=float, default=0.03, help="seconds before the first byte of an answer")
    options = parser.parse_args()
    manifest = Manifest.open(options.manifest, options.split)
    chosen = np.random.default_rng(1).permutation(len(manifest))[: options.count]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_shards((manifest.utterance(int(index)) for index in sorted(chosen)), folder, 50_000_000)
        local = list(Manifest.open(folder))
        order = np.random.default_rng(2).permutation(len(local))
        shuffled = [local[index] for index in order]
        with served(folder, options.late) as (address, asked):
            away = [replace(row, path=f"{address}/{Path(row.path).name}") for row in shuffled]
            in_order = [replace(row, path=f"{address}/{Path(row.path).name}") for row in local[: len(local) // PIECES]]
            ways = (
                ("disk", shuffled, False),
                (f"store, {1000 * options.late:.0f} ms late, one request after another", away, False),
                ("  as the loader reads", away, True),
                ("segments in order, one request each", segments(in_order), False),
                ("  as the loader reads", segments(in_order), True),
            )
            for name, rows, ahead in ways:
                read(rows[: options.rows], options.rows, ahead=ahead)  # opens connections
                asked.clear()
                speed = read(rows, options.rows, ahead=ahead)
                print(f"{name:55} {speed:8.0f} s/s {len(rows):6} rows {len(asked):6} requests", flush=True)


if __name__ == "__main__":
    run(main)
