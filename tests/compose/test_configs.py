"""What is mounted into the containers: each file by its own real tool where that runs here, and against the others."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from observe.duration import parse_duration_ms
from observe.exporters import names
from observe.show.boards import SOURCES, generated_folder
from observe.store.elastic_schema import index_name
from tests.compose.stack import CONFIGS, FOLDER, ROOT, SERVICES, config, inside, mounts, ports_of
from tests.real.process import require

PROMETHEUS = config("prometheus/prometheus.yml")
JOBS = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}


def tool(*words, cwd=ROOT):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.real
def test_prometheus_takes_its_configuration(tmp_path):
    """With the secret that it reads in place; its rules are checked with it."""
    copy = tmp_path / "prometheus"
    shutil.copytree(FOLDER / "prometheus", copy)
    (tmp_path / "observe_viewer_token").write_text("a token\n")
    text = (copy / "prometheus.yml").read_text(encoding="utf-8")
    (copy / "prometheus.yml").write_text(text.replace("/run/secrets", str(tmp_path)))

    said = tool(require("promtool"), "check", "config", copy / "prometheus.yml")

    assert "SUCCESS: 2 rules found" in said


@pytest.mark.real
def test_the_rules_that_watch_observe_fire_when_they_should():
    tool(require("promtool"), "test", "rules", Path(__file__).with_name("observe_watch.test.yml"))


@pytest.mark.real
def test_prometheus_takes_the_rules_that_observe_exports(tmp_path):
    """For those who let Prometheus alert on observe's bands: docs/rules.md."""
    exported = tmp_path / "rules.yml"
    tool(sys.executable, "-m", "observe", "rules", "export", "--format", "prometheus", "--output", exported)

    assert "SUCCESS" in tool(require("promtool"), "check", "rules", exported)


@pytest.mark.real
def test_alertmanager_takes_its_configuration_and_pages_all_but_the_watchdog():
    amtool, file = require("amtool"), FOLDER / "alertmanager" / "alertmanager.yml"

    assert "SUCCESS" in tool(amtool, "check-config", file)
    assert tool(amtool, "config", "routes", "test", f"--config.file={file}", "alertname=TargetDown").strip() == "pager"
    assert tool(amtool, "config", "routes", "test", f"--config.file={file}", "alertname=Watchdog").strip() == "nobody"


def test_observe_takes_its_configuration(tmp_path, monkeypatch):
    """With the secrets in place that the compose file gives it."""
    copy = tmp_path / "observe"
    shutil.copytree(FOLDER / "observe", copy)
    (tmp_path / "elastic_password").write_text("a password\n")
    text = (copy / "observe.yml").read_text(encoding="utf-8")
    (copy / "observe.yml").write_text(text.replace("/run/secrets", str(tmp_path)))
    given = SERVICES["observe"]["environment"]
    for name in given:
        monkeypatch.setenv(name, "0123456789abcdef" + name)

    tool(sys.executable, "-m", "observe", "check", "--config", copy / "observe.yml", "--only", "config")

    asked = set(re.findall(r"\$([A-Z_]+)", (copy / "tokens").read_text(encoding="utf-8")))
    assert asked == set(given)


def test_the_exporters_take_their_file(tmp_path):
    """Every source is somewhere else: they say so and answer."""
    text = (FOLDER / "exporters" / "exporters.yml").read_text(encoding="utf-8")
    file = tmp_path / "exporters.yml"
    shutil.copy(FOLDER / "exporters" / "business.yml", tmp_path)
    file.write_text(text.replace("/etc/observe", str(tmp_path)))

    page = tool(sys.executable, "-m", "observe", "export", "several", file, "--once")

    collectors = {line.partition("{")[2] for line in page.splitlines() if line.startswith("exporter_success")}
    assert {'collector="redis"} 0', 'collector="rabbitmq"} 0', 'collector="business_orders"} 0'} <= collectors


def test_every_address_that_is_named_is_served():
    """``SERVICE:PORT`` in any configuration and command: the service listens there."""
    texts = {path.relative_to(FOLDER): path.read_text(encoding="utf-8") for path in CONFIGS}
    texts[Path("docker-compose.yml")] = yaml.safe_dump(SERVICES)
    found = {(str(path), service, int(port)) for path, text in texts.items()
             for service, port in re.findall(r"(?<![\w.-])([a-z]+):(\d{4,5})(?![\d:])", text) if service in SERVICES}

    assert {one for one in found if one[2] not in ports_of(one[1])} == set()
    assert {service for _, service, _ in found} == set(SERVICES) - {"load", "shop", "gpu", "filebeat"}
    gpu = JOBS["gpu"]["dns_sd_configs"][0]
    assert (gpu["names"], {gpu["port"]}) == (["gpu"], ports_of("gpu"))


def test_each_exporter_is_a_job_of_its_own_name_and_page():
    """Boards and rules choose by `job`."""
    served = {next(iter(one)) for one in config("exporters/exporters.yml")["exporters"]}
    asked = {name: job["metrics_path"] for name, job in JOBS.items() if "metrics_path" in job}

    assert asked == {name: f"/metrics/{name}" for name in served}
    assert served | {"gpu", "jvm", "python_runtime"} == set(names())


def test_observe_looks_back_one_scrape_interval():
    observe = config("observe/observe.yml")

    assert "query_offset" not in observe["attach"]["prometheus"], "the default: one scrape interval"
    assert "scrape" not in observe, "whose default is 15s"
    assert parse_duration_ms(PROMETHEUS["global"]["scrape_interval"]) == 15_000
    grafana = config("grafana/provisioning/datasources/observe.yml")["datasources"]
    assert [one["jsonData"]["timeInterval"] for one in grafana if one["type"] == "prometheus"] == ["15s"]


@pytest.mark.parametrize(("service", "path"), [
    ("observe", "/etc/observe/observe.yml"), ("observe", "/etc/observe/tokens"),
    ("exporters", "/etc/observe/exporters.yml"), ("exporters", "/etc/observe/business.yml"),
    ("prometheus", "/etc/prometheus/prometheus.yml"), ("prometheus", "/etc/prometheus/rules/observe.yml"),
    ("alertmanager", "/etc/alertmanager/alertmanager.yml"), ("filebeat", "/usr/share/filebeat/filebeat.yml"),
    ("redis", "/usr/local/etc/redis/redis.conf"), ("grafana", "/etc/grafana/provisioning/datasources/observe.yml"),
])
def test_what_a_container_is_told_to_read_is_mounted_there(service, path):
    assert inside(service, path) is not None
    assert inside(service, path).is_file()


class TestGrafana:
    DATA_SOURCES = config("grafana/provisioning/datasources/observe.yml")["datasources"]

    def test_the_boards_are_where_its_provider_looks(self):
        (provider,) = config("grafana/provisioning/dashboards/observe.yml")["providers"]

        assert inside("grafana", provider["options"]["path"]) == generated_folder(SOURCES).resolve()

    @pytest.mark.parametrize("board", sorted(generated_folder(SOURCES).glob("*.json")), ids=lambda path: path.stem)
    def test_every_data_source_that_a_board_asks_for_is_there(self, board):
        """A board chooses by a variable of a type; a fixed uid must be one of ours."""
        text = board.read_text(encoding="utf-8")
        types = {one["type"] for one in self.DATA_SOURCES}
        variables = {one["name"]: one["query"] for one in json.loads(text)["templating"]["list"]
                     if one["type"] == "datasource"}

        assert variables
        assert set(variables.values()) <= types
        asked = re.findall(r'"uid":\s*"\$\{(\w+)\}"', text)
        assert set(asked) <= set(variables)
        fixed = set(re.findall(r'"datasource":\s*\{[^}]*"uid":\s*"([^"$]+)"', text)) - {"-- Grafana --"}
        assert fixed <= {one["uid"] for one in self.DATA_SOURCES}

    def test_exactly_one_source_is_the_default_and_uids_are_unique(self):
        assert [one["uid"] for one in self.DATA_SOURCES if one.get("isDefault")] == ["observe-prometheus"]
        assert len({one["uid"] for one in self.DATA_SOURCES}) == len(self.DATA_SOURCES)

    @pytest.mark.parametrize("kind", ["logs", "spans"])
    def test_the_index_pattern_is_the_name_of_the_days_index(self, kind):
        (source,) = [one for one in self.DATA_SOURCES if one["uid"] == f"observe-{kind}"]
        fixed, pattern = source["jsonData"]["index"][1:].split("]")
        day_ms = 1_795_219_200_000  # 2026-11-21
        prefix = config("observe/observe.yml")["attach"]["elasticsearch"].get("index_prefix", "observe")

        assert (source["type"], pattern) == ("elasticsearch", "YYYY.MM.DD")
        assert index_name(prefix, kind, day_ms * 1_000_000, day_ms) == f"{fixed}2026.11.21"

    def test_a_variable_that_its_files_read_is_given(self):
        text = "".join(path.read_text(encoding="utf-8") for path in (FOLDER / "grafana").rglob("*.yml"))

        assert set(re.findall(r"(?<!\$)\$([A-Z_]+)", text)) <= set(SERVICES["grafana"]["environment"])


class TestFilebeat:
    """No Filebeat runs in the tests: its keys are held against those that its reference names."""

    FILE = config("filebeat/filebeat.yml")
    KNOWN = frozenset((
        "filebeat.inputs", "output.file", "queue.mem", "logging.level", "setup.template.enabled", "setup.ilm.enabled",
    ))
    INPUT = frozenset(("type", "id", "paths", "prospector.scanner.check_interval", "file_identity.native"))
    OUTPUT = frozenset((
        "path", "filename", "rotate_every_kb", "number_of_files", "rotate_on_startup", "permissions",
        "codec.format.string",
    ))

    def test_its_keys_are_known(self):
        (source,) = self.FILE["filebeat.inputs"]

        assert set(self.FILE) == self.KNOWN
        assert set(source) == self.INPUT
        assert set(self.FILE["output.file"]) == self.OUTPUT

    def test_it_reads_what_the_demo_writes_and_observe_follows_what_it_writes(self):
        (source,) = self.FILE["filebeat.inputs"]
        written = SERVICES["demo"]["command"][SERVICES["demo"]["command"].index("--log") + 1]
        (followed,) = config("observe/observe.yml")["logs"]["files"]
        output = self.FILE["output.file"]

        assert source["paths"] == [f"{written}*"]
        assert followed["path"] == f"{output['path']}/{output['filename']}-*.ndjson"
        for one, other, folder in (("demo", "filebeat", "/var/log/demo"), ("filebeat", "observe", output["path"])):
            assert mounts(one)[folder] == mounts(other)[folder]
        assert self.FILE["output.file"]["permissions"] == 0o644, "observe is another user"
