"""Waveforms in blocks, as decoders yield them."""

from collections.abc import Iterator

import numpy as np


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
