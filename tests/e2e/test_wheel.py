"""The wheel in a clean environment, elsewhere: what users install is whole."""

import os
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.e2e.product import ROOT
from tests.real.process import free_port, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200), pytest.mark.xdist_group("wheel")]


def run(*words, cwd):
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False,
                          env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"})
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def installed_mb(environment):
    return sum(path.stat().st_size for path in environment.rglob("*") if path.is_file()) / 1e6


def built_wheel(folder):
    """The wheel of what is committed, made where it leaves nothing in this tree."""
    source = folder / "source"
    run("git", "clone", "--quiet", ROOT, source, cwd=folder)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    return folder


def test_the_base_install_exports_host_metrics(wheel, environment):
    bin_folder = environment / "venv" / "bin"
    run(bin_folder / "pip", "install", "--quiet", wheel, cwd=environment)

    page = run(bin_folder / "observe", "export", "host", "--once", cwd=environment)

    assert "# TYPE host_cpu_seconds_total counter" in page
    packages = {path.name for path in (environment / "venv" / "lib").glob("python*/site-packages/*")}
    assert set() == packages & {"numpy", "fastapi", "numba", "duckdb"}


def test_the_server_install_runs_the_demo(wheel, environment):
    bin_folder = environment / "venv" / "bin"
    run(bin_folder / "pip", "install", "--quiet", f"{wheel}[server]", cwd=environment)
    port = free_port()
    began = time.monotonic()
    with (environment / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [bin_folder / "observe", "up", "--demo", "--listen", f"127.0.0.1:{port}", "--data", environment / "data"],
            cwd=environment, stdout=log, stderr=subprocess.STDOUT,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        )
    try:
        def console():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
                return answer.read().decode()

        def scraped():
            asked = f"http://127.0.0.1:{port}/api/v1/query?query=gateway_requests_total"
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return b'"gateway"' in answer.read()

        assert "observe" in wait_until(console, "the console", 60)
        wait_until(scraped, "the demo's metrics", 90)
    finally:
        process.terminate()
        assert 0 == process.wait(120), (environment / "up.log").read_text()
    size_mb = installed_mb(environment / "venv")
    print(f"installed size {size_mb:.0f} MB, up and scraping {time.monotonic() - began:.1f} s after the start")
    assert size_mb < 600
