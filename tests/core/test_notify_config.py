"""Routes, receivers and inhibitions in observe.yml: written as in alertmanager.yml, wrong names told all at once."""

import pytest
import yaml

from observe.config import load
from observe.errors import ConfigError
from observe.model import Labels, Matcher
from observe.notify.routes import legs
from observe.notify.settings import DEFAULT_INHIBITIONS, Inhibition
from observe.settings import notify_settings, shown

TEXT = """\
notify:
  dead_man: snitch
  webhooks:
    - {name: snitch, url: "https://snitch.example/s3cret"}
  receivers:
    - name: everyone
      webhook_configs:
        - {url: "https://chat.example/s3cret", max_alerts: 20, timeout: 5s}
    - name: ml
      webhook_configs:
        - {url: "https://pager.example/ml", send_resolved: false}
        - {url: "https://chat.example/ml", headers: {Authorization: s3cret}}
  route:
    receiver: everyone
    group_by: [service]
    group_wait: 0s
    repeat_interval: 12h
    routes:
      - matchers: ['team="ml"', 'severity=~"critical|warning"']
        receiver: ml
        group_by: ["..."]
        continue: true
        routes:
          - {matchers: ['severity="warning"'], group_interval: 10m}
      - {matchers: ['team="ml"'], receiver: everyone}
  inhibit_rules:
    - {source_matchers: ['alertname="Down"'], target_matchers: ['alertname!="Down"'], equal: [service]}
  resolve_timeout: 2m
  max_groups: 7
  max_alerts: 9
"""


def loaded(tmp_path, text):
    path = tmp_path / "observe.yml"
    path.write_text(text)
    return load(path)


def went(settings, **labels):
    """(receiver, group_by, wait, interval, repeat) of each message that an alert with these labels is for."""
    return [(leg.receiver, leg.group_by, leg.group_wait_ms, leg.group_interval_ms, leg.repeat_interval_ms)
            for leg in legs(settings, Labels({"alertname": "X", **labels}))]


def test_routes_are_walked_as_alertmanager_walks_them(tmp_path):
    settings = notify_settings(loaded(tmp_path, TEXT))
    half_a_day = 12 * 3_600_000

    assert [("everyone", ("service",), 0, 60_000, half_a_day)] == went(settings, team="web")
    assert [
        ("ml", ("...",), 0, 60_000, half_a_day), ("ml/2", ("...",), 0, 60_000, half_a_day),
        ("everyone", ("service",), 0, 60_000, half_a_day),
    ] == went(settings, team="ml", severity="critical")
    assert [600_000, 600_000, 60_000] == [leg[3] for leg in went(settings, team="ml", severity="warning")]
    assert [("everyone", ("service",), 0, 60_000, half_a_day)] == went(settings, team="ml", severity="info")


def test_receivers_inhibitions_and_limits_are_taken_over(tmp_path):
    settings = notify_settings(loaded(tmp_path, TEXT))

    assert [("snitch", 100, 10.0, True), ("everyone", 20, 5.0, True), ("ml", 100, 10.0, False),
            ("ml/2", 100, 10.0, True)] == [
        (one.name, one.max_alerts, one.timeout_s, one.send_resolved) for one in settings.receivers]
    assert (Inhibition((Matcher("alertname", "=", "Down"),), (Matcher("alertname", "!=", "Down"),), ("service",)),
            ) == settings.inhibitions
    assert (120_000, 7, 9) == (settings.resolve_timeout_ms, settings.max_groups, settings.max_alerts)
    assert "snitch" == settings.dead_man_receiver


@pytest.mark.parametrize(("text", "expected"), [
    ("", DEFAULT_INHIBITIONS), ("notify: {inhibit_rules: []}\n", ()),
], ids=["not given", "given and empty"])
def test_inhibitions_are_the_default_until_they_are_given(tmp_path, text, expected):
    assert expected == notify_settings(loaded(tmp_path, text)).inhibitions


def test_secrets_of_receivers_are_not_shown(tmp_path):
    told = yaml.safe_dump(shown(loaded(tmp_path, TEXT)))

    assert "s3cret" not in told
    assert "https://chat.example/***" in told


WRONG = """\
notify:
  dead_man: nobody
  webhooks:
    - {name: team, url: "https://a.example/"}
  receivers:
    - {name: team, webhook_configs: [{url: "https://b.example/"}]}
    - {name: empty, webhook_configs: []}
  route:
    receiver: gone
    match: {a: b}
    group_by: ["...", service]
    routes:
      - {matchers: ['severity=critical', 'x=~"("', '9'], receiver: away}
      - {continue: 5, routes: [{receiver: far}]}
  inhibit_rules:
    - {source_matchers: [], target_matchers: ['a="b"']}
"""


def test_everything_that_is_wrong_is_told_at_once_where_it_is(tmp_path):
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, WRONG)

    found = [(problem.line, problem.what) for problem in raised.value.problems]
    assert [
        (2, "no receiver is called `nobody`"),
        (6, "two receivers are called `team`"),
        (7, "`notify.receivers.1.webhook_configs` is not valid"),
        (9, "no receiver is called `gone`"),
        (10, "unknown key `notify.route.match`"),
        (11, "`notify.route.group_by` is not valid"),
        (13, "`notify.route.routes.0.matchers.1` is not valid"),
        (13, "`notify.route.routes.0.matchers.2` is not valid"),
        (13, "no receiver is called `away`"),
        (14, "`notify.route.routes.1.continue` is not valid"),
        (14, "no receiver is called `far`"),
        (16, "`notify.inhibit_rules.0.source_matchers` is not valid"),
    ] == found
    said = str(raised.value)
    assert "there are: team, empty" in said
    assert "not a regular expression that RE2 takes" in said


def test_a_route_without_a_receiver_tells_everyone_but_the_dead_mans(tmp_path):
    text = """\
notify:
  dead_man: snitch
  webhooks: [{url: "https://a.example/"}, {url: "https://b.example/"}, {name: snitch, url: "https://c.example/"}]
  route: {routes: [{matchers: ['severity="info"'], receiver: webhook-2}]}
"""
    settings = notify_settings(loaded(tmp_path, text))

    assert ["webhook", "webhook-2"] == [leg[0] for leg in went(settings, severity="critical")]
    assert ["webhook-2"] == [leg[0] for leg in went(settings, severity="info")]
    assert ["snitch"] == [leg.receiver for leg in legs(settings, Labels({"alertname": "Watchdog"}))]
