"""The one way out of a benchmark: a UserError is one line and status 2."""

import sys
from collections.abc import Callable

from wav2vec2.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Call ``main``; what the user can mend becomes one line and exit status 2."""
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
