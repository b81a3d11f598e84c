"""The one exception that a user is meant to see."""


class UserError(Exception):
    """A problem that the user can mend.

    The message is a single line that names the file (or option) and the remedy. The command line prints it on stderr
    and leaves with exit status 2; nothing else of the program's state is lost.
    """
