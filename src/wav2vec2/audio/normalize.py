"""Normalisation of waveforms, for the models that expect normalised input."""

import math

import numpy as np


def normalize_waveform(x: np.ndarray) -> np.ndarray:
    """Scale an utterance to zero mean and unit variance (biased variance, epsilon 1e-5 under the root), float32.

    For models that expect normalised input.
    """
    wide = x.astype(np.float64)
    centred = wide - wide.mean() if len(wide) else wide
    variance = float(np.mean(centred**2)) if len(wide) else 0.0
    return np.asarray(centred / math.sqrt(variance + 1e-5), dtype=np.float32)
