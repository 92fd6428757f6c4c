"""What every exporter keeps, found by discovery: a new one is tested the moment it exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from observe.errors import UsageError
from observe.exporters import create, names
from observe.exporters.page import Metric
from observe.exporters.registry import Registration, registrations
from tests.exporters.golden import HERE
from tests.real.process import require

# How to take an exporter's source away. None: its source is the process itself.
WITHOUT_SOURCE: dict[str, dict[str, str] | None] = {
    "business": {"config": str(HERE / "business" / "unreachable.yml")},
    "gpu": {},
    "host": {"root": "/nonexistent"},
    "inference": {"targets": "http://127.0.0.1:1"},
    "jvm": {"tmp": "/nonexistent", "gc-logs": "/nonexistent/gc.log"},
    "python_runtime": None,
    "rabbitmq": {"url": "http://127.0.0.1:1", "prometheus-url": "http://127.0.0.1:1"},
    "redis": {"url": "redis://127.0.0.1:1/0"},
}
UNITS = {"seconds", "bytes", "ratio", "celsius", "watts", "joules", "hertz", "volts"}
EACH = [pytest.param(one, id=one.name) for one in registrations()]


def _metrics(found: Registration) -> list[Metric]:
    with create(found.name, WITHOUT_SOURCE[found.name]) as exporter:
        return [metric for collector in exporter.collectors for metric in collector.metrics]


@pytest.mark.parametrize("found", EACH)
def test_a_missing_source_is_success_0_and_a_good_page(found):
    options = WITHOUT_SOURCE[found.name]
    text = create(found.name, options).exposition().decode()

    families = {family.name: family for family in text_string_to_metric_families(text)}
    expected = {1.0} if options is None else {0.0}
    assert {sample.value for sample in families["exporter_success"].samples} == expected
    assert all(sample.value >= 0 for sample in families["exporter_duration_seconds"].samples)


@pytest.mark.parametrize("found", EACH)
def test_names_say_kind_and_unit_and_help_says_what(found):
    wrong = [
        metric.name for metric in _metrics(found)
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", metric.name)
        or (metric.kind == "counter") != metric.name.endswith("_total")
        or (metric.unit and (metric.unit not in UNITS or metric.unit not in metric.name.split("_")))
        or not re.fullmatch(r"\S.*\.", metric.help)
        or {"le", "job", "instance", "__name__"} & set(metric.labels)
    ]
    assert wrong == []


@pytest.mark.parametrize("found", EACH)
def test_every_option_is_explained_and_an_unknown_one_is_refused(found):
    assert [option.name for option in found.options if not option.help] == []
    with pytest.raises(UsageError, match=f"exporter {found.name} has no option 'no-such'; known are: "):
        create(found.name, {"no-such": "1"})


@pytest.mark.parametrize("found", EACH)
def test_every_exporter_has_a_page_with_all_its_metrics_and_options(found):
    page = (HERE.parents[1] / "docs" / "exporters" / f"{found.name}.md").read_text(encoding="utf-8")
    words = [metric.name for metric in _metrics(found)] + [f"--{option.name}" for option in found.options]

    assert [word for word in words if f"`{word}" not in page] == []


@pytest.mark.parametrize("found", EACH)
def test_every_metric_stands_in_a_golden(found):
    """So a rule or a board that asks for a name can be checked against the goldens."""
    goldens = "".join(path.read_text(encoding="utf-8") for path in (HERE / found.name).rglob("metrics.txt"))
    in_goldens = set(re.findall(r"^# TYPE (\S+)", goldens, re.MULTILINE))

    assert [metric.name for metric in _metrics(found) if metric.name not in in_goldens] == []


@pytest.mark.parametrize("golden", sorted(HERE.rglob("metrics.txt")), ids=lambda path: "-".join(path.parts[-3:-1]))
def test_our_names_pass_the_real_promtool(golden):
    promtool = require("promtool")
    result = subprocess.run([promtool, "check", "metrics"], input=golden.read_bytes(), capture_output=True, check=False)

    foreign = re.compile(r"node_|DCGM_")  # opt-in names of others, as they chose them
    complaints = [line for line in result.stderr.decode().splitlines() if not foreign.match(line)]
    assert complaints == []


@pytest.mark.parametrize("found", EACH)
def test_an_exporter_alone_loads_nothing_heavy(found):
    code = (
        f"import sys, observe.exporters.{found.name}; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'numpy', 'numba', 'pandas', 'fastapi', 'sqlalchemy', 'redis', 'jmespath', 'pynvml', 'duckdb', 'pydantic'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())

    assert out.stdout.strip() == ""


def test_an_unknown_exporter_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match=f"there is no exporter 'kafak'; known are: {', '.join(names())}"):
        create("kafak")
