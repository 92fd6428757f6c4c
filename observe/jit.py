"""Compiled kernels: numba with the rules of this house, and types that mypy sees through.

`nogil` so that shards of series run side by side on our own threads; never `parallel` (two threads abort the process)
nor `fastmath` (NaN has meaning here). Compiled code is cached in a folder that is writable where site-packages is not.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``NUMBA_CACHE_DIR``, else the user's cache."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "observe" / "kernels"


os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder()))  # before numba is imported: it reads this once


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` at its first call (or load it from the cache)."""
    import numba

    compiled: Callable[P, R] = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return compiled


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a small function that kernels call."""
    import numba

    compiled: Callable[P, R] = numba.njit(nogil=True, cache=True, error_model="numpy", inline="never")(function)
    return compiled
