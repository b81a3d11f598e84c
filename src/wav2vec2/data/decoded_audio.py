"""Decoded speech kept in memory that all reading processes share, for accelerators that outrun the decoder.

Each utterance is decoded once, by whichever process needs it first, and kept as 16-bit samples: 115 MB an hour.
Nothing is written to a disk.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from wav2vec2.errors import UserError

_SHARED_MEMORY = Path("/dev/shm")
_FULL_SCALE = 32_768.0


class DecodedAudio:
    """The utterances of a manifest, by their place in it, filled as they are read."""

    def __init__(self, samples: npt.NDArray[np.int64]) -> None:
        """Reserve room for utterances of ``samples`` (N,) samples. Raises UserError when there is too little."""
        self._ends = np.cumsum(samples)
        size = 2 * int(self._ends[-1])
        if _SHARED_MEMORY.exists() and size > shutil.disk_usage(_SHARED_MEMORY).free:
            raise UserError(
                f"batch.in_memory: {size / 1e9:.1f} GB of decoded speech do not fit into {_SHARED_MEMORY}: "
                "give the machine more shared memory, or set it to false"
            )
        self._audio = torch.empty(int(self._ends[-1]), dtype=torch.int16).share_memory_()
        self._filled = torch.zeros(len(samples), dtype=torch.bool).share_memory_()

    def waveform(self, index: int, read: Callable[[], npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Utterance ``index`` as float32 in [-1, 1], rounded to 16 bits; ``read`` decodes it the first time.

        Two processes that meet at the same utterance write the same samples: there is nothing to lock.
        """
        end = int(self._ends[index])
        start = int(self._ends[index - 1]) if index else 0
        kept = self._audio[start:end].numpy()
        if not self._filled[index]:
            scaled = np.rint(read() * _FULL_SCALE)
            kept[:] = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
            self._filled[index] = True
        waveform: npt.NDArray[np.float32] = kept.astype(np.float32) / np.float32(_FULL_SCALE)
        return waveform
