"""The seal of a checkpoint: its state file holds the SHA-256 of every other file, and one of itself.

A flipped bit on a disk or in a copy is found before any number of it is used. Checkpoints without a seal, which older
versions wrote, are read as they are.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import open_input, parse_json, read_input
from wav2vec2.train.checkpoint.closed_reader import DESCRIPTION, TENSOR_FILE

STATE_FILE = "state.json"
_FILES, _OWN = "files", "sha256"


class Damaged(UserError):
    """A checkpoint is not what was written."""

    def __init__(self, checkpoint: Path, error: BaseException | str) -> None:
        why = error if isinstance(error, str) else cause(error)
        super().__init__(f"{checkpoint}: is damaged ({why}): remove this folder and run the same command again")
        self.checkpoint, self.why = checkpoint, why


def digest(file: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    with open_input(file) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def digests(checkpoint: Path, rank: int) -> dict[str, str]:
    """SHA-256 of each file that process ``rank`` has written into a checkpoint, by name."""
    names = [path.name for path in sorted(checkpoint.glob(f"__{rank}_*")) if TENSOR_FILE.fullmatch(path.name)]
    return {name: digest(checkpoint / name) for name in ([DESCRIPTION, *names] if rank == 0 else names)}


def write_state(checkpoint: Path, state: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Write the state of a checkpoint, with the SHA-256 of its ``files``, onto the disk."""
    sealed = {**state, _FILES: dict(files)}
    with (checkpoint / STATE_FILE).open("w", encoding="utf-8") as file:
        file.write(json.dumps({**sealed, _OWN: _digest_of(sealed)}))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(checkpoint)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _digest_of(sealed: Mapping[str, Any]) -> str:
    text = json.dumps(sealed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The JSON state of a checkpoint.

    Raises:
        Damaged: it cannot be read, or is not what was written.
    """
    try:
        state = parse_json(read_input(checkpoint / STATE_FILE))
        if not isinstance(state, dict):
            raise ValueError(f"{STATE_FILE} is not an object")
    except (OSError, ValueError, UserError) as error:
        raise Damaged(checkpoint, error) from None
    if _FILES in state or _OWN in state:
        own = state.pop(_OWN, None)
        if own != _digest_of(state):
            raise Damaged(checkpoint, f"the SHA-256 of {STATE_FILE} differs from the one in it")
    return state


def verify(checkpoint: Path, state: Mapping[str, Any], rank: int = 0, world: int = 1) -> None:
    """Compare files of a checkpoint with the SHA-256 in its state; each of ``world`` processes compares its share.

    Raises:
        Damaged: a file is missing or is not what was written. The message names it.
    """
    if _FILES not in state:
        return
    with read_without_trust(checkpoint):
        files = sorted((str(name), value) for name, value in state[_FILES].items())
    for name, expected in files[rank::world]:
        if name != DESCRIPTION and not TENSOR_FILE.fullmatch(name):
            raise Damaged(checkpoint, f"{STATE_FILE} names a file that no checkpoint has")
        try:
            found = digest(checkpoint / name)
        except (OSError, UserError) as error:
            raise Damaged(checkpoint, f"{name}: {cause(error)}") from None
        if found != expected:
            raise Damaged(checkpoint, f"the SHA-256 of {name} differs from the one in {STATE_FILE}")


@contextmanager
def read_without_trust(checkpoint: Path) -> Iterator[None]:
    """Within this context, a state that lacks a value or has an impossible one is ``Damaged``."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"{STATE_FILE} has no {error}" if isinstance(error, KeyError) else error
        raise Damaged(checkpoint, reason) from None
