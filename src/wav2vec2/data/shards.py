"""`wav2vec2 prepare shards`: many recordings in few large tar files, for storage that is slow with small files.

The tar files have WebDataset's layout: KEY.flac (the encoded bytes, unchanged), KEY.json and, for labelled speech,
KEY.txt. The manifest beside them holds the byte offset and size of every recording, so that one range request reads
one recording, in any order, from a disk or any fsspec URL. Its paths are relative: the folder may be moved or uploaded
as a whole. A small file beside each shard, .shard-NNNNNN.rows, says what is in it, so that the same command continues
where it was stopped.
"""

import hashlib
import io
import itertools
import json
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import tyro

from wav2vec2.audio.container import container_of
from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.data.byte_range import read_bytes
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.manifest_files import open_parquet
from wav2vec2.data.utterance import Utterance, record_batch, record_batches, write_batches
from wav2vec2.data.whole_files import WholeFiles
from wav2vec2.errors import UserError
from wav2vec2.progress import progress_bar

MANIFEST = "manifest.parquet"
_TAR_BLOCK = 512
_NOTE = b"wav2vec2.shard"  # key of what is noted of a shard, in the metadata of the file of its rows

LeaveOut = Callable[[list[Utterance], AudioError], None]


@dataclass(frozen=True)
class PrepareShards:
    """Copy the recordings of a manifest into tar shards, for storage that is slow with small files.

    Run the same command again to continue: shards that are complete are not written again.
    """

    manifest: Annotated[str, tyro.conf.Positional]
    """A manifest, or the folder that `prepare` wrote; a path or a URL such as s3://bucket/folder."""
    out: str = "shards"
    """Folder for shard-000000.tar, ... and their manifest.parquet; a path or a URL such as s3://bucket/folder."""
    shard_mb: int = 500
    """Size at which a new shard is started, in MB (10^6 bytes)."""
    split: str | None = None
    """Copy only this split, or several: dev+test."""


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
        path = write_shards(counted, options.out, options.shard_mb * 1_000_000, leave_out)
    folder = WholeFiles(options.out)
    shards = [name for name in folder.names() if _is_shard(name)]
    if len(missing) == len(manifest):
        for leftover in [MANIFEST, *shards, *map(_rows_name, shards)]:
            folder.remove(leftover)
        raise UserError(f"{options.manifest}: no recording could be read: correct the paths or prepare again")
    left_out = f", {len(missing)} left out" if missing else ""
    print(f"{len(manifest) - len(missing)} utterances in {len(shards)} shards{left_out}, manifest {path}")
    return path


def write_shards(
    manifest: Iterable[Utterance], out: str | Path, shard_bytes: int, leave_out: LeaveOut | None = None
) -> str:
    """Copy recordings into `out`/shard-NNNNNN.tar of about `shard_bytes` each and write `out`/manifest.parquet.

    The recording of neighbouring segments is copied once. Nothing is re-encoded. Rows that cannot be read are passed to
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
        rows = _copied(recordings, folder, shard_bytes, leave_out, there, written)
        write_batches(record_batches(rows), temporary)
    for name in there:  # more shards of an earlier, larger set
        if _is_shard(name) and name not in written:
            folder.remove(_rows_name(name))
            folder.remove(name)
    return folder.path(MANIFEST)


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
    recordings: Iterable[list[Utterance]],
    folder: WholeFiles,
    shard_bytes: int,
    leave_out: LeaveOut | None,
    there: set[str],
    written: list[str],
) -> Iterator[Utterance]:
    """Write the shards one after the other, or find them written; yields the rows of their manifest."""
    pending = iter(recordings)
    for number in itertools.count():
        first = next(pending, None)
        if first is None:
            return
        pending = itertools.chain([first], pending)
        name = f"shard-{number:06d}.tar"
        noted = _noted(folder, name, there)
        taken = list(itertools.islice(pending, noted.offered))
        written.append(name)
        if noted.offered and noted.digest == _digest(taken, shard_bytes):
            yield from noted.rows or []
            continue
        pending = itertools.chain(taken, pending)
        if MANIFEST in there:  # it describes the shards that are replaced from now on
            folder.remove(MANIFEST)
            there.discard(MANIFEST)
        yield from _written(pending, folder, name, shard_bytes, leave_out)


def _written(
    pending: Iterator[list[Utterance]], folder: WholeFiles, name: str, shard_bytes: int, leave_out: LeaveOut | None
) -> list[Utterance]:
    """Write one shard of the next recordings, then what is noted of it; returns its rows."""
    shard = _Shard(name)
    rows_of_shard: list[Utterance] = []
    offered: list[list[Utterance]] = []
    folder.remove(_rows_name(name))
    with folder.writing(name) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            for rows in pending:
                offered.append(rows)
                try:
                    offset, size = _add_recording(archive, rows)
                except AudioError as error:
                    if leave_out is None:
                        raise
                    leave_out(rows, error)
                    shard.left_out += 1
                    continue
                rows_of_shard += (replace(row, path=name, offset=offset, size=size) for row in rows)
                if archive.offset >= shard_bytes:
                    break
        shard.size = Path(temporary).stat().st_size
    shard.offered, shard.digest = len(offered), _digest(offered, shard_bytes)
    described = {"offered": shard.offered, "digest": shard.digest, "left_out": shard.left_out, "size": shard.size}
    with folder.writing(_rows_name(name)) as temporary:
        write_batches([record_batch(rows_of_shard)], temporary, {_NOTE.decode(): json.dumps(described)})
    return rows_of_shard


def _noted(folder: WholeFiles, name: str, there: set[str]) -> _Shard:
    """What is noted of a shard that is there whole; offered is 0 if it has to be written."""
    if not {name, _rows_name(name)} <= there:
        return _Shard(name)
    file: pq.ParquetFile = open_parquet(folder.path(_rows_name(name)))
    shard = _Shard(name, **json.loads((file.schema_arrow.metadata or {}).get(_NOTE, b"{}")))
    if shard.left_out or shard.size != folder.size(name):
        return _Shard(name)
    shard.rows = [Utterance(**row) for row in file.read().to_pylist()]
    return shard


def _digest(recordings: list[list[Utterance]], shard_bytes: int) -> str:
    digest = hashlib.sha256(str(shard_bytes).encode())
    for rows in recordings:
        digest.update(repr([astuple(row) for row in rows]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _rows_name(shard: str) -> str:
    return f".{shard.removesuffix('.tar')}.rows"


def _is_shard(name: str) -> bool:
    return name.startswith("shard-") and name.endswith(".tar")


def _add_recording(shard: tarfile.TarFile, rows: list[Utterance]) -> tuple[int, int]:
    """Add one recording with the .json and .txt of its segments; returns the (offset, size) of its bytes."""
    row = rows[0]
    encoded = read_bytes(row.path, row.offset, row.size)
    suffix = container_of(encoded[:64]) or Path(row.path).suffix.lstrip(".").lower() or "audio"
    key = row.id.replace(".", "_")  # to WebDataset, the key ends at the first dot
    offset = add_member(shard, f"{key}.{suffix}", encoded)
    kept = ("id", "start", "samples", "sample_rate", "text", "speaker", "split", "language", "source")
    segments = [{name: value for name, value in asdict(segment).items() if name in kept} for segment in rows]
    described = segments[0] if len(segments) == 1 else {"id": row.id, "segments": segments}
    add_member(shard, f"{key}.json", json.dumps(described, ensure_ascii=False).encode())
    if len(rows) == 1 and row.text is not None:
        add_member(shard, f"{key}.txt", row.text.encode())
    return offset, len(encoded)


def add_member(shard: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a file to an archive; returns the offset of its first byte in it."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o644
    shard.addfile(member, io.BytesIO(content))
    return shard.offset - -(-len(content) // _TAR_BLOCK) * _TAR_BLOCK
