"""One share of a long work that several machines do, each by a command of its own: --part 3/64."""

from wav2vec2.errors import UserError, shortened


def parse_part(text: str) -> tuple[int, int]:
    """Return (3, 64) for "3/64". Raises UserError unless it is the number of one of the parts."""
    first, slash, second = text.partition("/")
    numbers = slash and all(part.isdecimal() and len(part) < 10 for part in (first, second))
    if not (numbers and 1 <= int(first) <= int(second)):
        raise UserError(f"--part {shortened(text)}: must be written like 3/64, the third of 64 parts")
    return int(first), int(second)
