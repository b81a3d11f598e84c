"""Resampling of a stream whose end is not known."""

import numpy as np
import soxr


class StreamResampler:
    """Mono blocks from one rate to another, in Hz; the result does not depend on how the stream is cut into blocks."""

    def __init__(self, rate: int, wanted: int) -> None:
        self._stream = None if rate == wanted else soxr.ResampleStream(rate, wanted, 1, dtype="float32")

    def push(self, block: np.ndarray, *, last: bool = False) -> np.ndarray:
        """Return the float32 samples that are ready after a block (S,) float32; with `last` those that are left."""
        if self._stream is None:
            return block
        return np.asarray(self._stream.resample_chunk(np.ascontiguousarray(block), last=last))
