"""How close two implementations must be: relative to the largest value, not element by element."""

from torch import Tensor

FLOAT64 = 1e-9
FLOAT32 = 1e-5
FLOAT32_DEEP = 5e-5
"""24 layers and more."""


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float, what: str = "") -> None:
    assert ours.shape == theirs.shape, f"{what}: {tuple(ours.shape)} and {tuple(theirs.shape)}"
    bound = tolerance * max(1.0, theirs.abs().max().item())
    difference = (ours.to(theirs.dtype) - theirs).abs().max().item()
    assert difference <= bound, f"{what}: differs by {difference:.3g}, allowed {bound:.3g}"
