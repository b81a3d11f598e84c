"""`wav2vec2 prepare shards`: many recordings in few large tar files, for storage that is slow with small files.

The tar files have WebDataset's layout: KEY.flac (the encoded bytes, unchanged), KEY.json and, for labelled speech,
KEY.txt. The manifest beside them holds the byte offset and size of every recording, so that one range request reads
one recording, in any order, from a disk or any fsspec URL. Its paths are relative: the folder may be moved or uploaded
as a whole.
"""

import io
import itertools
import json
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from wav2vec2.audio.container import container_of
from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.data.byte_range import read_bytes
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError
from wav2vec2.output_file import writing

_TAR_BLOCK = 512


@dataclass(frozen=True)
class PrepareShards:
    """Copy the recordings of a manifest into tar shards, for storage that is slow with small files."""

    manifest: Annotated[Path, tyro.conf.Positional]
    """A manifest, or the folder that `prepare` wrote."""
    out: Path = Path("shards")
    """Folder for shard-000000.tar, ... and their manifest.parquet."""
    shard_mb: int = 500
    """Size at which a new shard is started, in MB (10^6 bytes)."""
    split: str | None = None
    """Copy only this split, or several: dev+test."""


def run(options: PrepareShards) -> Path:
    """Write the shards and their manifest; returns the manifest's path. Raises UserError."""
    if options.shard_mb < 1:
        raise UserError(f"--shard-mb {options.shard_mb}: must be at least 1")
    manifest = Manifest.open(options.manifest, options.split)
    if not len(manifest):
        raise UserError(f"{options.manifest}: has no utterances: prepare it again or choose another split")
    missing: list[str] = []

    def leave_out(rows: list[Utterance], error: AudioError) -> None:
        missing.extend(row.id for row in rows)
        print(f"left out: {rows[0].id}: {error}", file=sys.stderr)

    path = write_shards(manifest, options.out, options.shard_mb * 1_000_000, leave_out)
    if len(missing) == len(manifest):
        for leftover in [path, *options.out.glob("shard-*.tar")]:
            leftover.unlink()
        raise UserError(f"{options.manifest}: no recording could be read: correct the paths or prepare again")
    shards = len(list(options.out.glob("shard-*.tar")))
    left_out = f", {len(missing)} left out" if missing else ""
    print(f"{len(manifest) - len(missing)} utterances in {shards} shards{left_out}, manifest {path}")
    return path


def write_shards(
    manifest: Iterable[Utterance],
    out: Path,
    shard_bytes: int,
    leave_out: Callable[[list[Utterance], AudioError], None] | None = None,
) -> Path:
    """Copy recordings into `out`/shard-NNNNNN.tar of about `shard_bytes` each and write `out`/manifest.parquet.

    The recording of neighbouring segments is copied once. Nothing is re-encoded. Rows that cannot be read are passed to
    `leave_out`, if it is given.

    Raises:
        UserError: a shard cannot be written, or (without `leave_out`) a recording cannot be read.
    """
    recordings = (list(rows) for _, rows in itertools.groupby(manifest, lambda row: (row.path, row.offset, row.size)))
    return write_manifest(_copied(recordings, out, shard_bytes, leave_out), out / "manifest.parquet")


def _copied(
    recordings: Iterable[list[Utterance]],
    out: Path,
    shard_bytes: int,
    leave_out: Callable[[list[Utterance], AudioError], None] | None,
) -> Iterator[Utterance]:
    """Write the shards one after the other; yields the rows of their manifest."""
    pending = iter(recordings)
    for number in itertools.count():
        first = next(pending, None)
        if first is None:
            return
        name = f"shard-{number:06d}.tar"
        with writing(out / name) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as shard:
            for rows in itertools.chain([first], pending):
                try:
                    offset, size = _add_recording(shard, rows)
                except AudioError as error:
                    if leave_out is None:
                        raise
                    leave_out(rows, error)
                    continue
                yield from (replace(row, path=name, offset=offset, size=size) for row in rows)
                if shard.offset >= shard_bytes:
                    break


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
