"""Compiled kernels: kept once, loaded without numba, and never taken for what they are not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from observe import kernel_store, machine_code

pytestmark = pytest.mark.skipif(
    not machine_code.SUPPORTED, reason="the loader was not tried with this numba or machine: numba loads its own",
)

SOURCE = '''
import json, sys
import numpy as np
from observe.jit import inlined, kernel

OFFSET = 100.0

@inlined
def shifted(value):
    return value + OFFSET

@kernel
def everything(values, table, count, scale, flag):
    """Every way in and out that kernels of ours use."""
    if count < 0:
        raise ValueError("a count below zero")
    out = np.empty(count, np.float64)
    total = 0
    for place in range(count):
        out[place] = shifted(values[place]) * scale + np.log10(table[0, place]) + np.exp(1.0 if flag else 0.0)
        total += int(values[place])
    values[:] = 0
    return out, total, total > 3, np.uint64(2**64 - 1)

if __name__ == "__main__":
    values = np.arange(4.0)
    out, total, more, large = everything(values, np.full((2, 4), 1000, np.float64), 4, 2.5, False)
    loaded = "numba.core" in sys.modules
    try:
        everything(values, np.ones((2, 4)), -1, 2.5, False)
    except ValueError as error:
        said = str(error)
    print(json.dumps([out.tolist(), total, more, int(large), values.tolist(), said, loaded]))
'''
ANSWER = [[254.0, 256.5, 259.0, 261.5], 6, True, 2**64 - 1, [0.0] * 4, "a count below zero"]


@pytest.fixture
def run(tmp_path):
    script = tmp_path / "some_kernels.py"
    script.write_text(SOURCE)

    def once():
        """What the kernel answers, and whether numba was needed for it."""
        child = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, env={
            **os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parents[2]),
        })
        assert child.returncode == 0, child.stderr
        *answer, compiled = json.loads(child.stdout)
        assert answer == ANSWER
        return compiled

    return once


def kept(tmp_path):
    return sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_what_was_compiled_once_is_loaded_without_numba(run, tmp_path):
    assert run() is True
    assert [path.name.partition("-")[0] for path in kept(tmp_path)] == ["everything"]
    assert run() is False


def test_numba_loads_its_own_cache_where_that_is_asked_for(run, monkeypatch):
    monkeypatch.setenv("OBSERVE_KERNELS", "numba")
    run()

    assert run() is True


def test_a_changed_source_is_compiled_anew(run, tmp_path):
    run()
    script = tmp_path / "some_kernels.py"
    script.write_text(script.read_text().replace("OFFSET = 100.0", "OFFSET = 50.0 + 50.0"))
    run()

    assert len(kept(tmp_path)) == 2


def aged(path, days, data=b"x"):
    path.write_bytes(data)
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - days * 86_400))


def changed(tmp_path):
    script = tmp_path / "some_kernels.py"
    script.write_text(script.read_text() + "# another version\n")


def test_versions_that_nobody_used_for_a_month_go_when_a_new_one_comes(run, tmp_path):
    run()
    [path] = kept(tmp_path)
    aged(path, 40, path.read_bytes())
    assert run() is False  # used again
    aged(path.with_name("everything-left.kernel"), 31)
    aged(path.with_name("everything-left.123"), 31)  # of a process that was killed
    aged(path.with_name("everything-fresh.kernel"), 29)
    aged(path.with_name("everything_else-left.kernel"), 31)
    changed(tmp_path)
    run()

    names = {one.name for one in kept(tmp_path)}
    assert {path.name, "everything-fresh.kernel", "everything_else-left.kernel"} < names
    assert 4 == len(names)


def test_the_oldest_of_too_many_versions_go(run, tmp_path):
    run()
    [path] = kept(tmp_path)
    for days in range(100):
        aged(path.with_name(f"everything-{days}.kernel"), days / 10 + 1)
    changed(tmp_path)
    run()

    left = {one.name for one in kept(tmp_path)}
    assert 64 == len(left)
    assert {path.name, "everything-0.kernel", "everything-61.kernel"} < left


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_file_is_compiled_anew(run, tmp_path, damage):
    run()
    [path] = kept(tmp_path)
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0x40
    whole = {"cut": data[: len(data) // 2], "flipped": data, "empty": b"", "other": b"\x7fELF" * 100}[damage]
    path.write_bytes(whole)
    run()

    assert path.read_bytes() != whole


def test_where_nothing_can_be_kept_it_is_compiled_and_works(run, tmp_path):
    (tmp_path / "cache").write_text("not a folder")

    assert run() is True


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\2\1" + bytes(58), b"MZ" * 64, np.arange(4096).tobytes()])
def test_what_is_no_object_of_this_machine_is_refused(data):
    with pytest.raises(machine_code.CannotLoadError):
        machine_code.load(data)


def test_kinds_of_arguments_are_told_apart():
    table = np.zeros((3, 4))
    locked = np.zeros(3)
    locked.flags.writeable = False
    kinds = [(np.zeros(3),), (locked,), (np.zeros(3, np.float32),), (np.zeros(6)[::2],), (table,), (table.T,), (1,),
             (1.0,), (True,), (np.uint32(1),), (np.zeros(3), 1)]

    assert len(kinds) == len({machine_code.lent().fingerprint(kind) for kind in kinds})


@pytest.mark.parametrize(("module", "sources"), [
    ("part_kernels", {"part_kernels.py", "chunk_kernels.py", "jit.py"}),  # another kernel
    ("head_kernels", {"head_kernels.py", "nans.py", "jit.py"}),  # a constant
])
def test_names_of_kept_kernels_depend_on_what_they_import(module, sources):
    found = kernel_store.sources(Path(kernel_store.__file__).parent / "store" / f"{module}.py")

    assert sources == {path.name for path in found}


def test_kernels_import_from_the_file_that_holds_the_thing():
    """A package that passes it on would hide a change of it from the names of kept kernels."""
    package = Path(kernel_store.__file__).parent
    passed_on = [
        (kernels.name, found) for kernels in package.rglob("*_kernels.py")
        for found in kernel_store.sources(kernels) if found.name == "__init__.py"
    ]

    assert [] == passed_on
