"""The command line: it finds the command, runs it and reports errors.

A command is a dataclass of options and a function in a module of its own. That module is imported when the command is
chosen, so that ``wav2vec2 --help`` does not wait for torch.

Exit status: 0; 2 with one line on stderr for wrong options and other errors that the user can fix (``UserError``); 75
if a training run was asked to stop before its end (SIGTERM), and has saved; 130 after Ctrl-C; 141, as in a shell, if
the reader of stdout has closed it. A traceback is a bug.
"""

import errno
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from wav2vec2 import __version__
from wav2vec2.cli.arguments import parsed
from wav2vec2.cli.commands import COMMANDS, GROUPS
from wav2vec2.device import limit_threads
from wav2vec2.errors import FileWarning, Stopped, UserError, quoted, shortened
from wav2vec2.input_file import refuse_huge, refuse_names
from wav2vec2.progress import be_quiet

_UNWRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),  # a file in place of a folder, or the reverse
}


_PYTHONS_WARNING = warnings.showwarning


def entry() -> None:
    """Run the command that this process was started with, and exit with its status: the ``wav2vec2`` script."""
    limit_threads()
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; user errors are printed, not raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", FileWarning)
            warnings.showwarning = _show_warning
            status = _dispatch(list(arguments))
        sys.stdout.flush()
    except UserError as error:
        return _complain(str(error))
    except Stopped as stopped:  # it has said so
        return stopped.status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Otherwise Python would report it again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        return _complain(f"{error.filename or 'output'}: {error.strerror}; free some space or choose another folder")
    return status


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
    if issubclass(category, FileWarning):
        print(message, file=sys.stderr)
    else:
        _PYTHONS_WARNING(message, category, *place, **options)


def _complain(message: str) -> int:
    # The name of a stranger's file may hold what a terminal obeys.
    shown = "".join(letter if letter.isprintable() else quoted(letter)[1:-1] for letter in " ".join(message.split()))
    print(f"error: {shown}", file=sys.stderr)
    return 2


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["--version"]:
        print(f"wav2vec2 {__version__}")
        return 0
    be_quiet("--quiet" in arguments)
    arguments = [word for word in arguments if word != "--quiet"]
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    name, rest = _choose(arguments)
    if name is None:
        return 0
    refuse_names(rest)
    command = COMMANDS[name]
    module = importlib.import_module(f"wav2vec2.{command.module}")
    options = parsed(name, getattr(module, command.options), rest, recipe=command.recipe)
    if options is not None:
        refuse_huge(options, "--")
        getattr(module, command.function)(options)
    return 0


def _choose(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Return the command that the first one or two words name, and the remaining words; None after a help page."""
    for words in (2, 1):  # "report codes" is a command beside "report"
        name = " ".join(arguments[:words])
        if len(arguments) >= words and name in COMMANDS:
            return name, arguments[words:]
    group = arguments[0] if arguments and any(known.startswith(f"{arguments[0]} ") for known in COMMANDS) else ""
    rest = arguments[1:] if group else arguments
    if rest and rest[0] not in ("-h", "--help"):
        raise UserError(
            f"no command '{shortened(' '.join(arguments[: 1 + bool(group)]))}': see wav2vec2 {group} --help"
        )
    _print_commands(group)
    return None, []


def _print_commands(group: str) -> None:
    print(f"usage: wav2vec2 {group or 'COMMAND'} ...")
    for heading, commands in GROUPS.items():
        shown = {name: command for name, command in commands.items() if name.startswith(group)}
        if shown:
            print(f"\n{heading}:")
        for name, command in shown.items():
            print(f"  {name:<22}{command.summary}")
    print("\n'wav2vec2 help COMMAND' describes a command and its options. --quiet, with any command, shows no bars")
    print("and no running reports, but results and errors. --version prints the version.")
