"""The JVM exporter beside the JDK's own tools, on every JDK of this machine and with every collector."""

import os
import re
import subprocess
import sys

import pytest

from observe.exporters import create
from tests.exporters.test_host import _samples
from tests.real.jvm import compile_churn, jdks, start_churn, tool
from tests.real.process import RealProcess, wait_until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("jvm")]


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    compile_churn(jdks()[0], folder)
    return folder


def _of(samples, pid: int) -> dict[tuple[str, str], float]:
    """(name, the last label's value) -> value, for one JVM."""
    found = {}
    for (name, labels), value in samples.items():
        said = dict(labels)
        if said.get("pid") == str(pid):
            found[name, said.get("pool", said.get("collector", said.get("pause", "")))] = value
    return found


def _jstat(jdk, pid: int, view: str) -> dict[str, float]:
    head, row = tool(jdk, "jstat", view, str(pid)).splitlines()
    return {name: float(value) for name, value in zip(head.split(), row.split(), strict=True) if value != "-"}


def _in_a_quiet_moment(jdk, pid: int):
    """Our samples and jstat's, with no collection between: concurrent collectors go on for a while by themselves."""
    for _ in range(50):
        before = _of(_samples(create("jvm").exposition().decode()), pid)
        jstat, loaded = _jstat(jdk, pid, "-gc"), _jstat(jdk, pid, "-class")
        after = _of(_samples(create("jvm").exposition().decode()), pid)
        moving = ("jvm_uptime_seconds", "jvm_process_")
        if all(after[key] == value for key, value in before.items() if not key[0].startswith(moving)):
            return after, jstat, loaded
    raise AssertionError("this JVM never stood still")


@pytest.mark.parametrize("collector", ["G1", "Serial", "Parallel", "Z", "Shenandoah"])
def test_figures_are_those_of_jstat_and_jcmd(classes, collector):
    for jdk in jdks()[-1:] if collector not in {"G1", "Z"} else jdks():
        with start_churn(jdk, classes, f"-XX:+Use{collector}GC") as jvm:
            ours, jstat, loaded = _in_a_quiet_moment(jdk, jvm.pid)
            printed = tool(jdk, "jcmd", str(jvm.pid), "PerfCounter.print")
        counters = dict(re.findall(r"^(\S+)=(\d+)$", printed, re.MULTILINE))

        kib = {pool: value / 1024 for (name, pool), value in ours.items() if name == "jvm_memory_pool_used_bytes"}
        counts = [value for (name, _), value in ours.items() if name == "jvm_gc_collections_total"]
        seconds = [value for (name, _), value in ours.items() if name == "jvm_gc_time_seconds_total"]
        assert sum(counts) == jstat.get("YGC", 0) + jstat.get("FGC", 0) + jstat.get("CGC", 0)
        assert sum(seconds) == pytest.approx(jstat["GCT"], abs=0.002)
        if "eden" in kib:
            expected = {"eden": "EU", "s0": "S0U", "s1": "S1U", "old": "OU", "metaspace": "MU"}
            assert {pool: kib[pool] for pool in expected} == pytest.approx(
                {pool: jstat[column] for pool, column in expected.items()}, abs=0.06,
            )
        assert ours["jvm_memory_heap_max_bytes", ""] == 64 << 20
        assert ours["jvm_classes_loaded_total", ""] == pytest.approx(loaded["Loaded"], abs=2)
        assert ours["jvm_threads_live", ""] == pytest.approx(int(counters["java.threads.live"]), abs=1)
        assert ours["jvm_threads_started_total", ""] == pytest.approx(int(counters["java.threads.started"]), abs=1)
        assert ours["jvm_safepoints_total", ""] <= int(counters["sun.rt.safepoints"])
        assert ours["jvm_safepoint_time_seconds_total", ""] > 0


def test_pauses_and_full_gcs_of_a_real_log_are_counted_and_belong_to_their_jvm(classes, tmp_path):
    log = tmp_path / "gc.log"
    exporter = create("jvm", {"gc-logs": str(tmp_path / "*.log")})
    with start_churn(jdks()[0], classes, f"-Xlog:gc*:file={log}", "-XX:+UseG1GC", fulls=3) as jvm:
        lines = [line for line in log.read_text().splitlines() if re.search(r"Pause .*ms$", line)]
        samples = _samples(exporter.exposition().decode())
        ours = _of(samples, jvm.pid)
        exporter.close()

    total = sum(value for (name, _), value in ours.items() if name == "jvm_gc_pause_seconds_count")
    full = [value for (name, labels), value in samples.items() if name == "jvm_gc_full_collections_total"
            and dict(labels)["pid"] == str(jvm.pid) and dict(labels)["cause"] == "System.gc()"]
    assert total == len(lines)
    assert full == [3.0]
    assert ours["jvm_gc_collections_total", "G1 full collection pauses"] == 3


def test_a_jvm_killed_between_scrapes_vanishes_and_the_others_stay(classes):
    jdk = jdks()[0]
    with start_churn(jdk, classes, name="one") as one, start_churn(jdk, classes, name="two") as two:
        before = _samples(create("jvm").exposition().decode())
        one.kill()  # its counter file stays
        after = _samples(create("jvm").exposition().decode())

    def pids(samples):
        return {dict(labels)["pid"] for name, labels in samples if name == "jvm_uptime_seconds"}

    assert {str(one.pid), str(two.pid)} <= pids(before)
    assert str(two.pid) in pids(after)
    assert str(one.pid) not in pids(after)


def test_jvms_of_other_users_are_counted_as_denied(classes):
    """The exporter runs as a user of its own beside a JVM of root: `nobody` may have one too (Elasticsearch's)."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    with start_churn(jdks()[0], classes) as jvm:
        wait_until(lambda: os.path.exists(f"/tmp/hsperfdata_root/{jvm.pid}"), "its counters are there")  # noqa: PTH110
        here = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"}  # noqa: PTH109
        out = subprocess.run(
            ["setpriv", "--reuid=65000", "--clear-groups", sys.executable, "-m", "observe", "export", "jvm", "--once"],
            capture_output=True, text=True, check=True, env=here,
        )

    assert 'exporter_success{collector="jvm"} 0\n' in out.stdout
    assert "belong to other users: run this exporter as their user or as root" in out.stderr


def test_a_frozen_jvm_is_still_read(classes):
    with start_churn(jdks()[0], classes, "-XX:+UseSerialGC") as jvm:
        jvm.freeze()
        ours = _of(_samples(create("jvm").exposition().decode()), jvm.pid)

    assert ours["jvm_gc_collections_total", "Serial full collection pauses"] == 2


def test_a_jvm_that_sees_another_tmp_is_found_in_its_container(classes):
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a mount namespace")
    script = f"mount --bind {classes} /mnt && mount -t tmpfs none /tmp && exec {jdks()[0]}/java -cp /mnt Churn 10 0"
    with RealProcess("contained", ["unshare", "--mount", "sh", "-c", script], classes) as jvm:
        jvm.wait_healthy(lambda: "READY" in jvm.output())
        without = _of(_samples(create("jvm").exposition().decode()), jvm.pid)
        inside = _of(_samples(create("jvm", {"containers": "true"}).exposition().decode()), jvm.pid)

    assert without == {}
    assert inside["jvm_threads_live", ""] > 5
