"""Compiled kernels: numba with the rules of this house, and types that mypy sees through.

`nogil` so that shards of series run side by side on our own threads; never `parallel` (two threads abort the process)
nor `fastmath` (NaN has meaning here). What was compiled once is kept, and loaded without numba (`kernel_store`), in a
folder that is writable where site-packages is not.
"""

import functools
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from observe import kernel_store, machine_code

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


class Kernel:
    """A function that is loaded, or compiled, at its first call with each kind of arguments. No keywords."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._fingerprint = machine_code.lent().fingerprint
        self._known: dict[bytes, Callable[..., Any]] = {}

    def __call__(self, *args: Any) -> Any:
        code = self._known.get(self._fingerprint(args))
        if code is None:
            code = self._made(args)
        return code(*args)

    def _made(self, args: tuple[Any, ...]) -> Callable[..., Any]:
        kind = self._fingerprint(args)
        code = kernel_store.find(cache_folder(), self._function, kind)
        if code is None:
            dispatcher = self._dispatcher
            types = tuple(dispatcher.typeof_pyval(arg) for arg in args)
            code = cast("Callable[..., Any]", dispatcher.compile(types))
            kernel_store.keep(cache_folder(), self._function, kind, dispatcher.overloads[types])
        self._known[kind] = code
        return code

    @functools.cached_property
    def _dispatcher(self) -> Any:
        own = not machine_code.SUPPORTED  # then numba keeps what it compiles
        return _numba().njit(nogil=True, cache=own, error_model="numpy")(self._function)

    @property
    def _numba_type_(self) -> Any:
        """How numba sees this when another kernel calls it."""
        return importlib.import_module("numba.core.types").Dispatcher(self._dispatcher)

    @property
    def signatures(self) -> tuple[bytes, ...]:
        """The kinds of arguments that it was called with."""
        return tuple(self._known)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` at its first call, or load what was compiled before."""
    return cast("Callable[P, R]", Kernel(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a small function that kernels call."""
    return cast("Callable[P, R]", Kernel(function))
