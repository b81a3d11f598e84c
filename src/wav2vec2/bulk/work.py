"""Work over a manifest: which tasks there are, which are done, and doing one. Every process of a work builds the same.

It is sent to other processes as the names of what it reads, not as data.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.bulk.job import Job, Worker
from wav2vec2.bulk.plan import Keys, Task, plan_tasks
from wav2vec2.bulk.shard import Note, read_note, write_shard
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.remote import address
from wav2vec2.data.whole_files import WholeFiles
from wav2vec2.errors import UserError
from wav2vec2.progress import Advance, no_progress

_FORMAT = 1


@dataclass(frozen=True)
class Work:
    """A job for the rows of a manifest, whose results go into the folder `out` (on a disk or a URL).

    key: stands for the job and its options, as the process that began the work found them.
    """

    job: Job
    manifest_name: str
    split: str | None
    minutes: float | None
    out: str
    key: str
    about: dict[str, Any]

    @classmethod
    def of(cls, job: Job, manifest: str, split: str | None, minutes: float | None, out: str | Path) -> "Work":
        """Describe a work. Raises UserError if the model or a file that the job names cannot be read."""
        about = {"command": job.command, **job.identity()}
        key = hashlib.sha256(json.dumps([_FORMAT, about], sort_keys=True).encode()).hexdigest()[:32]
        return cls(job, manifest, split, minutes, address(out), key, about)

    @cached_property
    def manifest(self) -> Manifest:
        """The rows. Raises UserError if there are none."""
        manifest = Manifest.open(self.manifest_name, self.split)
        if not len(manifest):
            raise UserError(f"{self.manifest_name}: has no utterances: prepare it again")
        return manifest

    @cached_property
    def tasks(self) -> list[Task]:
        """All tasks, those of other parts included."""
        return plan_tasks(self.manifest.samples, self.minutes)

    @cached_property
    def folder(self) -> WholeFiles:
        """Where the results are."""
        return WholeFiles(self.out)

    @cached_property
    def keys(self) -> Keys:
        """The keys of the tasks."""
        return Keys(self.manifest, self.key)

    def done(self, task: Task) -> Note | None:
        """What the file of a task says, None if it is to be computed: it is not there, or damaged.

        Raises UserError if it holds other results.
        """
        if self.folder.size(task.shard) < 0 or (note := read_note(self.folder, task.shard)) is None:
            return None
        if note.key != self.keys.key(task):
            what = "of another manifest" if note.work == self.key else "of another model or of other options"
            raise UserError(f"{self.folder.path(task.shard)}: holds results {what}: name another folder with --out")
        return note

    def do(self, task: Task, worker: Worker, advance: Advance = no_progress) -> Note:
        """Compute a task and write its file; `advance` hears of every row. Raises UserError."""
        rows = (self.manifest.utterance(number) for number in range(task.first, task.last))
        note = Note(self.keys.key(task), self.key, about=self.about)
        return write_shard(self.folder, task.shard, worker, rows, self._ids(task, advance), note)

    def _ids(self, task: Task, advance: Advance) -> Iterator[str]:
        """The ids of the rows of a task; `advance` hears of a row when the next one is asked for."""
        for number, identity in enumerate(self.keys.ids(task), task.first):
            yield identity
            advance(float(self.manifest.samples[number]) / SAMPLE_RATE)
