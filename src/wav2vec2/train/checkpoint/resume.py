"""Where a run goes on: from the newest checkpoint that is what was written; from the one before if that is damaged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError
from wav2vec2.train import distributed
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.checkpoint.seal import Damaged, read_state, verify


def newest_sound(
    checkpoints: Checkpoints, load: Callable[[Path, dict[str, Any]], None]
) -> tuple[Path | None, list[str]]:
    """Verify and ``load`` the newest checkpoint; if it is damaged, set it aside and take the one before.

    Args:
        checkpoints: of the run.
        load: takes the folder and its state; raises ``Damaged`` on all processes together if it cannot be loaded.

    Returns:
        The checkpoint that was loaded, None if there is none; and lines about damaged ones.

    Raises:
        UserError: all checkpoints are damaged, or ``load`` has refused.
    """
    damaged: list[Damaged] = []
    for path in checkpoints.newest_first():
        try:
            state = sound_state(path)
            load(path, state)
        except Damaged as error:
            damaged.append(error)
            continue
        lines = []
        for one in damaged:
            aside = checkpoints.set_aside(one.checkpoint, "damaged")
            lines.append(f"{one.checkpoint}: is damaged ({one.why}): set aside as {aside.name}, going on from {path}")
        return path, lines
    if damaged:
        first = damaged[0]
        more = f", and so are the {len(damaged) - 1} before it" if len(damaged) > 1 else ""
        raise UserError(
            f"{first.checkpoint}: is damaged ({first.why}){more}: copy a checkpoint back from a backup, or remove "
            f"{first.checkpoint.parent} to begin again"
        )
    return None, []


def sound_state(checkpoint: Path) -> dict[str, Any]:
    """The state of a checkpoint, after all its files have been compared with their SHA-256, each by one process.

    Raises:
        Damaged: on all processes, if any of them has found damage.
    """
    failure, state = "", {}
    try:
        state = read_state(checkpoint)
        verify(checkpoint, state, *distributed.place())
    except Damaged as error:
        failure = error.why
    if failure := next(filter(None, distributed.gather_objects(failure)), ""):
        raise Damaged(checkpoint, failure)
    return state
