"""Lengths of utterances as in the 960 hours of LibriSpeech.

The percentiles are those that icefall's egs/librispeech/ASR/local/display_manifest_statistics.py lists for the three
training sets (each utterance at speeds of 0.9, 1 and 1.1, which hardly changes them).
"""

import numpy as np
import numpy.typing as npt

_PERCENTILES = (0, 0.1, 0.5, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)
_SECONDS = {
    28_539: (1.3, 1.9, 2.2, 2.5, 4.2, 6.4, 11.4, 13.8, 15.3, 16.7, 17.3, 18.1, 18.4, 18.8, 27.2),
    104_014: (1.0, 1.8, 2.2, 2.5, 4.2, 6.2, 11.2, 13.7, 15.3, 16.6, 17.3, 18.1, 18.4, 18.8, 33.0),
    148_688: (0.8, 1.7, 2.1, 2.3, 3.5, 5.0, 9.8, 13.4, 15.1, 16.5, 17.2, 18.1, 18.4, 18.9, 31.0),
}
ROWS = sum(_SECONDS)


def librispeech_samples(rows: int = ROWS) -> npt.NDArray[np.int64]:
    """Lengths (rows,) in samples: evenly spaced quantiles of the three sets, in a random order."""
    parts = []
    for count, seconds in _SECONDS.items():
        share = (np.arange(round(rows * count / ROWS)) + 0.5) / round(rows * count / ROWS)
        parts.append(np.interp(100 * share, _PERCENTILES, seconds))
    every = np.concatenate(parts) * 16_000
    return np.random.default_rng(0).permutation(every).astype(np.int64)
