"""The whole chain on metrics servers that a team already has: the same incident, judged on their data."""

import json
import urllib.parse

import pytest

from observe.testing import WebhookSink
from tests.e2e.product import QUICK, Product, quick_rules
from tests.e2e.test_incident import baselines_ready, check_page, latency_pages
from tests.real.metrics_servers import prometheus, victoria_metrics
from tests.real.process import http_get, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.calm, pytest.mark.real, pytest.mark.timeout(1500)]


@pytest.mark.parametrize("start", [prometheus, victoria_metrics], ids=["prometheus", "victoria-metrics"])
def test_an_incident_on_an_attached_metrics_server(tmp_path, start):
    folder = tmp_path / "server"
    folder.mkdir()
    server, url = start(folder)
    config = tmp_path / "observe.yml"
    config.write_text(
        f"{QUICK}rules: [{quick_rules(tmp_path)}]\nattach:\n  prometheus:\n    url: {url}\n    query_offset: 3s\n",
    )

    def asked(expr: str) -> list[dict[str, str]]:
        """As a Grafana on that server would."""
        told = json.loads(http_get(f"{url}/api/v1/query?query=" + urllib.parse.quote(expr)))
        return [row["metric"] for row in told["data"]["result"]]

    with server, WebhookSink() as sink, Product(
        tmp_path / "data", "--demo", "--no-incident", "--webhook", sink.url, "--config", config,
    ) as product:
        wait_until(lambda: baselines_ready(product), "the baselines of the latency rule, in calm", 150)
        assert latency_pages(sink, "firing") == []
        product.fault("slow_decode", 900)
        alert, _ = wait_until(lambda: latency_pages(sink, "firing"), "a page about latency", 90)[0]
        check_page(product, alert)
        # Written back by remote write, which is not waited for by the page.
        upper = 'observe_band_upper{rule="inference/LatencyOutsideBand",endpoint="/generate"}'
        band = wait_until(lambda: asked(upper), "the band on the attached server", 60)
        assert [(one["service"], one["endpoint"]) for one in band] == [("gateway", "/generate")]
        firing = 'ALERTS{alertname="LatencyOutsideBand",alertstate="firing"}'
        wait_until(lambda: asked(firing), "the firing alert on the attached server", 60)
        wait_until(lambda: asked("up"), "what observe scrapes, on the attached server", 60)
        product.end_fault("slow_decode")
        wait_until(lambda: latency_pages(sink, "resolved"), "the end of the alert", 150)
        assert product.interrupt() == 0, "\n".join(product.lines)
