"""Preparation in chunks, by several processes, with a journal: a run that was interrupted skips the finished chunks.

The journal file of a chunk is named by a hash of everything its result depends on (the rules; the files' names, sizes
and times; their transcripts), so that a change of a file or option is noticed. Of a chunk with such a change, only what
has changed is decoded again (known.py).
"""

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.prepare.decode import Rules
from wav2vec2.data.prepare.examine import Chunk, examine_chunk, read_journal
from wav2vec2.data.prepare.known import Known
from wav2vec2.data.prepare.workers import run_chunks, run_chunks_on_cluster
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import Stopped
from wav2vec2.ray_cluster import RayOptions

_CHUNK_BYTES = 256 << 20
_MISSING = "missing"
_SECONDS_BETWEEN_LINES = 60.0  # where stderr is not a terminal, so there is no progress bar


def chunks(recordings: Iterable[Utterance], total: int, rules: Rules, folder: Path) -> Iterator[Chunk]:
    """Group recordings, in their order, into about 200 chunks of 16 to 1024 files, or fewer if the files are large."""
    most = min(1024, max(16, total // 200))
    pending: list[Utterance] = []
    keys: list[int] = []
    size = 0
    fresh = _fresh_digest(rules)
    digest = fresh.copy()
    for recording in recordings:
        bytes_here, stamp = _stamp(recording)
        if pending and (len(pending) == most or size + bytes_here > _CHUNK_BYTES):
            yield Chunk(tuple(pending), folder / f"{digest.hexdigest()[:32]}.parquet", rules, tuple(keys))
            pending, keys, size, digest = [], [], 0, fresh.copy()
        pending.append(recording)
        size += bytes_here
        line = f"{recording!r} {stamp}\n".encode(errors="surrogatepass")
        digest.update(line)
        own = fresh.copy()
        own.update(line)
        keys.append(0 if stamp == _MISSING else int.from_bytes(own.digest()[:8], "big"))
    if pending:
        yield Chunk(tuple(pending), folder / f"{digest.hexdigest()[:32]}.parquet", rules, tuple(keys))


def examine_all(
    pieces: Iterable[Chunk], total: int, workers: int, known: Known, cluster: RayOptions | None = None
) -> list[Path]:
    """Examine the chunks that are not in the journal; returns all journal files in order.

    They are examined in `workers` processes, or on a cluster; recordings that are known are not.

    Raises:
        UserError: a journal file cannot be written, or worker processes die without cause.
        KeyboardInterrupt: after Ctrl-C; the chunks finished by then are in the journal.
    """
    finished: list[Path] = []
    console = Console(stderr=True)
    said = time.monotonic()
    columns = (
        TextColumn("prepare"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files, {task.fields[hours]:.1f} h decoded, {task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("prepare", total=total, hours=0.0, rate="")

        def advance(chunk: Chunk, samples: int) -> None:
            hours = progress.tasks[task].fields["hours"] + samples / SAMPLE_RATE / 3600
            elapsed = progress.tasks[task].elapsed or 0.0
            rate = f"{hours * 3600 / elapsed:.0f} s of audio per second" if elapsed else ""
            progress.update(task, advance=len(chunk.recordings), hours=hours, rate=rate)
            nonlocal said
            if not console.is_terminal and time.monotonic() - said > _SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                done = f"{progress.tasks[task].completed:.0f} of {total} files"
                print(f"prepare: {done}, {hours:.1f} h decoded, {rate}", file=sys.stderr, flush=True)

        def missing() -> Iterator[Chunk]:
            for chunk in pieces:
                finished.append(chunk.journal)
                if chunk.journal.exists():
                    advance(chunk, 0)
                    continue
                chunk = known.fill(chunk)
                if len(chunk.known) == len(chunk.recordings):  # quicker than a process
                    advance(chunk, examine_chunk(chunk))
                else:
                    yield chunk

        try:
            if cluster is None:
                run_chunks(missing(), workers, advance)
            else:
                run_chunks_on_cluster(missing(), cluster, advance)
        except KeyboardInterrupt:
            print("\ninterrupted: the same command continues from here", file=sys.stderr)
            raise Stopped("Ctrl-C") from None
    return finished


def remove_other_journals(folder: Path, journals: Iterable[Path]) -> None:
    """Remove the journal files of earlier runs, with other options or files, from a folder."""
    current = {journal.name for journal in journals}
    for path in folder.iterdir():
        if path.name not in current:
            with contextlib.suppress(OSError):
                path.unlink()


def gather(
    journals: list[Path],
    rejected: list[Rejection],
    notes: list[Rejection],
    count: Callable[[pa.RecordBatch], None],
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all journal files; adds to `rejected` and `notes`, and calls `count` with the rows yielded.

    Every id is there once. Of two files that differ in their suffix only (`a.mp3` and `a.wav`), the second has the
    suffix in its id. Any other row with the id of an earlier one is rejected.
    """
    ids = _ids(journals)
    codes = ids.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    first = np.zeros(len(codes), dtype=bool)
    first[np.unique(codes, return_index=True)[1]] = True
    repeated = set(ids.filter(pa.array(~first)).to_pylist())
    taken: dict[str, str] = {}  # the path, without suffix, of the first row with a repeated id
    extra: set[str] = set()
    seen = 0
    for journal in journals:
        batch, metadata = read_journal(journal)
        rejected += [Rejection(**item) for item in json.loads(metadata["rejected"])]
        notes += [Rejection(**item) for item in json.loads(metadata["notes"])]
        if batch is None:
            continue
        keep = first[seen : seen + batch.num_rows].copy()
        seen += batch.num_rows
        if repeated:
            batch = _renamed(batch, keep, repeated, taken, extra)
        for row in batch.filter(pa.array(~keep)).to_pylist():
            message = f"{row['path']}: an earlier file has the same id, {row['id']}: rename it"
            rejected.append(Rejection(row["id"], row["path"], "duplicate id", message))
        kept = batch.filter(pa.array(keep))
        if kept.num_rows:
            count(kept)
            yield kept


def _ids(journals: list[Path]) -> pa.LargeStringArray:
    batches = (read_journal(journal)[0] for journal in journals)
    ids = pa.chunked_array([batch.column("id") for batch in batches if batch is not None], type=pa.string())
    return ids.combine_chunks().cast(pa.large_string())


def _renamed(
    batch: pa.RecordBatch, keep: np.ndarray, repeated: set[str], taken: dict[str, str], extra: set[str]
) -> pa.RecordBatch:
    """Give rows that differ from an earlier one in their file's suffix only an id with it, and mark them to `keep`."""
    ids, paths = batch.column("id").to_pylist(), batch.column("path").to_pylist()
    for row, identity in enumerate(ids):
        if identity not in repeated:
            continue
        stem, suffix = os.path.splitext(paths[row])
        own = identity + suffix
        if keep[row]:
            taken[identity] = stem
        elif taken[identity] == stem and suffix and own not in repeated | extra:
            extra.add(own)
            ids[row], keep[row] = own, True
    return batch.set_column(batch.schema.get_field_index("id"), batch.schema.field("id"), pa.array(ids, pa.string()))


def _fresh_digest(rules: Rules) -> "hashlib._Hash":
    return hashlib.sha256(f"2 {rules!r}\n".encode())  # increase the number when the findings of examine.py change


def _stamp(recording: Utterance) -> tuple[int, str]:
    """Return the number of bytes to read, and a text that changes when the file does."""
    try:
        status = os.stat(recording.path)
    except (OSError, ValueError):
        return 0, _MISSING
    size = recording.size if recording.size >= 0 else status.st_size
    if recording.samples >= 0:  # a piece of a file, which is not read whole
        size = min(size, 2 * recording.samples)
    return size, f"{status.st_size} {status.st_mtime_ns}"
