"""Decoding a stretch of an audio stream with FFmpeg, through PyAV."""

import math
from typing import Any

import numpy as np

_PREROLL_SECONDS = 1.0
"""Decoded before the stretch: frames of lossy codecs depend on the frames before them, and seeking is not exact."""
_SEEK_FROM = 10.0
"""An earlier start (seconds) is reached by decoding from the beginning."""


def decode_stream(container: Any, start: float, end: float | None) -> tuple[list[np.ndarray], int, int]:
    """Decode the first audio stream of an open container, from shortly before `start` to shortly after `end` (seconds).

    Returns mono pieces, float32, at the stream's own rate; that rate; and the position of the first sample at it.
    Raises the exceptions of PyAV.
    """
    import av

    stream = container.streams.audio[0]
    rate, origin = int(stream.rate), stream.start_time or 0
    if start > _SEEK_FROM:
        container.seek(int((start - _PREROLL_SECONDS) / stream.time_base) + origin, stream=stream)
    last = math.inf if end is None else (end + 1.0) * rate
    planar = av.AudioResampler(format="fltp")
    pieces: list[np.ndarray] = []
    first = position = -1
    for frame in container.decode(stream):
        if first < 0:
            seconds_in = float((frame.pts - origin) * stream.time_base) if frame.pts is not None else 0.0
            first = position = max(0, round(seconds_in * rate))
        for part in planar.resample(frame):
            pieces.append(part.to_ndarray().mean(axis=0, dtype=np.float32))
            position += len(pieces[-1])
        if position >= last:
            break
    return pieces, rate, max(0, first)
