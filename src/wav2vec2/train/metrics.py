"""Reports of a run: JSON lines, TensorBoard files if asked for, and progress on the console."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from wav2vec2.errors import cause
from wav2vec2.input_file import MOST_LINES, parse_json, read_text
from wav2vec2.progress import is_quiet

LOG_FILE = "log.jsonl"
LEFT_FILE = "log_before_return.jsonl"
"""Records of the updates that a run has gone back from."""


class LogFile:
    """A file of JSON lines that only grows by whole ones. On a full disk, lines wait in memory and are tried again."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._file = path.open("ab", buffering=0)
        self._size = path.stat().st_size
        self._waiting: list[bytes] = []

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record, and all that wait."""
        said = bool(self._waiting)
        self._waiting.append((json.dumps(record) + "\n").encode())
        if (failure := self._flush()) and not said:
            self._say(f"{self._path}: cannot be written ({failure}): free space; its lines wait in memory")

    def sync(self) -> str:
        """Wait until all lines are on the disk; return why that is impossible, or ""."""
        if not (failure := self._flush()):
            with suppress(OSError):
                os.fsync(self._file.fileno())
        return failure

    def close(self) -> None:
        """Try once more to write what waits."""
        if self._waiting and (failure := self._flush()):
            self._say(f"{self._path}: the last {len(self._waiting)} lines are lost ({failure})")
        self._file.close()

    def _flush(self) -> str:
        """Write what waits, whole or not at all; return why that is impossible, or ""."""
        data = b"".join(self._waiting)
        try:
            done = 0
            while done < len(data):
                done += self._file.write(data[done:])
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            return cause(error)
        self._size, self._waiting = self._size + len(data), []
        return ""


class Reporter:
    """Writes the numbers of a run. Only the main process reports; on the others ``enabled`` is False.

    Args:
        directory: folder of the run.
        updates: length of the run, for the progress bar.
        tensorboard: write TensorBoard files as well.
        enabled: report at all.
    """

    def __init__(self, directory: Path, updates: int, *, tensorboard: bool, enabled: bool = True) -> None:
        self._directory, self._updates, self._enabled = directory, updates, enabled
        self._tensorboard = tensorboard
        self._progress: Progress | None = None
        self._board: Any = None
        self._log: LogFile | None = None

    def open(self, first: int, validated_at: int) -> None:
        """Begin to report after update ``first``; ``validated_at`` is the update of the last validation that counts."""
        if not self._enabled:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        forget_after(self._directory / LOG_FILE, first, validated_at)
        self._open_files(first)
        if sys.stdout.isatty() and not is_quiet():
            self._progress = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(),
            )
            self._task = self._progress.add_task("updates", total=self._updates, completed=first, note="")
            self._progress.start()

    def _open_files(self, first: int) -> None:
        self._log = LogFile(self._directory / LOG_FILE, self.say)
        if self._tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            # Steps after the resumed one were written by a process that was killed, and will come again.
            self._board = SummaryWriter(str(self._directory / "tensorboard"), purge_step=first + 1)

    def go_back(self, update: int, numbers: Mapping[str, Any]) -> None:
        """Move the records after ``update`` to a file of their own, and record a return to it."""
        if not self._enabled or self._log is None:
            return
        self._close_files()
        left = forget_after(self._directory / LOG_FILE, update, update)
        with (self._directory / LEFT_FILE).open("a", encoding="utf-8") as file:
            file.writelines(left)
        self._open_files(update)
        self.write("return", update, numbers)

    def say(self, line: str) -> None:
        """Print a line above the progress bar."""
        if not self._enabled or is_quiet():
            return
        if self._progress is not None:
            self._progress.console.print(line, markup=False, highlight=False)
        else:
            try:
                print(line, flush=True)
            except BrokenPipeError:
                raise
            except OSError:  # the console is a file on a full disk; the log has the numbers
                return

    def tick(self, update: int) -> None:
        """Move the progress bar."""
        if self._progress is not None:
            self._progress.update(self._task, completed=update)

    def note(self, text: str) -> None:
        """Set the text beside the progress bar: rate and time left."""
        if self._progress is not None:
            self._progress.update(self._task, note=text)

    def write(self, kind: str, update: int, numbers: Mapping[str, Any]) -> None:
        """Append a record of a ``kind`` ("train", "validation", "bad_file", "stop") to the log and to TensorBoard."""
        if not self._enabled:
            return
        record = {"kind": kind, "update": update, "time": round(time.time(), 3), **numbers}
        if self._log is not None:
            self._log.write(record)
        if self._board is not None:
            try:
                for name, value in numbers.items():
                    if isinstance(value, (int, float)):
                        self._board.add_scalar(f"{kind}/{name}", value, update)
            except OSError as error:  # of the thread that writes, some time ago
                self.say(f"{self._directory}: TensorBoard files end here ({cause(error)}); {LOG_FILE} has it all")
                self._board = None

    def sync(self) -> str:
        """Wait until the log is on the disk; return why that is impossible, or ""."""
        return "" if self._log is None else self._log.sync()

    def close(self) -> None:
        """Flush and close everything."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._close_files()

    def _close_files(self) -> None:
        if self._board is not None:
            with suppress(OSError):
                self._board.close()
        if self._log is not None:
            self._log.close()
        self._board = self._log = None


def is_done(run: Path) -> bool:
    """Whether the log of a run ends with the record that all its updates are done."""
    try:
        last = read_text(run / LOG_FILE, most=MOST_LINES).splitlines()[-1]
        return bool(parse_json(last).get("reason") == "done")
    except (OSError, IndexError, ValueError, AttributeError):
        return False


def forget_after(log: Path, update: int, validated_at: int) -> list[str]:
    """Remove the records after ``update`` from a JSON log, and validations after that of ``validated_at``.

    A process that was killed wrote them, and they will come again. Returns the removed lines.
    """
    if not log.exists():
        return []
    kept: list[str] = []
    dropped: list[str] = []
    for line in read_text(log, most=MOST_LINES).splitlines(keepends=True):
        try:
            record = parse_json(line)
            late = int(record["update"]) > (validated_at if record.get("kind") == "validation" else update)
        except (ValueError, KeyError, TypeError, OverflowError, AttributeError):
            late = True  # the line that was being written when the process was killed
        (dropped if late or not line.endswith("\n") else kept).append(line)
    if dropped:
        content = "".join(kept).encode()
        with log.open("r+b") as file:
            if file.read(len(content)) == content:  # as good as always: needs no space on the disk
                file.truncate(len(content))
                return dropped
        temporary = log.with_name(f".{log.name}.tmp")
        temporary.write_bytes(content)
        os.replace(temporary, log)
    return dropped


def duration(seconds: float) -> str:
    """Hours and minutes ("2 h 05 min"), or minutes and seconds ("1 min 05 s")."""
    whole = round(max(0.0, seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s"
