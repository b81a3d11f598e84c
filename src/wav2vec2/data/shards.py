"""`wav2vec2 prepare shards`: many recordings in few large tar files, for storage that is slow with small files.

The tar files have WebDataset's layout: KEY.flac (the encoded bytes, unchanged), KEY.json and, for labelled speech,
KEY.txt. The manifest beside them holds the byte offset and size of every recording, so that one range request reads
one recording, in any order, from a disk or any fsspec URL. Its paths are relative: the folder may be moved or uploaded
as a whole. A small file beside each shard, .shard-NNNNNN.rows, says what is in it, so that the same command continues
where it was stopped.
"""

import hashlib
import itertools
import json
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.manifest_files import open_parquet
from wav2vec2.data.shard_members import add_recording, add_segments
from wav2vec2.data.utterance import Utterance, record_batch, record_batches, write_batches
from wav2vec2.data.whole_files import WholeFiles
from wav2vec2.errors import UserError
from wav2vec2.progress import progress_bar

MANIFEST = "manifest.parquet"
_MOST_REPEATED = 2.0
_NOTE = b"wav2vec2.shard"  # key of what is noted of a shard, in the metadata of the file of its rows

LeaveOut = Callable[[list[Utterance], AudioError], None]


@dataclass(frozen=True)
class PrepareShards:
    """Copy the recordings of a manifest into tar shards, for storage that is slow with small files.

    Run the same command again to continue: shards that are complete are not written again.
    """

    manifest: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MANIFEST")]
    """A manifest, or the folder that `prepare` wrote; a path or a URL such as s3://bucket/folder."""
    out: str = "shards"
    """Folder for shard-000000.tar, ... and their manifest.parquet; a path or a URL such as s3://bucket/folder."""
    shard_mb: int = 500
    """Size at which a new shard is started, in MB (10^6 bytes)."""
    split: str | None = None
    """Copy only this split, or several: dev+test."""
    cut: bool = False
    """Write each segment of a long recording as a FLAC file of its own (16 kHz, 16 bits). Without it recordings are
    copied as they are, and reading a segment reads its whole recording."""


def run(options: PrepareShards) -> str:
    """Write the shards and their manifest; returns the manifest's path or URL. Raises UserError."""
    if options.shard_mb < 1:
        raise UserError(f"--shard-mb {options.shard_mb}: must be at least 1")
    manifest = Manifest.open(options.manifest, options.split)
    if not len(manifest):
        raise UserError(f"{options.manifest}: has no utterances: prepare it again or choose another split")
    missing: list[str] = []

    def leave_out(rows: list[Utterance], error: AudioError) -> None:
        missing.extend(row.id for row in rows)
        print(f"left out: {rows[0].id}: {error}", file=sys.stderr)

    with progress_bar() as bar:
        counted = bar.track(manifest, total=len(manifest), description="shards")
        path = write_shards(counted, options.out, options.shard_mb * 1_000_000, leave_out, cut=options.cut)
    folder = WholeFiles(options.out)
    shards = [name for name in folder.names() if _is_shard(name)]
    if len(missing) == len(manifest):
        for leftover in [MANIFEST, *shards, *map(_rows_name, shards)]:
            folder.remove(leftover)
        raise UserError(f"{options.manifest}: no recording could be read: correct the paths or prepare again")
    if advice := _repeated_reading(Manifest.open(path)):
        print(advice)
    left_out = f", {len(missing)} left out" if missing else ""
    print(f"{len(manifest) - len(missing)} utterances in {len(shards)} shards{left_out}, manifest {path}")
    return path


def _repeated_reading(manifest: Manifest) -> str:
    """A line where an epoch reads the shards several times over, because segments read whole recordings."""
    sizes, offsets = (manifest.column(name).to_numpy() for name in ("size", "offset"))
    new = np.append(True, (offsets[1:] != offsets[:-1]) | (sizes[1:] != sizes[:-1]))
    read, there = int(sizes.sum()), int(sizes[new].sum())
    if read < _MOST_REPEATED * there:
        return ""
    return (
        f"an epoch reads these shards {read / there:.1f} times over ({read / 1e9:.3g} GB), since a segment reads its "
        "whole recording: --cut writes each segment as a file of its own"
    )


def write_shards(
    manifest: Iterable[Utterance],
    out: str | Path,
    shard_bytes: int,
    leave_out: LeaveOut | None = None,
    *,
    cut: bool = False,
) -> str:
    """Copy recordings into `out`/shard-NNNNNN.tar of about `shard_bytes` each and write `out`/manifest.parquet.

    The recording of neighbouring segments is copied once, and nothing is re-encoded, unless `cut`: then each segment is
    a FLAC file of its own, of 16 bits. Rows that cannot be read are passed to
    `leave_out`, if it is given. Each shard appears when it is complete. Shards that an earlier call with the same rows
    completed are kept, unless something was left out of them.

    Raises:
        UserError: a shard cannot be written, or (without `leave_out`) a recording cannot be read.
    """
    recordings = (list(rows) for _, rows in itertools.groupby(manifest, lambda row: (row.path, row.offset, row.size)))
    folder = WholeFiles(out)
    there = set(folder.names())
    written: list[str] = []
    with folder.writing(MANIFEST) as temporary:
        rows = _copied(recordings, _Writer(folder, shard_bytes, leave_out, cut), there, written)
        write_batches(record_batches(rows), temporary)
    for name in there:  # more shards of an earlier, larger set
        if _is_shard(name) and name not in written:
            folder.remove(_rows_name(name))
            folder.remove(name)
    return folder.path(MANIFEST)


@dataclass(frozen=True)
class _Writer:
    """How shards are written."""

    folder: WholeFiles
    shard_bytes: int
    leave_out: LeaveOut | None
    cut: bool

    def digest(self, recordings: list[list[Utterance]]) -> str:
        """A hash of what a shard is made of, and how."""
        digest = hashlib.sha256(f"{self.shard_bytes}{' cut' if self.cut else ''}".encode())
        for rows in recordings:
            digest.update(repr([astuple(row) for row in rows]).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def add(self, archive: tarfile.TarFile, rows: list[Utterance]) -> list[Utterance]:
        """Add a recording; returns its rows with their places."""
        segmented = len(rows) > 1 or rows[0].start > 0
        return add_segments(archive, rows) if self.cut and segmented else add_recording(archive, rows)


@dataclass
class _Shard:
    """What is known of one shard: the recordings it was offered, and the rows of those in it."""

    name: str
    offered: int = 0
    digest: str = ""
    left_out: int = 0
    size: int = 0
    rows: list[Utterance] | None = None


def _copied(
    recordings: Iterable[list[Utterance]], writer: _Writer, there: set[str], written: list[str]
) -> Iterator[Utterance]:
    """Write the shards one after the other, or find them written; yields the rows of their manifest."""
    pending = iter(recordings)
    for number in itertools.count():
        first = next(pending, None)
        if first is None:
            return
        pending = itertools.chain([first], pending)
        name = f"shard-{number:06d}.tar"
        noted = _noted(writer.folder, name, there)
        taken = list(itertools.islice(pending, noted.offered))
        written.append(name)
        if noted.offered and noted.digest == writer.digest(taken):
            yield from noted.rows or []
            continue
        pending = itertools.chain(taken, pending)
        if MANIFEST in there:  # it describes the shards that are replaced from now on
            writer.folder.remove(MANIFEST)
            there.discard(MANIFEST)
        yield from _written(pending, writer, name)


def _written(pending: Iterator[list[Utterance]], writer: _Writer, name: str) -> list[Utterance]:
    """Write one shard of the next recordings, then what is noted of it; returns its rows."""
    shard = _Shard(name)
    rows_of_shard: list[Utterance] = []
    offered: list[list[Utterance]] = []
    writer.folder.remove(_rows_name(name))
    with writer.folder.writing(name) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            for rows in pending:
                offered.append(rows)
                try:
                    placed = writer.add(archive, rows)
                except AudioError as error:
                    if writer.leave_out is None:
                        raise
                    writer.leave_out(rows, error)
                    shard.left_out += 1
                    continue
                rows_of_shard += (replace(row, path=name) for row in placed)
                if archive.offset >= writer.shard_bytes:
                    break
        shard.size = Path(temporary).stat().st_size
    shard.offered, shard.digest = len(offered), writer.digest(offered)
    described = {"offered": shard.offered, "digest": shard.digest, "left_out": shard.left_out, "size": shard.size}
    with writer.folder.writing(_rows_name(name)) as temporary:
        write_batches([record_batch(rows_of_shard)], temporary, {_NOTE.decode(): json.dumps(described)})
    return rows_of_shard


def _noted(folder: WholeFiles, name: str, there: set[str]) -> _Shard:
    """What is noted of a shard that is there whole; offered is 0 if it has to be written."""
    if not {name, _rows_name(name)} <= there:
        return _Shard(name)
    try:
        file: pq.ParquetFile = open_parquet(folder.path(_rows_name(name)))
        shard = _Shard(name, **json.loads((file.schema_arrow.metadata or {}).get(_NOTE, b"{}")))
        shard.rows = [Utterance(**row) for row in file.read().to_pylist()]
    except (UserError, pa.ArrowException, OSError, TypeError, ValueError):  # damaged: the shard is written again
        return _Shard(name)
    return _Shard(name) if shard.left_out or shard.size != folder.size(name) else shard


def _rows_name(shard: str) -> str:
    return f".{shard.removesuffix('.tar')}.rows"


def _is_shard(name: str) -> bool:
    return name.startswith("shard-") and name.endswith(".tar")
