"""The options of every command that works over a manifest."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tyro.conf import OmitArgPrefixes

from wav2vec2.data.part import parse_part
from wav2vec2.errors import UserError
from wav2vec2.ray_cluster import Engine, RayOptions


@dataclass(frozen=True)
class BulkOptions:
    """How the work over a manifest is shared out; recordings named one by one need none of these."""

    split: str | None = None
    """Only this split of the manifest, or several: dev+test."""
    part: str = "1/1"
    """Do one share of the work: 3/64 is the third of 64. Each part is a command of its own, on any machine, with the
    same --out."""
    engine: Engine = "local"
    """local: this process. ray: a Ray cluster, or all processors of this machine (extra wav2vec2[ray])."""
    task_minutes: float | None = None
    """Minutes of audio in a task, which is computed again if it is interrupted, and becomes one file. 60, or less if
    the manifest is short."""
    retry_failed: bool = False
    """Compute again the tasks in which recordings could not be read."""
    ray: OmitArgPrefixes[RayOptions] = field(default_factory=RayOptions)

    def __post_init__(self) -> None:
        parse_part(self.part)
        if self.task_minutes is not None and not 0 < self.task_minutes < 1e6:
            raise UserError(f"--task-minutes {self.task_minutes:g}: must be above 0")

    def refuse(self, command: str) -> None:
        """Raise UserError if one of these options was given although there is no manifest."""
        if self != BulkOptions():
            raise UserError(
                f"{command}: --part, --engine, --split and the like are for a manifest; "
                "write one with 'wav2vec2 prepare' and name its .parquet file"
            )


def manifest_among(names: Sequence[str]) -> str | None:
    """The manifest that arguments name (.parquet or .arrow; several are joined), None if they name recordings.

    Raises UserError if they name both.
    """
    manifests = [name for name in names if name.endswith((".parquet", ".arrow"))]
    if manifests and len(manifests) < len(names):
        other = next(name for name in names if name not in manifests)
        raise UserError(f"{other}: stands beside the manifest {manifests[0]}: name manifests or recordings, not both")
    return "+".join(manifests) or None
