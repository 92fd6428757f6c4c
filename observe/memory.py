"""Memory as a server wants it that runs for months: short pauses, and what was needed once goes back to the system.

The garbage collector: a full collection over 50 000 series' names stops every thread for about 85 ms. Cycles are rare
here, so the young generations are looked at less often, and what start-up made is moved out of the collector's way.

The allocator: columns grow and go by megabytes. From the first that goes glibc learns to keep all of that size for
itself, in a heap a thread, where small things that stay hold them for ever: 15 % of a store of 20 000 series.
"""

import asyncio
import ctypes
import gc
import mmap
from typing import Any, Final

from numpy.typing import NDArray

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_MALLOC: Final = {_M_TRIM_THRESHOLD: 8 << 20, _M_MMAP_THRESHOLD: 1 << 20, _M_ARENA_MAX: 2}
"""Larger pieces than 1 MiB are the system's own and go back to it at once; two heaps, since the GIL is one."""
_C: Final = ctypes.CDLL(None)
_SETTLED_AFTER_S = 20.0
"""By then every module is imported, every kernel loaded and the first scrapes have named their series."""


def tune() -> None:
    """Call once, where the loop runs."""
    gc.collect()  # now, while it is short: 20 s later it would stop every thread for tens of milliseconds
    gc.set_threshold(50_000, 20, 50)
    asyncio.get_running_loop().call_later(_SETTLED_AFTER_S, gc.freeze)


def spare() -> None:
    """Let go of what is freed. Call before threads start; does nothing where the C library is not glibc."""
    mallopt = getattr(_C, "mallopt", None)
    if mallopt is not None:
        for parameter, value in _MALLOC.items():
            mallopt(parameter, value)


def give_back(rows: NDArray[Any], low: int, high: int) -> None:
    """Let the system have the pages of ``rows[low:high]`` again, whose values are lost; the array stays as it is."""
    madvise = getattr(_C, "madvise", None)
    if madvise is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    step, page = rows.strides[0], mmap.PAGESIZE
    first = -(-(rows.ctypes.data + low * step) // page) * page
    last = (rows.ctypes.data + high * step) // page * page
    if first < last:
        madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), mmap.MADV_DONTNEED)
