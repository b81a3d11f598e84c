"""The device that a user names."""

import torch

from wav2vec2.errors import UserError


def usable_device(name: str) -> torch.device:
    """The device that `name` means; auto takes a GPU if there is one. Raises UserError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} is not usable here; choose auto or cpu") from error
