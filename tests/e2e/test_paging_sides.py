"""One alert from rule to page, with receivers of observe's own and through a real Alertmanager: the same scenario."""

import json
import subprocess
import urllib.request
from contextlib import ExitStack

import pytest

from observe.cli import main
from observe.testing import WebhookSink
from tests.e2e.product import Product
from tests.real.process import RealProcess, free_port, http_ok, require, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.real, pytest.mark.timeout(900)]

RULES = """\
groups:
- name: always
  interval: 1s
  rules:
  - alert: AlwaysOn
    expr: vector(1) > 0
    labels: {severity: warning, service: demo}
    annotations: {summary: it is on, runbook_url: "{{ externalURL }}/runbooks/observe-notify"}
"""
PATIENCE_S = 60


def alertmanager(folder, hook):
    """A real Alertmanager of one, and its address."""
    binary = require("prometheus-alertmanager", "/usr/bin")
    (folder / "am.yml").write_text(
        "route: {receiver: team, group_by: [alertname], group_wait: 1s, group_interval: 2s}\n"
        f"receivers: [{{name: team, webhook_configs: [{{url: '{hook}'}}]}}]\n")
    url = f"http://127.0.0.1:{free_port()}"
    server = RealProcess("alertmanager", [
        binary, f"--config.file={folder / 'am.yml'}", f"--storage.path={folder / 'am'}",
        f"--web.listen-address={url.removeprefix('http://')}", "--cluster.listen-address="], folder)
    return server.wait_healthy(lambda: http_ok(f"{url}/-/ready"), PATIENCE_S), url


def opened(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.status, answer.read().decode()


def told(sink, **labels):
    """(message, alert) of each alert with these labels in what the receiver got."""
    return [(message, alert) for message in (request.json() for request in list(sink.received))
            for alert in message["alerts"] if labels.items() <= alert["labels"].items()]


@pytest.mark.parametrize("side", ["embedded", "attached"])
def test_an_alert_is_paged_looked_at_silenced_and_paged_again(tmp_path, side, capsys):
    (tmp_path / "rules.yml").write_text(RULES)
    config = tmp_path / "observe.yml"
    with ExitStack() as stack:
        sink = stack.enter_context(WebhookSink())
        text = "exporters: []\nrules: [rules.yml]\n"
        if side == "attached":
            server, url = alertmanager(tmp_path, sink.url)
            stack.enter_context(server)
            text += f"attach: {{alertmanager: {{urls: ['{url}']}}}}\n"
        else:
            text += (f"notify: {{webhooks: [{{name: team, url: '{sink.url}'}}], group_wait: 1s, group_interval: 2s,"
                     " group_by: [alertname]}\n")
        config.write_text(text)
        product = stack.enter_context(Product(tmp_path / "data", "--config", config))
        (message, alert) = wait_until(lambda: told(sink, alertname="AlwaysOn"), "the page", PATIENCE_S)[0]

        # What the page points to is there.
        assert ("4", "firing", "team") == (message["version"], message["status"], message["receiver"])
        assert ("it is on", "1") == (alert["annotations"]["summary"], alert["annotations"]["value"])
        status, page = opened(alert["generatorURL"])
        assert (200, True, True) == (status, "AlwaysOn" in page or "Always on" in page, "it is on" in page)
        assert 200 == opened(alert["annotations"]["runbook_url"])[0]
        if side == "embedded":
            assert (product.url, 200) == (message["externalURL"], opened(message["externalURL"])[0])

        def pages():
            (shown,) = product.alerts()
            return [(one["receiver"], one["state"]) for one in shown["pages"]]

        known = {"embedded": [("team", "told")], "attached": [("team", "handed over")]}[side]
        wait_until(lambda: pages() == known, "who was told", PATIENCE_S)

        # The test page arrives by the same way, and says so.
        assert 0 == main(["notify", "test", "--url", product.url]), capsys.readouterr()
        assert "delivered" in capsys.readouterr().out
        wait_until(lambda: told(sink, alertname="TestPage", test="true"), "the test page", PATIENCE_S)

        assert 0 == main(["notify", "test", "--config", str(config)]), capsys.readouterr()
        assert "delivered" in capsys.readouterr().out

        (there,) = product.get("/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
        assert there["url"] == (product.url if side == "embedded" else url) + "/api/v2/alerts"

        # Silences by observe's own command, and by amtool at observe's own address.
        assert 0 == main(["silence", "add", "alertname=AlwaysOn", "--url", product.url])
        made = capsys.readouterr().out.strip()
        wait_until(lambda: pages()[0] == ("", "silenced"), "it is silenced", PATIENCE_S)
        wait_until(lambda: "silenced" in opened(alert["generatorURL"])[1].lower(), "the console says so", PATIENCE_S)
        assert made in amtool(tmp_path, product, "silence", "query")
        assert 0 == main(["silence", "expire", made, "--url", product.url])
        wait_until(lambda: pages() == known, "it is told as before", PATIENCE_S)
        listed = json.loads(amtool(tmp_path, product, "alert", "query", "-o", "json", "alertname=AlwaysOn"))
        assert ["active"] == [one["status"]["state"] for one in listed]
        assert 0 == product.interrupt(), "\n".join(product.lines)


def amtool(folder, product, *words):
    done = subprocess.run(
        [require("amtool"), f"--alertmanager.url={product.url}", *words], capture_output=True, text=True, check=False,
        timeout=300, env={"HOME": str(folder), "PATH": "/usr/bin:/bin:/usr/local/bin"})
    assert 0 == done.returncode, done.stderr
    return done.stdout
