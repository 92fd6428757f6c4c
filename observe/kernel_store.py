"""Compiled kernels on disk: one file a kernel and kind of arguments, found again only where it would be made the same.

The name of a file holds a digest of all that machine code depends on: the sources (the kernel's own, and those that it
imports from), Python, numba, NumPy and the processor. So checkouts and wheels share them, and nothing is ever stale.
A file's time says when it was last used: versions of a kernel that nobody used for a month go when a new one comes.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
import struct
import sys
import zlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from observe import machine_code

_MAGIC: Final = b"observe kernel 1\n"
_CHECK: Final = struct.Struct("<II")
_UNUSED_S: Final = 30 * 86_400
_MOST: Final = 64
"""Files of one kernel: its versions in several checkouts, each for several kinds of arguments."""
_IMPORT: Final = re.compile(r"^from (observe\.[\w.]+) import ", re.MULTILINE)


def find(folder: Path, function: Callable[..., Any], kind: bytes) -> Callable[..., Any] | None:
    """The kernel for arguments of this kind, loaded; None where it must be compiled."""
    if not machine_code.SUPPORTED:
        return None
    try:
        path = folder / _name(function, kind)
        code = _called(function, path.read_bytes())
    except (OSError, ValueError, KeyError, struct.error, machine_code.CannotLoadError):
        return None
    with contextlib.suppress(OSError):  # a folder that is only read needs no times
        os.utime(path)
    return code


def keep(folder: Path, function: Callable[..., Any], kind: bytes, compiled: Any) -> bool:
    """Keep what numba compiled, a `CompileResult`. False where that cannot be: a full disk, addresses in the code."""
    library, described = compiled.library, compiled.fndesc
    if not machine_code.SUPPORTED or compiled.objectmode or compiled.lifted or library.has_dynamic_globals:
        return False
    kinds = compiled.environment.consts
    if not all(isinstance(constant, np.dtype) for constant in kinds):
        return False
    told = json.dumps({
        "name": described.qualname, "entry": described.llvm_cpython_wrapper_name,
        "environment": compiled.target_context.get_env_name(described), "dtypes": [kind.str for kind in kinds],
    }).encode()
    code = library.serialize_using_object_code()[2][0]
    body = _CHECK.pack(len(told), zlib.crc32(told + code)) + told + code
    try:
        path = folder / _name(function, kind)
        beside = path.with_suffix(f".{os.getpid()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(_MAGIC + body)
        beside.replace(path)
        _forget_unused(path)
    except OSError:
        return False
    return True


def _forget_unused(newest: Path) -> None:
    """Delete what else there is of this kernel and was not used for long, and the oldest beyond the limit."""
    used: dict[Path, float] = {}
    for path in newest.parent.glob(newest.name.partition("-")[0] + "-*"):
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            used[path] = path.stat().st_mtime
    now = used.pop(newest)
    for place, path in enumerate(sorted(used, key=used.__getitem__, reverse=True), 2):
        if place > _MOST or used[path] < now - _UNUSED_S:
            path.unlink(missing_ok=True)


def _called(function: Callable[..., Any], data: bytes) -> Callable[..., Any]:
    size, check = _CHECK.unpack_from(data, len(_MAGIC))
    begin = len(_MAGIC) + _CHECK.size
    if not data.startswith(_MAGIC) or zlib.crc32(data[begin:]) != check:
        raise ValueError("the file is damaged")
    told, code = json.loads(data[begin : begin + size]), machine_code.load(data[begin + size :])
    functions = machine_code.lent().functions
    environment = functions.Environment(function.__globals__)
    environment.consts.extend(np.dtype(kind) for kind in told["dtypes"])
    machine_code.point(code, told["environment"], environment)
    made: Callable[..., Any] = functions.make_function(
        sys.modules.get(function.__module__), function.__name__, function.__doc__ or "", code.symbols[told["entry"]],
        environment, (code,),
    )
    return made


def _name(function: Callable[..., Any], kind: bytes) -> str:
    digest = hashlib.blake2b(_digest(Path(function.__code__.co_filename)) + _machine() + kind, digest_size=12)
    return f"{function.__module__}/{function.__name__}-{digest.hexdigest()}.kernel"


def sources(path: Path) -> dict[Path, bytes]:
    """This module and what it imports of ours (what kernels import, too), with their text: constants become code."""
    seen: dict[Path, bytes] = {}
    waiting = [path]
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen[here] = here.read_bytes()
            if here == path or here.stem.endswith("kernels"):
                waiting.extend(_module_file(name) for name in _IMPORT.findall(seen[here].decode()))
    return seen


@cache
def _digest(path: Path) -> bytes:
    digest = hashlib.blake2b()
    for text in sorted(sources(path).values()):
        digest.update(hashlib.blake2b(text).digest())
    return digest.digest()


def _module_file(name: str) -> Path:
    base = Path(__file__).parents[1].joinpath(*name.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@cache
def _machine() -> bytes:
    """All but the sources that machine code depends on."""
    processor = re.findall(r"^(?:model name|flags)\s*:.*", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[:2]
    packages = [f"{name} {version(name)}" for name in ("numba", "llvmlite", "numpy")]
    return "\n".join([sys.version, platform.machine(), *processor, *packages]).encode()
