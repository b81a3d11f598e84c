"""Recordings that arrive in a folder while the program runs.

A file is taken when its size and its time of change have stood still for a while: whoever copies it has finished. If it
changes afterwards, because the copy was only slow, it is taken again.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from wav2vec2.audio.recordings import is_audio_name, recordings_below
from wav2vec2.errors import UserError

STANDS_STILL_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 60.0  # network file systems may not tell of changes that other machines make

State = tuple[int, int]
"""Size, and time of the last change, of a file."""


class WatchedFolder:
    """The recordings below a folder: those that are there and those that come."""

    def __init__(self, folder: Path, *, still: float = STANDS_STILL_SECONDS) -> None:
        """still: seconds that a file must not have changed.

        Raises UserError if there is no such folder, or without the extra `watch`.
        """
        if not folder.is_dir():
            raise UserError(f"--watch {folder}: is no folder; make it, or name another one")
        try:
            import watchfiles
        except ImportError:
            raise UserError("--watch: needs watchfiles; pip install 'wav2vec2[watch]'") from None
        self._watch = watchfiles.watch
        self._folder, self._still = folder, still
        self._waiting: dict[Path, tuple[State, float]] = {}
        self._taken: dict[Path, State] = {}

    def arrivals(self, stop: threading.Event | None = None) -> Iterator[list[Path]]:
        """Yield the recordings that are complete, sorted, some at a time, until `stop` is set or Ctrl-C is pressed.

        Nothing is lost while the caller is busy.
        """
        pause = max(50, round(500 * self._still))  # milliseconds
        changes = self._watch(
            self._folder, watch_filter=None, stop_event=stop, rust_timeout=pause, step=50, yield_on_timeout=True
        )
        looked = -_LOOK_AGAIN_SECONDS
        for batch in changes:
            now = time.monotonic()
            if now - looked >= _LOOK_AGAIN_SECONDS:
                looked = now
                self._notice(recordings_below(self._folder), now)
            for _, name in sorted(batch):
                path = self._folder / os.path.relpath(name, os.path.realpath(self._folder))
                self._notice(recordings_below(path) if path.is_dir() else [path], now)
            if ready := self._complete(now):
                yield ready

    def _notice(self, paths: Iterable[Path], now: float) -> None:
        for path in paths:
            hidden = any(part.startswith(".") for part in path.relative_to(self._folder).parts)
            state = _state(path)
            if hidden or not is_audio_name(path) or state is None or self._taken.get(path) == state:
                continue
            if path not in self._waiting or self._waiting[path][0] != state:
                self._waiting[path] = state, now

    def _complete(self, now: float) -> list[Path]:
        ready = []
        for path, (before, since) in sorted(self._waiting.items()):
            state = _state(path)
            if state is None:  # removed or renamed
                del self._waiting[path]
            elif state != before:
                self._waiting[path] = state, now
            elif now - since >= self._still and state[0]:
                del self._waiting[path]
                self._taken[path] = state
                ready.append(path)
        return ready


def _state(path: Path) -> State | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns)
