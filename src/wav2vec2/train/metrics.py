"""Reports of a run: JSON lines, TensorBoard files if asked for, and progress on the console."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from wav2vec2.input_file import MOST_LINES, parse_json, read_text

LOG_FILE = "log.jsonl"


class Reporter:
    """Writes the numbers of a run. Only the main process reports; on the others ``enabled`` is False.

    Args:
        directory: folder of the run.
        updates: length of the run, for the progress bar.
        first: number of updates done before.
        tensorboard: write TensorBoard files as well.
        enabled: report at all.
    """

    def __init__(self, directory: Path, updates: int, first: int, *, tensorboard: bool, enabled: bool = True) -> None:
        self._enabled = enabled
        self._progress: Progress | None = None
        self._board: Any = None
        if not enabled:
            return
        directory.mkdir(parents=True, exist_ok=True)
        forget_after(directory / LOG_FILE, first)
        self._log = (directory / LOG_FILE).open("a", encoding="utf-8")
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            # Steps after the resumed one were written by a process that was killed, and will come again.
            self._board = SummaryWriter(str(directory / "tensorboard"), purge_step=first + 1)
        self._updates = updates
        if sys.stdout.isatty():
            self._progress = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(),
            )
            self._task = self._progress.add_task("updates", total=updates, completed=first, note="")
            self._progress.start()

    def say(self, line: str) -> None:
        """Print a line above the progress bar."""
        if not self._enabled:
            return
        if self._progress is not None:
            self._progress.console.print(line, markup=False, highlight=False)
        else:
            print(line, flush=True)

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
        self._log.write(json.dumps(record) + "\n")
        self._log.flush()
        if self._board is not None:
            for name, value in numbers.items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(f"{kind}/{name}", value, update)

    def close(self) -> None:
        """Flush and close everything."""
        if not self._enabled:
            return
        if self._progress is not None:
            self._progress.stop()
        if self._board is not None:
            self._board.close()
        self._log.close()


def is_done(run: Path) -> bool:
    """Whether the log of a run ends with the record that all its updates are done."""
    try:
        last = read_text(run / LOG_FILE, most=MOST_LINES).splitlines()[-1]
        return bool(parse_json(last).get("reason") == "done")
    except (OSError, IndexError, ValueError, AttributeError):
        return False


def forget_after(log: Path, update: int) -> None:
    """Remove the records after ``update`` from a JSON log: a killed process wrote them, and they will come again."""
    if not log.exists():
        return
    kept: list[str] = []
    dropped = False
    for line in read_text(log, most=MOST_LINES).splitlines():
        try:
            late = int(parse_json(line)["update"]) > update
        except (ValueError, KeyError, TypeError, OverflowError):
            late = True  # the line that was being written when the process was killed
        if late:
            dropped = True
        else:
            kept.append(line + "\n")
    if dropped:
        temporary = log.with_name(f".{log.name}.tmp")
        temporary.write_text("".join(kept), encoding="utf-8")
        os.replace(temporary, log)


def duration(seconds: float) -> str:
    """Hours and minutes ("2 h 05 min"), or minutes and seconds ("1 min 05 s")."""
    whole = round(max(0.0, seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s"
