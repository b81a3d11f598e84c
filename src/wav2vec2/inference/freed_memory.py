"""Memory that was freed, and that glibc keeps for the next use instead of giving it back to the system.

By itself it gives back only what lies at the end of an arena, and large blocks. Without glibc, nothing is done here.
"""

import ctypes

MOST_KEPT = 40 << 20
"""Bytes of freed memory that work which goes on for hours may keep: as much as a few minutes of it leave."""


class _Counts(ctypes.Structure):
    """What `mallinfo2` returns: sizes, of which `free` are bytes of blocks that are free."""

    _fields_ = (
        *((f"before_{number}", ctypes.c_size_t) for number in range(8)),
        ("free", ctypes.c_size_t),
        ("at_top", ctypes.c_size_t),
    )


def give_back() -> None:
    """Give free pages of this process back to the system: a few ms, and their next use costs as much."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_back_above(most: int = MOST_KEPT) -> None:
    """Give free pages back if this process keeps more than `most` bytes of them (with glibc 2.33 or later)."""
    count = getattr(_libc(), "mallinfo2", None)
    if count is None:
        return
    count.restype = _Counts
    if count().free > most:
        give_back()


def _libc() -> ctypes.CDLL | None:
    """Return the C library, None if this system has none that can be asked."""
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
