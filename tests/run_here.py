"""The runner of a plan's stages for tests."""

from wav2vec2 import cli
from wav2vec2.errors import UserError


def run_here(words: list[str], **_: object) -> None:
    """The real commands, without a process of their own for each, and searches without workers."""
    words = [str(word) for word in words]
    if words[0] in ("tune", "evaluate", "pseudo-label"):
        place = words.index("--workers")
        words[place : place + 2] = ["--workers", "0"]
    status = cli.main(words)
    if status == 130:
        raise KeyboardInterrupt
    if status:
        raise UserError(f"status {status}")
