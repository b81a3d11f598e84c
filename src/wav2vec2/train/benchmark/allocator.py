"""glibc's memory allocator, told to keep what is freed, so that a comparison does not measure the allocator.

By default glibc returns every freed block above a threshold (at most 32 MiB) to the kernel, and asks for it again in
the next step: each page is then zeroed and faulted in anew. What that costs depends on how a package computes; on this
one's steps at most 3 % (docs/results/speed.md), so that its commands leave the allocator as it is.
"""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # <malloc.h>
_LARGEST_MMAP_THRESHOLD = 1 << 30
_NEVER_TRIM = (1 << 31) - 1  # the largest int

_OWN_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Let this process keep freed blocks of up to 1 GiB for the next use; return whether it does.

    False where the C library is not glibc, or the environment has settings for it or another allocator.
    """
    if platform.libc_ver()[0] != "glibc" or any(os.environ.get(name) for name in _OWN_SETTINGS):
        return False
    libc = ctypes.CDLL(None)
    # Older versions of glibc take no threshold above 32 MiB; no block at all is then returned.
    kept = libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) or libc.mallopt(_M_MMAP_MAX, 0)
    return bool(kept and libc.mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM))
