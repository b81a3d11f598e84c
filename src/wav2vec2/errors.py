"""The exception for problems that a user can solve, the warning about a file, and how its message quotes a value."""

MOST_QUOTED = 80
"""Characters of a value that a message shows."""
_MOST_REASON = 200


class UserError(Exception):
    """A problem that the user can solve.

    The message is one line that names the file or option, what is wrong, and the remedy. The command line prints it on
    stderr and exits with status 2.
    """


class Stopped(KeyboardInterrupt):
    """A run ended before its end: it was asked to stop, or lost its other processes. The same command continues it.

    Attributes:
        status: exit status: 130, as in a shell, after Ctrl-C; otherwise 75, which sysexits.h calls EX_TEMPFAIL, so that
            a launcher can tell a run to be started again from one that has failed.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.status = 130 if reason == "Ctrl-C" else 75


class FileWarning(UserWarning):
    """A file is used, although something about it is odd: it is cut short, say.

    The message is one line that names the file. The command line prints it on stderr.
    """


def quoted(value: object) -> str:
    """Return a value as Python writes it, control characters escaped, in at most ``MOST_QUOTED`` characters.

    A value comes from a file of anybody's. It may be megabytes long, nested too deeply to be written, or an integer of
    more digits than Python converts.
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} that is too large to show"
    return shortened(text)


def shortened(text: str) -> str:
    """Return a text cut to ``MOST_QUOTED`` characters, for a message; the cut is shown by three dots."""
    return text if len(text) <= MOST_QUOTED else text[: MOST_QUOTED - 3] + "..."


def cause(error: BaseException) -> str:
    """Return what went wrong in one line of at most 200 characters: an error's text may quote a whole file."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MOST_REASON else text[: _MOST_REASON - 3] + "..."
