"""Compile every kernel into its cache, so that no first tick waits for a compiler: `python -m observe.compile_kernels`.

A module whose name ends in ``kernels`` has `compile_all()`, which calls each of its kernels once on tiny columns of the
types used in production.
"""

import importlib
import pkgutil
import sys

import observe
from observe.clock import SystemClock
from observe.jit import cache_folder

_WORTH_TELLING_S = 1.0
"""What takes longer was compiled, not found in the cache: a person who waits sees that it goes on."""


def kernel_modules() -> list[str]:
    names = (module.name for module in pkgutil.walk_packages(observe.__path__, "observe."))
    return sorted(name for name in names if name.endswith("kernels") and name != "observe.compile_kernels")


def main() -> int:
    clock, names = SystemClock(), kernel_modules()
    began = clock.monotonic()
    for name in names:
        started = clock.monotonic()
        importlib.import_module(name).compile_all()
        took = clock.monotonic() - started
        if took > _WORTH_TELLING_S:
            print(f"kernels: {name.removeprefix('observe.')} compiled in {took:.1f} s", flush=True)
    print(f"kernels: {len(names)} modules ready in {clock.monotonic() - began:.1f} s, kept in {cache_folder()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
