"""Compile what is compiled once, so that no start and no first tick waits: `python -m observe.compile_kernels`.

That is every kernel, into its cache, and our own modules into bytecode: where Python is told to write none
(``PYTHONDONTWRITEBYTECODE``, common in containers), compiling them takes a third of the time of every start.
A module whose name ends in ``kernels`` has `compile_all()`, which calls each of its kernels once on tiny columns of the
types used in production.
"""

import compileall
import importlib
import pkgutil
import sys
from pathlib import Path

import observe
from observe.clock import SystemClock
from observe.jit import cache_folder

_WORTH_TELLING_S = 1.0
"""What takes longer was compiled, not found in the cache: a person who waits sees that it goes on."""


def kernel_modules() -> list[str]:
    names = (module.name for module in pkgutil.walk_packages(observe.__path__, "observe."))
    return sorted(name for name in names if name.endswith("kernels") and name != "observe.compile_kernels")


def compile_modules() -> bool:
    """Bytecode of all that lies in the package, beside it too; False where we may not write there."""
    package = Path(observe.__file__).parent
    linked = [each.resolve() for each in package.iterdir() if each.is_symlink() and each.is_dir()]
    written = [compileall.compile_dir(folder, quiet=2) for folder in (package, *linked)]
    return all(written)


def main() -> int:
    clock, names = SystemClock(), kernel_modules()
    compile_modules()  # what cannot be written here is compiled at each start, as ever
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
