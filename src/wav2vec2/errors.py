"""The exception for problems that a user can solve."""


class UserError(Exception):
    """A problem that the user can solve.

    The message is one line that names the file or option, what is wrong, and the remedy. The command line prints it on
    stderr and exits with status 2.
    """
