"""The GPU exporter on a compiled stand-in for libnvidia-ml.so.1 that reads its answers and faults from a file."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from observe.exporters import create
from tests.exporters.golden import HERE, cases, check_golden, no_time
from tests.exporters.test_host import _samples
from tests.real.process import RealProcess, http_get, require, wait_until

BASE = (HERE / "gpu/h200/input/state").read_text(encoding="utf-8")


def compile_stub(folder: Path, *flags: str) -> Path:
    library = folder / "libnvidia-ml.so.1"
    source = HERE / "gpu" / "nvml_stub.c"
    command = [require("gcc"), "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", *flags, "-o", str(library)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    return library


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The stand-in, loaded: a later look for its name in this process finds it, whatever the machine has."""
    path = compile_stub(tmp_path_factory.mktemp("nvml"))
    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    return path


@pytest.fixture
def nvml(library, tmp_path, monkeypatch):
    """The state file of a fresh session."""
    import pynvml

    state = tmp_path / "state"
    state.write_text(BASE, encoding="utf-8")
    monkeypatch.setenv("NVML_STUB_STATE", str(state))
    ctypes.c_int.in_dll(ctypes.CDLL(str(library)), "xids_given").value = 0
    yield state
    try:
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return


def _without(text: str, *keys: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if line.split()[0] not in keys)


@pytest.mark.parametrize("case", cases("gpu"), ids=lambda case: case.name)
def test_golden(case, nvml, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "gpu-host")
    nvml.write_text((case / "input/state").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(case / "input")

    exporter = create("gpu", {"dcgm-names": "true", "proc": "proc"}, timer=no_time)
    exposition = exporter.exposition()
    exporter.close()

    check_golden(case, exposition)
    assert not re.search(rb" (4294967295|1844674407370955\d+|922337203685477\d+)$", exposition, re.MULTILINE)


def test_no_driver_is_success_0_and_exit_0(tmp_path):
    """In a process of its own, where nothing is preloaded and the library's place is empty."""
    out = subprocess.run(
        [sys.executable, "-m", "observe", "export", "gpu", "--once"], capture_output=True, text=True, check=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a driver")

    assert 'exporter_success{collector="gpu"} 0\n' in out.stdout
    assert "no NVIDIA driver here" in out.stderr


def test_an_old_driver_without_newer_functions_still_tells_the_rest(tmp_path):
    """The library is compiled without them, so the binding finds no such symbol."""
    compile_stub(tmp_path, "-DOLD_DRIVER")
    (tmp_path / "state").write_text(BASE, encoding="utf-8")
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "NVML_STUB_STATE": str(tmp_path / "state")}
    out = subprocess.run(
        [sys.executable, "-m", "observe", "export", "gpu", "--once"], capture_output=True, text=True, check=True,
        env=env,
    )
    samples = {name: value for (name, labels), value in _samples(out.stdout).items() if dict(labels).get("gpu") == "0"}

    assert samples["gpu_memory_used_bytes"] == 107374182400
    assert "gpu_memory_reserved_bytes" not in samples
    assert 'reason="sw_power_cap"} 1' in out.stdout


@pytest.mark.parametrize(("fault", "gone"), [
    ("0.nvmlDeviceGetPowerUsage.fault 3", {"gpu_power_watts", "gpu_power_min_watts", "gpu_power_max_watts"}),
    ("0.nvmlDeviceGetTemperature.fault 999", {"gpu_temperature_celsius"}),
    ("0.nvmlDeviceGetTotalEccErrors.fault 4", {"gpu_ecc_errors_total"}),
    ("0.nvmlDeviceGetComputeRunningProcesses_v3.fault 4", {"gpu_process_memory_bytes"}),
    ("0.nvmlDeviceGetRemappedRows.fault 3", {"gpu_remapped_rows", "gpu_remap_pending", "gpu_remap_failed"}),
], ids=["not supported", "unknown error", "no permission", "processes hidden", "no remapping"])
def test_one_failing_call_costs_its_own_metric(nvml, fault, gone):
    def names() -> set[str]:
        exporter = create("gpu", timer=no_time)
        found = {
            name for (name, labels) in _samples(exporter.exposition().decode())
            if dict(labels).get("gpu") == "0" and dict(labels).get("sensor") != "memory" and "xid" not in name
        }
        exporter.close()
        return found

    whole = names()
    nvml.write_text(BASE + fault + "\n", encoding="utf-8")

    assert whole - names() == gone


@pytest.mark.parametrize(("figure", "gone"), [
    ("utilization 4294967295", "gpu_utilization_max_ratio"),
    ("decoder 4294967295", "gpu_codec_utilization_ratio{decoder}"),
    ("memory_total 18446744073709551615", "gpu_memory_free_bytes"),
])
def test_the_numbers_that_stand_for_not_available_are_absent(nvml, figure, gone):
    key, _ = figure.split()
    nvml.write_text(_without(BASE, f"0.{key}") + f"0.{figure}\n", encoding="utf-8")

    with create("gpu", timer=no_time) as exporter:
        samples = _samples(exporter.exposition().decode())

    name, _, codec = gone.rstrip("}").partition("{")
    of_it = [dict(labels) for had, labels in samples if had == name]
    assert [] == [labels for labels in of_it if labels["gpu"] == "0" and labels.get("codec", "") == codec]


def test_more_processes_than_are_shown_are_counted_all_the_same(nvml):
    pids = "".join(f"0.compute.{n}.pid {5000 + n}\n" for n in range(300))
    nvml.write_text(BASE + "0.compute 300\n" + pids, encoding="utf-8")
    exporter = create("gpu", timer=no_time)
    text = exporter.exposition().decode()
    exporter.close()
    samples = _samples(text)

    assert [300] == [value for (name, labels), value in samples.items()
                     if name == "gpu_processes" and dict(labels)["gpu"] == "0"]
    assert 'exporter_left_out{collector="gpu_slow"} 44\n' in text


def test_a_lost_gpu_is_down_and_the_others_go_on(nvml):
    exporter = create("gpu")
    before = _samples(exporter.exposition().decode())
    nvml.write_text(_without(BASE, "1.nvmlDeviceGetUtilizationRates.fault", "1.nvmlDeviceGetPcieThroughput.fault")
                    + "0.nvmlDeviceGetUtilizationRates.fault 15\n", encoding="utf-8")
    after = _samples(exporter.exposition().decode())
    exporter.close()

    def up(samples):
        return {dict(labels)["gpu"]: value for (name, labels), value in samples.items() if name == "gpu_up"}

    assert up(before) == {"0": 1, "1": 0}
    assert up(after) == {"0": 0, "1": 1}


def test_a_driver_that_goes_and_comes_back_is_found_again(nvml):
    exporter = create("gpu", timer=no_time)
    first = exporter.exposition().decode()
    nvml.write_text(BASE + "0.nvmlDeviceGetUtilizationRates.fault 1\nnvmlInitWithFlags.fault 9\n", encoding="utf-8")
    broken, gone = exporter.exposition().decode(), exporter.exposition().decode()
    nvml.write_text(BASE, encoding="utf-8")
    back = exporter.exposition().decode()
    exporter.close()

    success = [re.search(r'exporter_success\{collector="gpu"\} (\d)', text)[1] for text in (first, broken, gone, back)]
    assert success == ["1", "0", "0", "1"]


def test_xid_events_are_counted_by_code_and_from_zero(nvml):
    nvml.write_text(re.sub(r"^xid.*\n", "", BASE, flags=re.MULTILINE), encoding="utf-8")
    exporter = create("gpu")
    before = _samples(exporter.exposition().decode())
    nvml.write_text(nvml.read_text(encoding="utf-8") + "xid.0 0 48\nxid.1 0 48\nxid.2 0 94\n", encoding="utf-8")
    after = _samples(exporter.exposition().decode())
    exporter.close()

    def events(samples):
        return {
            (name, dict(labels).get("xid", "")): value for (name, labels), value in samples.items()
            if name.startswith("gpu_xid") and dict(labels)["gpu"] == "0"
        }

    assert events(before) == {("gpu_xid_events_total", ""): 0, ("gpu_xid_last_code", ""): 0}
    assert events(after) == {
        ("gpu_xid_events_total", ""): 3, ("gpu_xid_last_code", ""): 94,
        ("gpu_xid_events_by_code_total", "48"): 2, ("gpu_xid_events_by_code_total", "94"): 1,
    }


def test_least_mean_and_most_are_of_the_window(nvml):
    from observe.exporters.gpu import Gpus
    from observe.exporters.gpu_nvml import Nvml
    from observe.exporters.page import Page

    now = [100.0]
    gpus = Gpus(Nvml(), window_s=10.0, dcgm=False, proc=Path("/proc"), now=lambda: now[0])
    seen = []
    for at, percent in ((100, 10), (104, 90), (108, 20), (112, 30)):
        now[0] = at
        nvml.write_text(_without(BASE, "0.utilization") + f"0.utilization {percent}\n", encoding="utf-8")
        page = Page()
        gpus.fast(page)
        found = {metric.name: value for metric, _, labels, value in page.samples() if labels["gpu"] == "0"}
        seen.append(tuple(found[f"gpu_utilization{suffix}_ratio"] for suffix in ("_min", "", "_max")))

    assert seen == [(0.1, 0.1, 0.1), (0.1, 0.5, 0.9), (0.1, 0.4, 0.9), (0.2, 0.466667, 0.9)]


def test_a_driver_call_that_hangs_does_not_hang_the_scrape(library, tmp_path):
    """Served alone, with a process list that takes ten seconds: the cheap figures are there at once."""
    state = tmp_path / "state"
    state.write_text(BASE, encoding="utf-8")
    env = {"LD_LIBRARY_PATH": str(library.parent), "NVML_STUB_STATE": str(state)}
    argv = [sys.executable, "-m", "observe", "export", "gpu", "--listen", "127.0.0.1:0", "--interval", "0.1"]
    with RealProcess("gpu", argv, tmp_path, env={**env, "PYTHONPATH": str(Path.cwd())}) as served:
        served.wait_healthy(lambda: "http://" in served.output())
        url = served.output().split()[-1]
        wait_until(lambda: b"gpu_processes{" in http_get(url), "the first slow round is done")
        state.write_text(BASE + "0.nvmlDeviceGetPcieThroughput.sleep_ms 10000\n", encoding="utf-8")
        wait_until(lambda: b"gpu_utilization_ratio" in http_get(url, timeout_s=2), "the scrape answers meanwhile")

        assert served.stop(timeout_s=120) == 0
