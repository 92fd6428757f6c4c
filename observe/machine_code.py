"""Puts compiled kernels into memory without the compiler that made them.

numba emits one ELF object a kernel, whose only relocations are absolute addresses (LLVM's large code model). Loading
one is: lay its sections out, fill in the addresses, make it executable. numba's small extension modules lend what
kernels call; numba itself and LLVM, 110 MB of memory and most of a second, stay unloaded.
ELF-64: https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html; R_X86_64_64: the x86-64 psABI, section 4.4.
"""

import contextlib
import ctypes
import importlib.machinery
import importlib.util
import mmap
import os
import pickle
import platform
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_TRIED: Final = {"0.68"}
"""Versions of numba whose objects and extension modules this loader was tried with: others may differ anywhere."""


def _supported() -> bool:
    if os.environ.get("OBSERVE_KERNELS") == "numba" or sys.platform != "linux":
        return False
    known = platform.machine() == "x86_64" and sys.implementation.name == "cpython"
    return known and version("numba").rpartition(".")[0] in _TRIED


SUPPORTED: Final = _supported()
"""Elsewhere, and where ``OBSERVE_KERNELS=numba`` asks for it, numba loads its own cache."""

_HEADER: Final = struct.Struct("<16s HHI QQQ I HHHHHH")
_SECTION: Final = struct.Struct("<II QQQQ II QQ")
_SYMBOL: Final = struct.Struct("<IBBH QQ")
_RELOCATION: Final = struct.Struct("<Q II q")
_PROGBITS, _SYMTAB, _RELA, _NOBITS = 1, 2, 4, 8
_ALLOCATED, _EXECUTABLE = 2, 4
_R_X86_64_64: Final = 1
_UNDEFINED, _ABSOLUTE = 0, 0xFFF1
_SECTIONS, _COMMONS = "section", "common"
_COMMON: Final = {0xFFF2, 0xFF02}
"""Variables that the loader makes room for; the second is that of the large code model."""


class CannotLoadError(Exception):
    """The object is not what this loader knows: compile it anew."""


@dataclass(frozen=True, slots=True)
class Code:
    """An object in memory. Whoever calls into it keeps it alive."""

    symbols: dict[str, int]
    memory: tuple[mmap.mmap, ...]


def point(code: Code, name: str, target: object) -> None:
    """Let the variable `name` of this code, where it has it, point at a Python object that lives as long."""
    if name in code.symbols:
        ctypes.c_void_p.from_address(code.symbols[name]).value = id(target)


@dataclass(frozen=True, slots=True)
class _Section:
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


def load(data: bytes) -> Code:
    """Lay an ELF object of x86-64 out in memory. Raises `CannotLoadError`."""
    try:
        return _load(data)
    except (struct.error, IndexError, ValueError, OSError) as error:
        raise CannotLoadError(f"not an object of this machine: {error}") from error


def _load(data: bytes) -> Code:
    sections, names = _sections(data)
    table = next((section for section in sections if section.kind == _SYMTAB), None)
    if table is None:
        raise CannotLoadError("the object has no symbols")
    symbols = list(_SYMBOL.iter_unpack(data[table.offset : table.offset + table.size]))
    chosen = {number: section for number, section in enumerate(sections)
              if section.flags & _ALLOCATED and section.size and names[number] != ".eh_frame"}
    if any(section.kind not in {_PROGBITS, _NOBITS} for section in chosen.values()):
        raise CannotLoadError("the object has sections of an unknown kind")
    code = _Room([((_SECTIONS, number), section.size, section.align) for number, section in chosen.items()
                  if section.flags & _EXECUTABLE])
    rest = _Room([((_SECTIONS, number), section.size, section.align) for number, section in chosen.items()
                  if not section.flags & _EXECUTABLE]
                 + [((_COMMONS, number), size, align) for number, (_, _, _, where, align, size) in enumerate(symbols)
                    if where in _COMMON])
    rooms = {number: code if section.flags & _EXECUTABLE else rest for number, section in chosen.items()}
    places = code.places | rest.places
    for number, section in chosen.items():
        if section.kind == _PROGBITS:
            rooms[number].write(places[_SECTIONS, number], _bytes_of(section, data))
    strings = data[sections[table.link].offset :]
    named = [_text(strings, symbol[0]) for symbol in symbols]
    addresses = [_address(name, number, symbol, places)
                 for number, (name, symbol) in enumerate(zip(named, symbols, strict=True))]
    for section in sections:
        if section.kind == _RELA and section.info in chosen:
            base = places[_SECTIONS, section.info]
            for at, kind, symbol, addend in _RELOCATION.iter_unpack(_bytes_of(section, data)):
                if kind != _R_X86_64_64:
                    raise CannotLoadError(f"relocation {kind} is unknown")
                rooms[section.info].write(base + at, struct.pack("<Q", (addresses[symbol] + addend) % 2**64))
    code.make_executable()
    own = {name: address for name, symbol, address in zip(named, symbols, addresses, strict=True)
           if symbol[3] not in {_UNDEFINED, _ABSOLUTE}}
    return Code(own, (code.memory, rest.memory))


def _address(name: str, number: int, symbol: tuple[Any, ...], places: Mapping[tuple[str, int], int]) -> int:
    where, value = symbol[3], symbol[4]
    if where in _COMMON:
        return places[_COMMONS, number]
    if where == _UNDEFINED:
        return _outside(name) if name else 0
    if where == _ABSOLUTE:
        return int(value)
    return places.get((_SECTIONS, where), 0) + int(value)


def _bytes_of(section: _Section, data: bytes) -> bytes:
    return data[section.offset : section.offset + section.size]


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode()


def _sections(data: bytes) -> tuple[list[_Section], list[str]]:
    header = _HEADER.unpack_from(data)
    if header[0][:6] != b"\x7fELF\2\1" or header[1:3] != (1, 62):
        raise CannotLoadError("not a relocatable ELF object of x86-64")
    begin, count, names_at = header[6], header[12], header[13]
    rows = [_SECTION.unpack_from(data, begin + number * _SECTION.size) for number in range(count)]
    found = [_Section(row[1], row[2], row[4], row[5], row[6], row[7], max(1, row[8])) for row in rows]
    strings = data[found[names_at].offset :]
    return found, [_text(strings, row[0]) for row in rows]


class _Room:
    """Pages of memory and what lies where in them."""

    def __init__(self, wanted: Sequence[tuple[tuple[str, int], int, int]]) -> None:
        at, offsets = 0, {}
        for key, size, align in wanted:
            at = -(-at // align) * align
            offsets[key] = at
            at += size
        self.memory = mmap.mmap(-1, max(at, 1))
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.places = {key: self._base + offset for key, offset in offsets.items()}

    def write(self, address: int, data: bytes) -> None:
        begin = address - self._base
        self.memory[begin : begin + len(data)] = data

    def make_executable(self) -> None:
        """From now on to be run, and no longer to be written."""
        size = -(-len(self.memory) // mmap.PAGESIZE) * mmap.PAGESIZE
        system = ctypes.CDLL(None, use_errno=True)
        refused = system.mprotect(ctypes.c_void_p(self._base), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC)
        if refused:
            raise OSError(ctypes.get_errno(), "this process may not make memory executable")


# ---------------------------------------------------------------- what kernels call


@cache
def _unpickled(data: bytes) -> object:
    return pickle.loads(data)  # noqa: S301 - a part of the object, as trusted as its code


def _unpickle(address: int, size: int, _: int) -> object:
    """In place of numba's helper, which imports numba: what a kernel needs to make an array, and what it raises."""
    return _unpickled(ctypes.string_at(address, size))


_UNPICKLE: Final = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(_unpickle)


@cache
def _outside(name: str) -> int:
    """The address of a function or variable of Python, numba's helpers or the C library."""
    if name == "numba_unpickle":
        return ctypes.cast(_UNPICKLE, ctypes.c_void_p).value or 0
    parts = lent()
    for prefix, module in (("NRT_", parts.runtime), ("numba_", parts.helpers), ("", parts.runtime)):
        if name.startswith(prefix) and name.removeprefix(prefix) in module.c_helpers:
            return int(module.c_helpers[name.removeprefix(prefix)])
    try:
        return ctypes.addressof(ctypes.c_char.in_dll(ctypes.CDLL(None), name))
    except ValueError:
        raise CannotLoadError(f"nobody here has {name}") from None


@dataclass(frozen=True, slots=True)
class Lent:
    """Extension modules of numba that work without numba."""

    functions: ModuleType
    helpers: ModuleType
    runtime: ModuleType
    fingerprint: Callable[[tuple[Any, ...]], bytes]
    """Types, layouts and flags of arguments as bytes: what a call is looked up by, in 0.3 µs for 15 of them."""


@cache
def lent() -> Lent:
    """Load them once, without numba where that can be."""
    modules = None
    if "numba" not in sys.modules:
        with contextlib.suppress(ImportError, AttributeError, TypeError), _standing_in() as load_extension:
            modules = [load_extension(name) for name in _EXTENSIONS]
            # Makes it know NumPy. The codes are for numba's own lookup, which says them again if it is ever imported.
            modules[-1].typeof_init(type("OmittedArg", (), {}), dict.fromkeys(_NUMBERS, 0))
    if modules is None:  # there already, or a numba that is built otherwise: then all of it
        modules = [importlib.import_module(name) for name in _EXTENSIONS]
    functions, helpers, runtime, dispatcher = modules
    runtime.memsys_use_cpython_allocator()  # as numba itself does
    return Lent(functions, helpers, runtime, dispatcher.compute_fingerprint)


_NUMBERS: Final = (
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float32", "float64", "complex64",
    "complex128",
)
_EXTENSIONS: Final = ("numba._dynfunc", "numba._helperlib", "numba.core.runtime._nrt_python", "numba._dispatcher")


@contextlib.contextmanager
def _standing_in() -> Iterator[Callable[[str], ModuleType]]:
    """Loads extension modules of numba without numba: an empty package stands in meanwhile."""
    found = importlib.util.find_spec("numba")
    if found is None or found.origin is None:
        raise ImportError("numba is not installed")
    folder = Path(found.origin).parent

    def load_extension(name: str) -> ModuleType:
        path = folder.joinpath(*name.split(".")[1:])
        path = path.with_name(path.name + importlib.machinery.EXTENSION_SUFFIXES[0])
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"there is no {path}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    before = set(sys.modules)
    package = ModuleType("numba")
    sys.modules["numba"] = package
    try:
        package._devicearray = load_extension("numba._devicearray")  # type: ignore[attr-defined]  # `_dispatcher` asks for it  # noqa: SLF001
        yield load_extension
    finally:
        for name in set(sys.modules) - before:
            if name.split(".")[0] == "numba":
                del sys.modules[name]
