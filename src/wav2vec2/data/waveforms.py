"""Waveforms of manifest rows: read from files, byte ranges and URLs, and kept decoded in shared memory."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from wav2vec2.audio.encoded_file import AudioError, NamedBytes
from wav2vec2.audio.read import read_audio
from wav2vec2.audio.recordings import Waveform
from wav2vec2.data.byte_range import ByteRange, read_bytes, read_ranges
from wav2vec2.data.remote import is_remote
from wav2vec2.data.utterance import Utterance
from wav2vec2.errors import UserError

_SHARED_MEMORY = Path("/dev/shm")
_FULL_SCALE = 32_768.0

Fetched = Mapping[ByteRange, NamedBytes | AudioError]
"""Bytes of recordings in remote storage, or why they could not be had."""


def read_utterance(utterance: Utterance, fetched: Fetched | None = None) -> Waveform:
    """Decode one manifest row to mono float32 at 16 kHz (samples,).

    fetched: what `fetch` found for this row and others; what is not in it is read now.

    Raises:
        UserError: the file is missing, unreadable, not audio, not finite, or shorter than the manifest says.
    """
    samples = None if utterance.samples < 0 else utterance.samples
    if utterance.offset < 0 and not is_remote(utterance.path):
        return read_audio(utterance.path, start=utterance.start, samples=samples)
    place = _place(utterance)
    encoded = fetched.get(place) if fetched else None
    if encoded is None:
        encoded = read_bytes(place.path, place.offset, place.size)
    if isinstance(encoded, AudioError):
        raise encoded
    return read_audio(encoded, start=utterance.start, samples=samples)


def fetch(utterances: Iterable[Utterance]) -> Fetched:
    """Fetch the recordings of rows that lie in remote storage: each once, neighbours of a shard in one request."""
    return read_ranges(_place(one) for one in utterances if is_remote(one.path))


def _place(utterance: Utterance) -> ByteRange:
    inside = utterance.offset >= 0
    return ByteRange(utterance.path, utterance.offset if inside else -1, utterance.size if inside else -1)


class DecodedAudio:
    """Decoded utterances in memory shared by all reading processes, for accelerators faster than the decoder.

    Each utterance is decoded once, by the process that needs it first, and kept as 16-bit samples: 115 MB an hour.
    Nothing is written to disk.
    """

    def __init__(self, samples: npt.NDArray[np.int64]) -> None:
        """Reserve memory for utterances of `samples` (N,) samples. Raises UserError if there is too little."""
        self._ends = np.cumsum(samples)
        size = 2 * int(self._ends[-1])
        if _SHARED_MEMORY.exists() and size > shutil.disk_usage(_SHARED_MEMORY).free:
            raise UserError(
                f"batch.in_memory: {size / 1e9:.1f} GB of decoded speech do not fit into {_SHARED_MEMORY}: "
                "give the machine more shared memory, or set it to false"
            )
        self._audio = torch.empty(int(self._ends[-1]), dtype=torch.int16).share_memory_()
        self._filled = torch.zeros(len(samples), dtype=torch.bool).share_memory_()

    def has(self, index: int) -> bool:
        """Whether utterance `index` has been decoded."""
        return bool(self._filled[index])

    def waveform(self, index: int, read: Callable[[], Waveform]) -> Waveform:
        """Return utterance `index` as float32 in [-1, 1], rounded to 16 bits; `read` decodes it the first time.

        Two processes that need an utterance at the same time write the same samples, so nothing is locked.
        """
        end = int(self._ends[index])
        start = int(self._ends[index - 1]) if index else 0
        kept = self._audio[start:end].numpy()
        if not self._filled[index]:
            scaled = np.rint(read() * _FULL_SCALE)
            kept[:] = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
            self._filled[index] = True
        waveform: Waveform = kept.astype(np.float32) / np.float32(_FULL_SCALE)
        return waveform
