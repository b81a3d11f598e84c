"""Utterances held out of training, chosen by a hash of their ids: neither the manifest's order nor a seed matters."""

import hashlib
import heapq
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wav2vec2.data.made_once import made_once
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.sampler import scramble
from wav2vec2.errors import UserError
from wav2vec2.output_file import writing

LARGE = 500_000
"""Above as many utterances, SHA-256 of each would take too long."""
_WORD = 8

Rows = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


def hold_out(
    manifest: Manifest, count: int, avoid: set[str], by: Literal["auto", "sha256"] = "auto"
) -> tuple[Manifest, Manifest]:
    """Hold out ``count`` utterances whose ids are not in ``avoid``; return (the rest, the held-out ones).

    Args:
        manifest: the utterances.
        count: how many to hold out: those with the smallest hashes.
        avoid: ids that are not held out.
        by: sha256, or auto: SHA-256 up to ``LARGE`` utterances, a faster hash above.

    Raises:
        UserError: there are not enough utterances.
    """
    usable = np.ones(len(manifest), bool)
    if avoid:
        unwanted = pa.array(sorted(avoid), type=pa.string())
        for first, ids in _pieces(manifest):
            usable[first : first + len(ids)] = ~pc.is_in(ids, value_set=unwanted).to_numpy(zero_copy_only=False)
    candidates = int(np.count_nonzero(usable))
    if count >= candidates:
        raise UserError(f"data.hold_out: {count} of {candidates} usable utterances; hold out fewer")
    if by == "sha256" or len(manifest) <= LARGE:
        held = _smallest_digests(manifest, count, usable)
    else:
        held = _once_a_machine(manifest, count, usable)
    rest = np.ones(len(manifest), bool)
    rest[held] = False
    return manifest.select(np.flatnonzero(rest)), manifest.select(held)


def _once_a_machine(manifest: Manifest, count: int, usable: npt.NDArray[np.bool_]) -> Rows:
    """As :func:`_smallest_hashes`, which one process of this machine computes."""
    if (identity := manifest.identity) is None:
        return _smallest_hashes(manifest, count, usable)
    digest = hashlib.sha256(f"{identity} {count}".encode())
    digest.update(np.packbits(usable).data)
    found: list[Rows] = []

    def valid(path: Path) -> bool:
        with suppress(ValueError):
            found.append(np.load(path))
        return bool(found)

    def write(path: Path) -> None:
        with writing(path) as temporary, open(temporary, "wb") as file:
            np.save(file, _smallest_hashes(manifest, count, usable))

    made_once(f"held-{digest.hexdigest()[:24]}.npy", valid, write)
    return found[0] if found else _smallest_hashes(manifest, count, usable)


def _smallest_hashes(manifest: Manifest, count: int, usable: npt.NDArray[np.bool_]) -> Rows:
    """Rows of the ``count`` usable ids with the smallest hashes, ascending."""
    hashes = np.concatenate([hashed(ids) for _, ids in _pieces(manifest)])
    hashes[~usable] = np.iinfo(np.uint64).max
    last = np.partition(hashes, count - 1)[count - 1] if count else np.uint64(0)
    return np.flatnonzero(hashes <= last)[:count].astype(np.int64)


def hashed(ids: pa.StringArray) -> Words:
    """A 64-bit hash of each id (N,), of eight bytes at a time for all ids together."""
    if not len(ids):
        return np.zeros(0, np.uint64)
    _, ends, content = ids.buffers()
    offsets = np.frombuffer(ends, np.int32)[ids.offset : ids.offset + len(ids) + 1].astype(np.int64)
    data = np.frombuffer(b"" if content is None else content, np.uint8)[offsets[0] : offsets[-1]]
    data = np.concatenate([data, np.zeros(_WORD, np.uint8)])
    words = np.ndarray(len(data) - _WORD + 1, "<u8", data, strides=(1,))  # the word at every byte
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    state = scramble(lengths.astype(np.uint64))
    for first in range(0, int(lengths.max()), _WORD):
        longer = np.flatnonzero(lengths > first)
        unused = 8 * (_WORD - np.minimum(lengths[longer] - first, _WORD)).astype(np.uint64)
        inside = np.uint64(0xFFFFFFFFFFFFFFFF) >> unused
        state[longer] = scramble(state[longer] ^ (words[starts[longer] + first] & inside))
    return state


def _smallest_digests(manifest: Manifest, count: int, usable: npt.NDArray[np.bool_]) -> Rows:
    """Rows of the ``count`` usable ids with the smallest SHA-256, ascending."""

    def keyed() -> Iterator[tuple[bytes, int]]:
        for first, ids in _pieces(manifest):
            for row, name in enumerate(ids.cast(pa.binary()).to_pylist(), first):
                if usable[row]:
                    yield hashlib.sha256(name).digest(), row

    return np.asarray(sorted(row for _, row in heapq.nsmallest(count, keyed())), dtype=np.int64)


def _pieces(manifest: Manifest) -> Iterator[tuple[int, pa.StringArray]]:
    """The ids in pieces of bounded size, each with the number of its first row."""
    first = 0
    for ids in manifest.column_pieces("id"):
        yield first, ids
        first += len(ids)
