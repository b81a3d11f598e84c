"""The progress bars of long commands: a count, or seconds of audio."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

Advance = Callable[[float], object]
"""Is called with the seconds of audio that have been processed since the last call."""


_quiet = False


def be_quiet(quiet: bool) -> None:
    """Show no bars and no running reports from now on, or show them again; results and errors are always shown."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether `be_quiet` was asked for."""
    return _quiet


def no_progress(seconds: float) -> None:
    """Ignore that `seconds` of audio have been processed."""


def progress_bar() -> Progress:
    """Make a bar with the count, the elapsed time and the time left, on stderr if that is a terminal.

    Nothing is written to stdout.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, redirect_stdout=False, disable=_quiet or not console.is_terminal)


@contextmanager
def download_bar(size: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show how much of a download of `size` bytes is there, its rate and the time left, on stderr if a terminal.

    What it yields is called with the number of bytes that have arrived since the last call. The bar is gone at the end.
    """
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(
        *columns,
        console=console,
        redirect_stdout=False,
        transient=True,
        disable=_quiet or not (shown and console.is_terminal),
    )
    task = bar.add_task("", total=size)
    with bar:
        yield lambda count: bar.advance(task, count)


class AudioProgress:
    """Shows on stderr, if that is a terminal, how many seconds of audio are done and how long the rest will take.

    Use it in a `with` statement. The bar is gone at the end, and a line says how much was done in what time. stdout may
    be the same terminal: what is written there within `aside` does not tear the bar.
    """

    def __init__(self, what: str, *, shown: bool | None = None) -> None:
        """what: what is counted beside the audio, such as "file". shown: whether stderr is a terminal, if given."""
        console = Console(stderr=True)
        self._shown = (console.is_terminal if shown is None else shown) and not _quiet
        columns = (BarColumn(bar_width=15), _AudioColumn(what))
        self._bar = Progress(*columns, console=console, redirect_stdout=False, transient=True, disable=not self._shown)
        self._task = self._bar.add_task("", total=None, count=0, counts=0)
        self._console, self._what = console, what
        self._seconds = self._expected = self._finished = 0.0
        self._count = self._counts = 0
        self._unknown = 0
        self._start = time.monotonic()

    def __enter__(self) -> "AudioProgress":
        self._start = time.monotonic()
        self._bar.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._bar.stop()
        if self._shown and error is None and self._count:
            lasted = time.monotonic() - self._start
            speed = f", {self._seconds / lasted:.1f} times as fast" if lasted > 0 and self._seconds else ""
            done = f"{counted(self._count, self._what)}, {clock(self._seconds)} of audio in {clock(lasted)}{speed}"
            self._console.print(done, highlight=False, soft_wrap=True)

    def expect(self, seconds: float, count: int = 1) -> None:
        """`count` more recordings are to be processed; they last about `seconds`, or 0 if that is not known."""
        self._counts += count
        self._expected += seconds
        self._unknown += not seconds
        self._show()

    def advance(self, seconds: float) -> None:
        """`seconds` of audio have been processed since the last call."""
        self._seconds += seconds
        self._show()

    def finish(self, expected: float, seconds: float) -> None:
        """A recording is done that was expected to last `expected` seconds, and lasted `seconds`."""
        self._count += 1
        self._expected += seconds - expected
        self._finished += seconds
        self._seconds = max(self._seconds, self._finished)  # a recording is a little longer than its frames
        self._unknown -= not expected
        self._show()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Within this context stdout may be written to; if it is a terminal, the bar is taken away meanwhile."""
        together = self._shown and sys.stdout.isatty()
        if together:
            self._bar.stop()
        try:
            yield
            sys.stdout.flush()
        finally:
            if together:
                self._bar.start()

    def _show(self) -> None:
        total = None if self._unknown else max(self._expected, self._seconds)
        self._bar.update(self._task, completed=self._seconds, total=total, count=self._count, counts=self._counts)


class _AudioColumn(ProgressColumn):
    """Counts, seconds done and expected, speed, and the time left."""

    def __init__(self, what: str) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._what = what

    def render(self, task: Task) -> Text:
        parts = [f"{task.fields['count']}/{counted(task.fields['counts'], self._what)}"]
        elapsed = task.elapsed or 0.0
        speed = task.completed / elapsed if elapsed > 0 else 0.0
        if task.total is None:
            parts.append(f"audio {clock(task.completed)}")
        else:
            parts.append(f"audio {clock(task.completed)}/{clock(task.total)}")
        if speed:
            parts.append(f"{speed:.1f} s of audio a second")
            if task.total is not None:
                parts.append(f"{clock((task.total - task.completed) / speed)} left")
        return Text("  ".join(parts))


def counted(count: int, what: str) -> str:
    """Return a count with what is counted: 1 file, 2 files."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def clock(seconds: float) -> str:
    """Return a length of time as hours, minutes and seconds: 1:02:03."""
    whole = round(max(0.0, seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
