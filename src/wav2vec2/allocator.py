"""glibc's memory allocator, told to keep what is freed.

By default glibc returns every freed block above a threshold (at most 32 MiB) to the kernel, and asks for it again in
the next step: each page is then zeroed and faulted in anew. The activations of a training step are such blocks.

The environment variable ``WAV2VEC2_MALLOC=default`` leaves the allocator as it is, and so does a setting of one's own
(``MALLOC_MMAP_THRESHOLD_``, ``GLIBC_TUNABLES``, or another allocator in ``LD_PRELOAD``).
"""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # <malloc.h>
_LARGEST_MMAP_THRESHOLD = 1 << 30
_NEVER_TRIM = (1 << 31) - 1  # the largest int

CHOICE = "WAV2VEC2_MALLOC"
_OWN_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Let this process keep freed blocks of up to 1 GiB for the next use; return whether it does.

    False where the C library is not glibc, or the environment says otherwise. The memory stays with the process, and
    what it needed at its peak is not exceeded.
    """
    if platform.libc_ver()[0] != "glibc" or os.environ.get(CHOICE) == "default":
        return False
    if any(os.environ.get(name) for name in _OWN_SETTINGS):
        return False
    libc = ctypes.CDLL(None)
    # Older versions of glibc take no threshold above 32 MiB; no block at all is then returned.
    kept = libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) or libc.mallopt(_M_MMAP_MAX, 0)
    return bool(kept and libc.mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM))
