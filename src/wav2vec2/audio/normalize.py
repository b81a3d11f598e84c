"""Normalisation of waveforms, for the models that expect normalised input."""

import math

import numpy as np

FAIRSEQ_EPSILON = 1e-5
"""Added to the variance by fairseq, fairseq2 and torchaudio, whose normalisation is torch's layer norm."""
TRANSFORMERS_EPSILON = 1e-7
"""Added to the variance by transformers' Wav2Vec2FeatureExtractor."""


def normalize_waveform(x: np.ndarray, epsilon: float) -> np.ndarray:
    """Scale an utterance to zero mean and unit variance (biased variance plus ``epsilon`` under the root), float32.

    For models that expect normalised input. ``epsilon`` is the model's own: at -44 dBFS the two in use give amplitudes
    that differ by a tenth.
    """
    wide = x.astype(np.float64)
    centred = wide - wide.mean() if len(wide) else wide
    variance = float(np.mean(centred**2)) if len(wide) else 0.0
    return np.asarray(centred / math.sqrt(variance + epsilon), dtype=np.float32)
