"""Doing the tasks of a work that are not done: in this process, or on a Ray cluster."""

import platform
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from wav2vec2.bulk.job import Job
from wav2vec2.bulk.options import BulkOptions
from wav2vec2.bulk.plan import Task, share
from wav2vec2.bulk.shard import Note
from wav2vec2.bulk.work import Work
from wav2vec2.data.part import parse_part
from wav2vec2.errors import Stopped, UserError
from wav2vec2.progress import Advance, AudioProgress, clock, counted
from wav2vec2.ray_cluster import run_on_cluster

Done = Generator[tuple[Task, Note], None, None]
"""Tasks as they are done, with what their files say."""

_READERS = 16
_SECONDS_BETWEEN_LINES = 60.0


def run_over_manifest(
    job: Job, manifest: str, out: str | Path, options: BulkOptions, *, tolerant: bool = False
) -> Work:
    """Do the tasks of this part that are not done; their results are files in the folder `out`.

    After an interruption the same call, or one with another engine or another number of parts, goes on with the tasks
    that have no file yet. tolerant: the caller says which recordings could not be read.

    Raises:
        UserError: something cannot be read or written, `out` holds other results, or recordings could not be read; in
            the last case all tasks are done.
    """
    work = Work.of(job, manifest, options.split, options.task_minutes, out)
    mine = share(work.tasks, *parse_part(options.part))
    notes = _found(work, mine)
    todo = [task for task in mine if task not in notes or (options.retry_failed and notes[task].failed)]
    began = "" if len(todo) == len(mine) else f", {len(mine) - len(todo)} of them done before"
    print(f"{job.command}: {counted(len(mine), 'task')}{began}; results in {work.folder.folder}", file=sys.stderr)
    try:
        with (
            AudioProgress("task") as progress,
            closing(_ENGINES[options.engine](work, todo, options, progress)) as done,
        ):
            for task in todo:
                progress.expect(task.seconds)
            for task, note in done:
                progress.finish(task.seconds, task.seconds)
                notes[task] = note
    except KeyboardInterrupt:
        print(f"\ninterrupted: {len(notes)} of {len(mine)} tasks are done; the same command continues", file=sys.stderr)
        raise Stopped("Ctrl-C") from None
    _sum_up(work, list(notes.values()), tolerant=tolerant)
    return work


def _found(work: Work, mine: list[Task]) -> dict[Task, Note]:
    """The tasks that are done. Raises UserError if the folder holds other results."""
    there = {name for name in work.folder.names() if name.startswith("results-")}
    if others := sorted(there - {task.shard for task in work.tasks}):
        path = work.folder.path(others[0])
        raise UserError(
            f"{path}: is of another manifest, or of another --task-minutes or --split: name another folder with --out"
        )
    old = [task for task in mine if task.shard in there]
    with ThreadPoolExecutor(_READERS) as readers:  # a file in an object store is a request each
        notes = list(readers.map(work.done, old))
    return {task: note for task, note in zip(old, notes, strict=True) if note is not None}


def _locally(work: Work, todo: list[Task], options: BulkOptions, progress: AudioProgress) -> Done:
    if todo:
        advance = _said_in_lines(progress.advance, sum(task.seconds for task in todo))
        with closing(work.job.open()) as worker:
            for task in todo:
                yield task, work.do(task, worker, advance)


def _on_ray(work: Work, todo: list[Task], options: BulkOptions, progress: AudioProgress) -> Done:
    if not todo:
        return
    advance = _said_in_lines(progress.advance, sum(task.seconds for task in todo))
    cluster = options.ray if work.job.uses_gpu else replace(options.ray, ray_gpus=options.ray.ray_gpus or 0.0)
    keyed = ((task, work.keys.key(task)) for task in todo)
    with closing(
        run_on_cluster(_Opener(replace(work), options.retry_failed), keyed, cluster, name=lambda item: item[0].shard)
    ) as done:
        for (task, _), note in done:
            if work.done(task) is None:
                where = f"{work.folder.path(task.shard)} was written on another machine and is not seen here"
                raise UserError(f"{where}: give --out a folder that all machines share, or a URL such as s3://")
            advance(task.seconds)
            yield task, note


_ENGINES: dict[str, Callable[[Work, list[Task], BulkOptions, AudioProgress], Done]] = {
    "local": _locally,
    "ray": _on_ray,
}


class _Opener:
    """Loads the model of a work in a process of the cluster."""

    def __init__(self, work: Work, anew: bool) -> None:
        self._work, self._anew = work, anew

    def __call__(self) -> Callable[[tuple[Task, str]], Note]:
        worker, work = self._work.job.open(), self._work

        def do(keyed: tuple[Task, str]) -> Note:
            task, key = keyed
            if work.keys.key(task) != key:
                raise UserError(f"{work.manifest_name}: has other rows on {platform.node()}: copy it to all machines")
            # the process that had it before may have written it, and died before it could say so
            return (None if self._anew else work.done(task)) or work.do(task, worker)

        return do


def _said_in_lines(advance: Advance, expected: float) -> Advance:
    """Where stderr is no terminal, so that there is no bar: say every minute how far the work is."""
    began = said = time.monotonic()
    done = 0.0

    def counting(seconds: float) -> None:
        nonlocal done, said
        done += seconds
        advance(seconds)
        now = time.monotonic()
        if now - said > _SECONDS_BETWEEN_LINES and not sys.stderr.isatty():
            said = now
            print(
                f"{clock(done)} of {clock(expected)} of audio, {done / (now - began):.1f}x", file=sys.stderr, flush=True
            )

    return counting


def _sum_up(work: Work, notes: list[Note], *, tolerant: bool) -> None:
    rows, failed = sum(note.rows for note in notes), sum(note.failed for note in notes)
    if not work.folder.remote:
        for task in work.tasks:
            for left in Path(work.out).glob(f".{task.shard}.*.tmp"):  # by processes that were killed
                left.unlink(missing_ok=True)
    print(f"{rows} rows in {len(notes)} files of {work.folder.folder}")
    if failed and not tolerant:
        raise UserError(
            f"{failed} of {rows} utterances could not be read; their column 'error' says why; "
            "mend them and add --retry-failed"
        )
