"""Real clients of Prometheus' API against ours: promtool asks, a Prometheus federates our bands."""

import json
import os
import shutil
import subprocess
import urllib.parse
from dataclasses import replace

import pytest

from observe.clock import SystemClock
from observe.model import Labels
from observe.show.web import build_web
from tests.real.process import RealProcess, free_port, http_get, wait_until
from tests.real.served import served
from tests.show.world import empty_world

PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        (PROMTOOL is None or PROMETHEUS is None) and not os.environ.get("CI"),
        reason="prometheus is not on this machine",
    ),
]


@pytest.fixture
def live(tmp_path):
    """A server with samples of the last minutes of real time: its clients have clocks of their own."""
    world = empty_world(tmp_path / "world")
    now_ms = SystemClock().now_ms()
    world.add(Labels({"__name__": "up", "job": "gateway"}), [1.0] * 20, end_ms=now_ms)
    world.add(Labels({"__name__": "observe_band_upper", "rule": "g/R", "service": "s"}), [2.5] * 20, end_ms=now_ms)
    with served(build_web(replace(world.context, clock=SystemClock()))) as url:
        yield url
    world.close()


def promtool(*words):
    done = subprocess.run([PROMTOOL, "query", *words], capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout, done.stderr


def test_promtool_reads_our_answers(live):
    code, out, err = promtool("instant", "-o", "json", live, "sum by (job) (up)")
    assert (0, "") == (code, err)
    assert ({"job": "gateway"}, "1") == (json.loads(out)[0]["metric"], json.loads(out)[0]["value"][1])

    code, out, err = promtool("range", "--step=15s", live, "up")
    assert (0, "") == (code, err)
    assert 'up{job="gateway"}' in out

    code, out, err = promtool("series", "--match=up", live)
    assert (0, "") == (code, err)
    assert '{__name__="up", job="gateway"}' in out

    code, out, err = promtool("labels", live, "job")
    assert (0, "gateway") == (code, out.strip())


def test_promtool_understands_our_errors(live):
    code, _, err = promtool("instant", live, "sum(")

    assert 1 == code
    assert "bad_data" in err


def test_a_prometheus_federates_the_bands(live, tmp_path):
    """A plain Prometheus can alert on our bands: names, labels, values and times arrive as they are."""
    port = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [
                    {
                        "job_name": "observe",
                        "metrics_path": "/federate",
                        "honor_labels": True,
                        "params": {"match[]": ['{__name__=~"observe_band_.*"}']},
                        "static_configs": [{"targets": [live.removeprefix("http://")]}],
                    }
                ],
            }
        )
    )
    asked = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": "observe_band_upper"})
    with RealProcess("prometheus", [
        PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ], tmp_path):
        (one,) = wait_until(lambda: json.loads(http_get(asked))["data"]["result"], "the band is federated", 60)

    assert "2.5" == one["value"][1]
    assert {"__name__": "observe_band_upper", "rule": "g/R", "service": "s", "job": "observe"}.items() <= one[
        "metric"
    ].items()
