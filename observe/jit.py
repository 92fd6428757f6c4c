"""Compiled kernels: numba with the rules of this house, and types that mypy sees through.

`nogil` so that shards of series run side by side on our own threads; never `parallel` (two threads abort the process)
nor `fastmath` (NaN has meaning here). Compiled code is cached in a folder that is writable where site-packages is not.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

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


def _numba() -> Any:
    """numba, without the scipy that it would load for its version and for BLAS, which no kernel of ours uses."""
    hidden = "numba" not in sys.modules and "scipy" not in sys.modules
    if hidden:
        sys.modules["scipy"] = None  # type: ignore[assignment]  # what `import` takes for "is not there"
    try:
        import numba
        import numba.np.arraymath  # loaded by the first kernel anyhow, and it looks for scipy
    finally:
        if hidden:
            del sys.modules["scipy"]
    return numba


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` at its first call (or load it from the cache)."""
    compiled: Callable[P, R] = _numba().njit(nogil=True, cache=True, error_model="numpy")(function)
    return compiled


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a small function that kernels call."""
    compiled: Callable[P, R] = _numba().njit(nogil=True, cache=True, error_model="numpy", inline="never")(function)
    return compiled
