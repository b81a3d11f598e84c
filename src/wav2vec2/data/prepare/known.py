"""What earlier runs of `prepare` found about recordings that have not changed, so that they are not decoded again.

A recording is known by its key, a hash of the options and of its name, size, time of change and transcript; journals
say which recordings their rows are of. What was rejected is examined again. Millions of recordings may be known: all
that is held of them is two arrays, and the rows of a few journals.
"""

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from wav2vec2.data.prepare.examine import Chunk, Findings, read_journal
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

JOURNALS = ".prepare"
"""The folder of the journals, in that of the manifest."""
_JOURNAL = "[!.]*.parquet"
_OPEN = 4


class Known:
    """The recordings of earlier runs; `used` counts those that were not examined again."""

    def __init__(self, own: Path, reuse: Path | None = None) -> None:
        """Find journals; they are read when the first recording is looked for.

        Args:
            own: the folder of this run's journals.
            reuse: the folder of the manifest of an earlier run, or one that holds such folders.

        Raises:
            UserError: the folder `reuse` does not exist.
        """
        self.used = 0
        self._journals = sorted(own.glob(_JOURNAL))
        if reuse is not None:
            if not reuse.is_dir():
                raise UserError(f"--reuse {reuse}: no such folder; give the --out of an earlier 'wav2vec2 prepare'")
            for above in ("", "*/"):
                self._journals += sorted(reuse.glob(f"{above}{JOURNALS}/*/{_JOURNAL}"))

    def fill(self, chunk: Chunk) -> Chunk:
        """Return a chunk with what is known of its recordings."""
        known = {
            place: found
            for place, (key, recording) in enumerate(zip(chunk.keys, chunk.recordings, strict=True))
            if key and (found := self._find(key, recording)) is not None
        }
        self.used += len(known)
        return replace(chunk, known=known)

    def _find(self, key: int, recording: Utterance) -> Findings | None:
        keys, journals = self._index
        place = int(np.searchsorted(keys, np.uint64(key)))
        if place == len(keys) or keys[place] != key:
            return None
        found = _findings(self._journals[journals[place]]).get(key)
        # Two of millions of keys may be equal by chance, but not those of one recording.
        return found if found is not None and found.rows and found.rows[0].path == recording.path else None

    @functools.cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        """The keys, sorted, and for each the number of its journal."""
        found = [_keys(path) for path in self._journals]
        journals = np.repeat(np.arange(len(found)), [len(keys) for keys in found])
        keys, first = np.unique(np.concatenate([np.empty(0, np.uint64), *found]), return_index=True)
        return keys, journals[first]


def _keys(journal: Path) -> np.ndarray:
    try:
        metadata = pq.read_schema(journal).metadata or {}
        return np.array([key for key, _, _ in json.loads(metadata.get(b"kept", b"[]"))], np.uint64)
    except (OSError, ValueError, TypeError, OverflowError):  # damaged: its recordings are examined again
        return np.empty(0, np.uint64)


@functools.lru_cache(maxsize=_OPEN)
def _findings(journal: Path) -> dict[int, Findings]:
    """What a journal says of its recordings, by key; nothing if it is damaged."""
    try:
        batch, metadata = read_journal(journal)
        rows = [Utterance(**row) for row in batch.to_pylist()] if batch is not None else []
        notes = [Rejection(**note) for note in json.loads(metadata["notes"])]
        kept = json.loads(metadata["kept"])
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    found = {}
    for key, many, noted in kept:
        found[key] = Findings(rows=rows[:many], notes=notes[:noted])
        rows, notes = rows[many:], notes[noted:]
    return found
