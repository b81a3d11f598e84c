"""The progress bar of long commands."""

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Advance = Callable[[float], object]
"""Is called with the seconds of audio that have been processed since the last call."""


def no_progress(seconds: float) -> None:
    """Ignore that `seconds` of audio have been processed."""


def progress_bar(*, shown: bool = True) -> Progress:
    """Make a bar with the count, the elapsed time and the time left, on stderr if that is a terminal.

    Nothing is written to stdout. With `shown` False nothing is drawn at all.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, redirect_stdout=False, disable=not (shown and console.is_terminal))
