"""The JVM exporter on captures of ten real JVMs: five collectors of two releases, and on what goes wrong."""

import os
import struct
from pathlib import Path

import pytest

from observe.errors import MalformedData
from observe.exporters import create, gclog, hsperf
from observe.exporters.gclog import EvacuationFailure, HeapAfter, Pause, Stall
from observe.exporters.jvm_gc_logs import MAX_NAMES, Told
from observe.exporters.log_tail import LogTail
from tests.exporters.golden import HERE, cases, check_golden, no_time

OPTIONS = {"tmp": "tmp", "proc": "proc", "gc-logs": "logs/*.log"}


@pytest.mark.parametrize("case", cases("jvm"), ids=lambda case: case.name)
def test_golden(case, monkeypatch):
    monkeypatch.chdir(case / "input")

    exporter = create("jvm", OPTIONS, timer=no_time)
    exposition = exporter.exposition()
    exporter.close()

    check_golden(case, exposition)
    assert b"secret" not in exposition


def _capture() -> bytes:
    return next(path for path in (HERE / "jvm/openjdk-17/input/tmp/hsperfdata_app").iterdir()).read_bytes()


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "foreign"),
    (b"\x7fELF" + bytes(100), "foreign"),
    (hsperf.MAGIC + bytes([1, 3, 0, 1]) + bytes(24), "version"),
    (hsperf.MAGIC + bytes([1, 2, 0, 0]) + bytes(24), "starting"),
    (hsperf.MAGIC + bytes([1, 2, 0, 1]) + struct.pack("<iiqii", 0, 0, 0, 9999, 1), "torn"),
    (hsperf.MAGIC + bytes([1, 2, 0, 1]) + struct.pack("<iiqii", 0, 0, 0, 32, 1 << 30), "torn"),
    (hsperf.MAGIC + bytes([1, 2, 0, 1]) + struct.pack("<iiqii", 0, 0, 0, 32, 1) + bytes(20), "torn"),
    (_capture()[:5000], "torn"),
], ids=["empty", "another file", "version 3", "starting", "entries outside", "a million entries", "empty entry", "cut"])
def test_what_is_not_a_whole_counter_file_is_refused_with_its_reason(data, reason):
    with pytest.raises(MalformedData) as refused:
        hsperf.parse(data)

    assert refused.value.reason == reason


def test_any_cut_or_flipped_byte_is_refused_or_read_and_never_breaks_the_reader():
    whole = bytearray(_capture())
    for at in range(32, 6000, 37):
        flipped = bytearray(whole)
        flipped[at] ^= 0xFF
        for data in (bytes(whole[:at]), bytes(flipped)):
            try:
                hsperf.parse(data)
            except MalformedData:
                continue


@pytest.mark.parametrize(("command", "expected"), [
    ("com.acme.Main --token=x", "com.acme.Main"), ("/opt/my/app.jar x", "app.jar"),
    ("jdk.compiler/com.sun.tools.javac.Main A.java", "jdk.compiler/com.sun.tools.javac.Main"), ("", "unknown"),
])
def test_main_class_never_has_arguments(command, expected):
    assert hsperf.main_class(command) == expected


@pytest.mark.parametrize(("line", "expected"), [
    ("[0.068s][info][gc          ] GC(1) Pause Young (Normal) (G1 Evacuation Pause) 18M->1M(64M) 1.767ms",
     Pause("Young (Normal)", "G1 Evacuation Pause", 0.001767, 18 << 20, 1 << 20)),
    ("[gc] GC(6) Pause Full (System.gc()) 1G->512K(2T) 9.4ms",
     Pause("Full", "System.gc()", 0.0094, 1 << 30, 512 << 10)),
    ("GC(6) Pause Remark 35M->26M(64M) 0.282ms", Pause("Remark", "", 0.282 / 1000, 35 << 20, 26 << 20)),
    ("[a-host][15499][15500][debug][gc,phases] GC(0) Y: Pause Mark Start (Major) 0.005ms",
     Pause("Mark Start", "", 5e-6)),
    ("[1][gc] GC(0) Pause Init Mark (unload classes) 0.015ms", Pause("Init Mark", "", 0.015 / 1000)),
    ("[1][gc] GC(0) Pause Degenerated GC (Mark) 30M->20M(64M) 5.000ms",
     Pause("Degenerated GC", "Mark", 0.005, 30 << 20, 20 << 20)),
    ("[x] GC(9) Pause Young (Mixed) (G1 Evacuation Pause) (Evacuation Failure: Allocation) 9M->9M(9M) 1.0ms",
     Pause("Young (Mixed)", "G1 Evacuation Pause", 0.001, 9 << 20, 9 << 20, True)),
    ("[x] GC(9) To-space exhausted", EvacuationFailure()),
    ("[x] Allocation Stall (main) 7.090ms", Stall(0.00709)),
    ("[x] GC(0) Garbage Collection (Allocation Stall) 64M(100%)->12M(19%)", HeapAfter(64 << 20, 12 << 20)),
    ("[x] GC(3) Major Collection (System.gc()) 64M(100%)->12M(19%) 0.020s", HeapAfter(64 << 20, 12 << 20)),
    ("[x][gc,start] GC(1) Pause Young (Normal) (G1 Evacuation Pause)", None),
    ("[x][gc,stats] Pause Init Mark (N)           =    0.000 s (a =       15 us)", None),
    ("[x] GC(21) Concurrent Mark Cycle 2.229ms", None),
    ('[x] Safepoint "G1CollectForAllocation", Time since last: 1 ns, Total: 3 ns', None),
    ("GC(1) Pause Young (((( 1.0ms", Pause("Young", "", 0.001)),
    ("", None), ("[", None), ("[[[]]]]", None),
], ids=lambda value: value[-40:] if isinstance(value, str) else "")
def test_lines(line, expected):
    assert gclog.parse_message(gclog.split(line)[1]) == expected


def test_a_foreign_file_cannot_make_series_without_end():
    told = Told()
    for number in range(1000):
        told.take(f"GC(1) Pause Odd{number} 1.0ms")
        told.take(f"GC(1) Pause Full (cause {number}) 1M->1M(1M) 1.0ms")

    assert len(told.pauses) <= MAX_NAMES + 1
    assert len(told.full) == MAX_NAMES + 1
    assert told.full["other"] == 1000 - MAX_NAMES


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_a_log_is_followed_through_halves_rotation_and_truncation(tmp_path):
    path = tmp_path / "gc.log"
    _append(path, "one\ntw")
    tail = LogTail(str(path))
    seen = [tail.lines()]
    _append(path, "o\nthree\n")
    path.rename(tmp_path / "gc.log.0")
    _append(tmp_path / "gc.log.0", "four\n")
    seen.append(tail.lines())
    _append(path, "five\n")
    seen.append(tail.lines())
    os.truncate(path, 0)
    _append(path, "6\n")
    seen.append(tail.lines())
    tail.close()

    assert seen == [["one"], ["two", "three", "four"], ["five"], ["6"]]


def test_a_round_reads_no_more_than_its_budget_and_tells_what_is_left(tmp_path):
    path = tmp_path / "gc.log"
    path.write_text("x" * 99 + "\n" * 1)
    _append(path, ("y" * 99 + "\n") * 9)
    tail = LogTail(str(path))

    assert (len(tail.lines(budget=500)), tail.unread()) == (5, 500)
    tail.close()


def test_a_jvm_that_was_killed_is_not_shown_nor_one_whose_pid_came_again(tmp_path):
    """The file of a killed JVM stays. Its pid now belongs to a younger process that maps no counters."""
    source = HERE / "jvm" / "openjdk-17" / "input"
    capture = next(path for path in (source / "tmp/hsperfdata_app").iterdir() if (source / "proc" / path.name).exists())
    (tmp_path / "hsperfdata_app").mkdir()
    (tmp_path / "hsperfdata_app" / capture.name).write_bytes(capture.read_bytes())
    process = tmp_path / "proc" / capture.name
    process.mkdir(parents=True)
    (tmp_path / "proc/stat").write_bytes((source / "proc/stat").read_bytes())
    words = (source / "proc" / capture.name / "stat").read_text().split()
    options = {"tmp": str(tmp_path), "proc": str(tmp_path / "proc")}

    def shown(start_ticks: int, maps: str) -> bool:
        (process / "stat").write_text(" ".join([*words[:21], str(start_ticks), *words[22:]]))
        (process / "maps").write_text(maps)
        return b"jvm_threads_live{" in create("jvm", options).exposition()

    began = int(words[21])
    assert shown(began, "")
    assert not shown(began + 10_000, "7f00 /lib/libc.so.6\n"), "another process by now"
    assert shown(began + 10_000, "7f00 /tmp/hsperfdata_app/1\n"), "the same one; the wall clock was set"


def test_jvms_that_end_are_no_failure_of_their_exporter(tmp_path):
    """Before it is read, while it is listed, as the last one, with a restart of the exporter in between."""
    source = HERE / "jvm" / "openjdk-17" / "input"
    capture = next(path for path in (source / "tmp/hsperfdata_app").iterdir() if (source / "proc" / path.name).exists())
    folder = tmp_path / "hsperfdata_app"
    folder.mkdir()
    (folder / capture.name).write_bytes(capture.read_bytes())
    (folder / "4711").symlink_to(tmp_path / "ended")  # listed, and gone when it is opened
    options = {"tmp": str(tmp_path), "proc": str(source / "proc")}
    exporter = create("jvm", options)

    def told(one) -> list[str]:
        lines = one.exposition().decode().splitlines()
        return [line for line in lines if line.startswith(('jvm_processes{state="read"}', "exporter_success"))]

    assert told(exporter) == ['jvm_processes{state="read"} 1', 'exporter_success{collector="jvm"} 1']
    (folder / capture.name).unlink()
    none_runs = ['jvm_processes{state="read"} 0', 'exporter_success{collector="jvm"} 1']
    assert told(exporter) == none_runs
    assert told(create("jvm", options)) == none_runs
    (folder / "4711").unlink()
    folder.rmdir()
    assert told(exporter) == none_runs


def test_without_a_jvm_the_exporter_says_so(tmp_path):
    exporter = create("jvm", {"tmp": str(tmp_path), "gc-logs": str(tmp_path / "*.log")})

    text = exporter.exposition().decode()

    assert 'exporter_success{collector="jvm"} 0\n' in text
    assert exporter.problems() == {
        "jvm": "no JVM keeps its counters here (none ever ran, or all run with -XX:-UsePerfData)",
        "jvm_gc_log": f"no file matches {tmp_path}/*.log",
    }
