"""An idle `observe up`: what it has loaded, what it refuses to start with, how it ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.product import ROOT, Product, alive
from tests.real.process import free_port, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.xdist_group("idle")]

HEAVY = ("pandas", "scipy", "statsmodels", "matplotlib", "plotly", "grafanalib", "llvmlite")
"""The last is numba's compiler: kernels that were compiled once are loaded without it."""


def up(*arguments, timeout=180):
    return subprocess.run(
        [sys.executable, "-m", "observe", "up", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
        timeout=timeout, check=False,
    )


@pytest.fixture(scope="module")
def idle(tmp_path_factory):
    subprocess.run([sys.executable, "-m", "observe.compile_kernels"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    with Product(tmp_path_factory.mktemp("idle") / "data") as product:
        yield product


def test_the_heavy_parts_are_not_loaded(idle):
    wait_until(lambda: idle.query("up"), "a scrape", 60)
    maps = Path(f"/proc/{idle.process.pid}/maps").read_text()

    assert [] == [name for name in HEAVY if f"/site-packages/{name}/" in maps]


def test_every_page_and_api_answers(idle):
    wait_until(lambda: idle.query("up"), "a scrape", 60)
    for path in ("/api/v1/targets", "/api/v1/rules", "/api/v1/alerts", "/api/v1/status/buildinfo", "/openapi.json"):
        assert idle.get(path), path


def test_a_folder_that_is_in_use_is_refused_with_the_owners_pid(idle):
    refused = up("--data", idle.data, "--listen", f"127.0.0.1:{free_port()}")

    assert 1 == refused.returncode
    assert f"belongs to a running observe (pid {idle.process.pid})" in refused.stderr
    assert "--data" in refused.stderr


def test_a_port_that_is_taken_is_refused(idle, tmp_path):
    refused = up("--data", tmp_path, "--listen", f"127.0.0.1:{idle.port}")

    assert 1 == refused.returncode
    assert "Address already in use" in refused.stderr
    assert "--listen" in refused.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listn: 127.0.0.1:1\nscrape: {interval: 5}\n", ("unknown key `listn`", "5 has no unit")),
        ("rules: [nothing/*.yml]\n", ("no rule file matches",)),
        ("exporters: [toaster]\n", ("toaster", "host")),
        ("listen: 0.0.0.0:9900\n", ("without authentication",)),
    ],
)
def test_a_wrong_configuration_is_refused_with_what_to_do(tmp_path, text, words):
    (tmp_path / "observe.yml").write_text(text)
    refused = up("--config", tmp_path / "observe.yml", "--data", tmp_path / "data")

    assert refused.returncode in {1, 2}
    assert [] == [word for word in words if word not in refused.stderr], refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unparsable_expression_is_refused_with_its_line(tmp_path):
    (tmp_path / "rules.yml").write_text("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(rate(x[5m]\n")
    (tmp_path / "observe.yml").write_text("rules: [rules.yml]\n")
    refused = up("--config", tmp_path / "observe.yml", "--data", tmp_path / "data")

    assert 1 == refused.returncode
    assert "rules.yml:5" in refused.stderr


def test_reload_with_a_broken_file_keeps_the_old_configuration(tmp_path):
    config = tmp_path / "observe.yml"
    config.write_text("rules: [builtin]\n")
    with Product(tmp_path / "data", "--config", config) as product:
        config.write_text("rulez: [builtin]\n")
        product.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "unknown key `rulez`" in "\n".join(product.lines), "the refusal is printed", 20)
        assert product.get("/api/v1/rules")["data"]["groups"]
        assert product.get("/api/v1/status/runtimeinfo")["data"]["reloadConfigSuccess"] is False
        config.write_text("rules: [builtin]\nexporters: [host]\nlogs: {files: [{path: app.log, service: app}]}\n")
        product.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reloaded:" in "\n".join(product.lines), "the reload is printed", 20)
        assert product.get("/api/v1/status/runtimeinfo")["data"]["reloadConfigSuccess"] is True
        (tmp_path / "app.log").write_text("a line of a file that the reload brought\n")
        wait_until(lambda: product.get("/api/logs/search?service=app")["total"], "the line is found", 20)
        assert 0 == product.interrupt(), "\n".join(product.lines)
        assert not alive([product.process.pid])
