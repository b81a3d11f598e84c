"""Large manifests as Arrow files that all processes of a machine map: unpacked by one of them, once."""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from wav2vec2.data.byte_range import described
from wav2vec2.data.manifest_files import checked, open_parquet, read_batches
from wav2vec2.data.node_lock import alone
from wav2vec2.data.remote import is_remote
from wav2vec2.data.utterance import COLUMNS, SCHEMA
from wav2vec2.errors import UserError, cause
from wav2vec2.output_file import write_error, writing

ROWS_IN_MEMORY = 500_000
"""Manifests with more rows than this are memory-mapped from the cache folder."""

# What stores call that which changes with a file's content: S3, HTTP, Google, Azure, local and memory.
_STAMPS = ("ETag", "etag", "md5Hash", "content_md5", "generation", "LastModified", "last_modified", "mtime", "created")


def arrow_file(files: Sequence[str]) -> str | None:
    """The Arrow file to memory-map: the one given, or for many rows one in the cache; None for few rows.

    The first process of a machine that asks unpacks the manifest into the cache; the others wait and map it.

    Raises:
        UserError: a file is missing or damaged, or the cache cannot be written.
    """
    if len(files) == 1 and files[0].endswith(".arrow") and not is_remote(files[0]):
        for batch in mapped_batches(files[0]):
            try:
                checked(batch, files[0])
            except pa.ArrowException as error:
                raise UserError(f"{files[0]}: is damaged ({cause(error)}): prepare it again") from None
        return files[0]
    if sum(open_parquet(name).metadata.num_rows for name in files) <= ROWS_IN_MEMORY:
        return None
    cached = _cache_folder() / f"{_fingerprint(files)}.arrow"
    try:
        with alone(cached.with_suffix(".lock")):
            if not cached.exists():
                _unpack(files, cached)
    except OSError as error:
        raise write_error(cached, error) from None
    return str(cached)


def _unpack(files: Sequence[str], cached: Path) -> None:
    for left in cached.parent.glob(f".{cached.name}.*.tmp"):  # by a process that was killed
        left.unlink(missing_ok=True)
    with writing(cached) as temporary, pa.OSFile(temporary, "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for batch in read_batches(files):
            writer.write_batch(batch)


def mapped_batches(path: str) -> list[pa.RecordBatch]:
    """Map an Arrow file into memory. Raises UserError if it is none, or no manifest."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(path))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: is not an Arrow manifest ({' '.join(str(error).split())[:120]}): remove it") from None
    if missing := [column for column in COLUMNS if column not in reader.schema.names]:
        raise UserError(f"{path}: lacks the column '{missing[0]}': it is not a manifest of 'wav2vec2 prepare'")
    batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
    return [batch for batch in batches if batch.num_rows]


def _fingerprint(files: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in files:
        if is_remote(name):
            answer = described(name)
            stamp = [answer.get("size"), *(str(answer[key]) for key in _STAMPS if key in answer)]
            digest.update(f"{name}\0{stamp}\n".encode())
        else:
            status = os.stat(name)
            digest.update(f"{os.path.abspath(name)}\0{status.st_size, status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root if os.access(os.path.dirname(root) or "/", os.W_OK) else tempfile.gettempdir()) / "wav2vec2"
