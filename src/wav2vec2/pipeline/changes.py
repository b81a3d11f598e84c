"""Changes that a user makes in the recipes of a pipeline's stages: ``--set STAGE:KEY=VALUE``."""

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Annotated, Any

from tyro.conf import UseAppendAction

from wav2vec2.errors import UserError
from wav2vec2.input_file import parse_toml

Repeated = Annotated[tuple[str, ...], UseAppendAction]
"""An option that is given once for each value."""


def changes_of(given: Sequence[str], stage: str) -> dict[str, Any]:
    """What texts such as ``finetune-*:train.lr=1e-3`` change in the recipe of a stage, by dotted key.

    Raises UserError for a text that is not STAGE:KEY=VALUE.
    """
    found: dict[str, Any] = {}
    for text in given:
        pattern, colon, rest = text.partition(":")
        key, equals, value = rest.partition("=")
        if not colon or not equals:
            raise UserError(f"--set {text}: write STAGE:KEY=VALUE, such as pretrain:train.lr=1e-3")
        if fnmatch(stage, pattern):
            found[key.replace("-", "_")] = _parsed(value)
    return found


def _parsed(value: str) -> Any:
    """A TOML value, or the text itself."""
    try:
        parsed = parse_toml(f"value = {value}".encode(errors="surrogateescape"))["value"]
    except (ValueError, KeyError):
        return value
    return tuple(parsed) if isinstance(parsed, list) else parsed
