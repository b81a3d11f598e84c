"""Utterances held out of training, chosen by a hash of their ids: neither the manifest's order nor a seed matters."""

import hashlib
import heapq
from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wav2vec2.data.manifest import Manifest
from wav2vec2.data.sampler import scramble
from wav2vec2.errors import UserError

LARGE = 500_000
"""Above as many utterances, SHA-256 of each would take too long."""
_ROWS = 65_536
_WORD = 8

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
    held = np.zeros(len(manifest), bool)
    if by == "sha256" or len(manifest) <= LARGE:
        held[_smallest_digests(manifest, count, usable)] = True
    else:
        hashes = np.concatenate([hashed(ids) for _, ids in _pieces(manifest)])
        hashes[~usable] = np.iinfo(np.uint64).max
        last = np.partition(hashes, count - 1)[count - 1] if count else np.uint64(0)
        held[np.flatnonzero(hashes <= last)[:count]] = True
    return manifest.select(np.flatnonzero(~held)), manifest.select(np.flatnonzero(held))


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


def _smallest_digests(manifest: Manifest, count: int, usable: npt.NDArray[np.bool_]) -> list[int]:
    """Rows of the ``count`` usable ids with the smallest SHA-256."""

    def keyed() -> Iterator[tuple[bytes, int]]:
        for first, ids in _pieces(manifest):
            for row, name in enumerate(ids.cast(pa.binary()).to_pylist(), first):
                if usable[row]:
                    yield hashlib.sha256(name).digest(), row

    return [row for _, row in heapq.nsmallest(count, keyed())]


def _pieces(manifest: Manifest) -> Iterator[tuple[int, pa.StringArray]]:
    """The ids in pieces of bounded size, each with the number of its first row."""
    for first in range(0, len(manifest), _ROWS):
        rows = np.arange(first, min(first + _ROWS, len(manifest)), dtype=np.int64)
        yield first, manifest.select(rows).column("id").combine_chunks()
