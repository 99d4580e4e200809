"""Freed memory that a process keeps for what it needs next."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # numbers of glibc's mallopt
KEPT = 256 << 20  # bytes of freed memory that stay
SINGLE = 32 << 20  # bytes from which a block is the system's own, and goes back to it when freed


@cache
def keep_freed_memory() -> bool:
    """Have this process keep the memory that it frees, for the next frame; False where glibc isn't what allocates.

    Labels make and drop arrays of a frame's size by the hundred. The C library gives such memory back to the
    system each time and asks for it again, page by page: a tenth of a frame's CPU time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(
        [mallopt(MMAP_THRESHOLD, SINGLE) == 1, mallopt(TRIM_THRESHOLD, KEPT) == 1]
    )
