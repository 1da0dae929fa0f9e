"""Settings of the C library's memory allocator in this process."""

import ctypes

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
ARENAS_MAX = 2  # otherwise each decoding thread keeps an arena of its own
MAPPED_FROM_BYTES = 1024 * 1024  # larger blocks are returned to the system when freed


def keep_little() -> None:
    """Return large blocks to the system as soon as they are freed. Does nothing if the library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS_MAX)
        mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
