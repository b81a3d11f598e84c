"""Waveforms in blocks, as decoders and microphones yield them."""

from collections.abc import Iterator

import numpy as np
import soxr


def joined_blocks(pieces: Iterator[np.ndarray], least: int, multiple: int = 1) -> Iterator[np.ndarray]:
    """Join pieces to blocks of at least `least` samples and a multiple of `multiple`; the last has what is left."""
    kept: list[np.ndarray] = []
    samples = 0
    for piece in pieces:
        kept.append(piece)
        samples += len(piece)
        if samples >= least:
            joined = np.concatenate(kept)
            whole = samples - samples % multiple
            yield joined[:whole]
            kept, samples = [joined[whole:]], samples - whole
    if samples:
        yield np.concatenate(kept)


class StreamResampler:
    """Mono blocks from one rate to another, in Hz; the result does not depend on how the stream is cut into blocks."""

    def __init__(self, rate: int, wanted: int) -> None:
        self._stream = None if rate == wanted else soxr.ResampleStream(rate, wanted, 1, dtype="float32")

    def push(self, block: np.ndarray, *, last: bool = False) -> np.ndarray:
        """Return the float32 samples that are ready after a block (S,) float32; with `last` those that are left."""
        if self._stream is None:
            return block
        return np.asarray(self._stream.resample_chunk(np.ascontiguousarray(block), last=last))
