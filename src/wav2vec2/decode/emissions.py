"""The check that every decoder's input passes."""

import numpy as np

from wav2vec2.decode.hypothesis import Emissions
from wav2vec2.errors import UserError


def check_emissions(emissions: Emissions, width: int) -> Emissions:
    """Return (T, width) float32, contiguous; raises UserError for another shape, NaN and +inf."""
    array = np.ascontiguousarray(emissions, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != width:
        raise UserError(f"emissions: have shape {array.shape}; give (frames, {width}), one column a symbol")
    if np.isnan(array).any() or (array.size and float(array.max()) == np.inf):
        raise UserError("emissions: hold NaN or +inf; the model or its input is broken, check both")
    return array
