"""The first page: the state in a sentence, what to do first, parts that fail alone."""

import html
import re
from dataclasses import replace

import pytest

from observe import config as configuration
from observe.errors import Unavailable
from observe.model import Labels
from observe.protocols import OddSeries, RuleStatus, TargetHealth
from observe.show.console.services import service_rows
from observe.telemetry import Telemetry
from tests.show.console import browser, read
from tests.show.incident_alerts import latency_alert
from tests.show.world import NOW_MS

pytestmark = pytest.mark.anyio


async def test_home_says_the_state_in_one_sentence(world):
    said = await read(world.context, "/")

    assert "2 alerts are firing, 1 series is odd, 12 of 14 targets are up, newest sample 3 s ago." in said
    assert "312 series are watched by bands; 280 have a baseline, the rest need 4 min more." in said
    assert "3.41 s 420–900 ms expected" in said
    assert "paged webhook" in said
    assert "redis 10.0.0.40:9121 is down: connection refused" in said


async def test_an_empty_server_says_what_to_do_first(quiet):
    said = await read(quiet.context, "/")

    assert "Nothing is firing. No target is configured yet." in said
    assert "No rules are loaded, so nothing can fire." in said
    assert "observe check --config observe.yml" in said


@pytest.mark.parametrize("rules", ["", "rules: [builtin, my-rules/*.yml]\n"])
async def test_what_an_empty_server_tells_to_write_is_a_configuration_that_works(quiet, tmp_path, rules):
    """What stands under "Start here" is what a newcomer copies, so it is loaded as observe.yml."""
    async with browser(quiet.context) as http:
        page = (await http.get("/")).text
    advice = html.unescape(page.partition("<pre>")[2].partition("</pre>")[0])
    assert not rules or rules.strip() in html.unescape(page)

    (tmp_path / "observe.yml").write_text(rules + advice)
    loaded = configuration.load(tmp_path / "observe.yml")

    assert ["gateway"] == [target.job for target in loaded.scrape.targets]


async def test_warming_up_is_told_with_the_time_it_takes(quiet):
    rule = RuleStatus(
        "g",
        "f.yml",
        "R",
        "alerting",
        "up",
        15_000,
        Labels(),
        {},
        band={"detector": "auto"},
        health="ok",
        series_total=10,
        series_ready=0,
        ready_in_ms=90_000,
    )
    quiet.book.rule_list = [rule]

    said = await read(quiet.context, "/")

    assert "10 series are watched by bands; none has a baseline yet, they need 1 min more." in said


@pytest.mark.parametrize("page", ["/", "/alerts", "/rules", "/targets", "/logs", "/traces"])
async def test_a_source_that_is_down_costs_its_part_not_the_page(quiet, page):
    def away(*_, **__):
        raise Unavailable("cannot reach http://elastic:9200: connection refused")

    class Away:
        def __getattr__(self, name):
            return away

    context = replace(quiet.context, alerts=Away(), signals=Away(), targets=away)

    said = await read(context, page)

    assert "This part could not be read: cannot reach http://elastic:9200: connection refused" in said


async def test_a_bug_in_one_part_is_named_without_its_insides(quiet):
    def broken():
        raise ZeroDivisionError("secret")

    telemetry = Telemetry()
    said = await read(replace(quiet.context, targets=broken, telemetry=telemetry), "/")

    assert "unexpected ZeroDivisionError" in said
    assert "secret" not in said
    assert 'observe_dropped_total{reason="part of a page",stage="show"}' in telemetry.exposition().decode()


async def test_the_time_line_of_thousands_of_alerts_draws_no_more_than_can_be_told_apart(quiet):
    alerts = tuple(
        latency_alert(labels=Labels({"alertname": "R", "service": f"s{i}"}), starts_at_ms=NOW_MS - i * 1000)
        for i in range(3000)
    )
    quiet.book.rule_list = [RuleStatus("g", "f.yml", "R", "alerting", "up", 15_000, Labels(), {}, alerts=alerts)]
    async with browser(quiet.context) as http:
        page = (await http.get("/")).text

    assert 2 == page.count('class="episode on"')  # one bar, drawn for wide and for narrow screens
    assert "and more</title>" in page
    assert 300_000 > len(page)


@pytest.mark.parametrize(("age_s", "interval_s", "late"), [
    (3, 15, False), (59, 15, False), (61, 15, True), (29, 1, False), (31, 1, True), (299, 0, False), (301, 0, True),
])
async def test_targets_that_are_not_asked_any_more_are_told_although_the_last_scrape_was_fine(
    quiet, age_s, interval_s, late
):
    labels, last_ms = Labels({"job": "job", "instance": "t"}), NOW_MS - age_s * 1000
    target = TargetHealth("job", "http://t", labels, True, last_ms, 0.1, "", interval_ms=interval_s * 1000)
    context = replace(quiet.context, targets=lambda: [target])

    home = await read(context, "/")
    targets = await read(context, "/targets")

    assert late == ("1 target was not asked for too long: what stands here is old" in home)
    assert late == bool(re.search(r"\blate\b", targets))


async def test_home_leads_to_every_service_the_worst_first(world):
    said = await read(world.context, "/")
    async with browser(world.context) as http:
        page = (await http.get("/", params={"range": "6h"})).text

    assert "Services seen in this range gateway 2 firing cache worker" in said
    assert ["gateway", "cache", "worker"] == re.findall(r'href="/services/(\w+)\?range=6h"', page)


async def test_a_service_that_nobody_knows_is_told_with_those_there_are(world, quiet):
    said = await read(world.context, "/services/gatway")
    nothing = await read(quiet.context, "/services/gatway")

    assert "Nothing is known of gatway in this range." in said
    assert "Services there are cache gateway worker" in said
    assert "Nothing is known of gatway in this range." in nothing
    assert "Services there are" not in nothing


def test_services_are_ordered_by_what_is_wrong_with_them():
    def alert(service, severity):
        return latency_alert(labels=Labels({"alertname": "R", "service": service, "severity": severity}))

    firing = [alert("shop", "warning"), alert("shop", "warning"), alert("gateway", "critical")]
    odd = [OddSeries("g/R", Labels({"service": "queue"}), 1.0, 1.0, 0.5, 1.5, 2.0, NOW_MS)]

    assert [("gateway", "1 firing"), ("shop", "2 firing"), ("queue", "1 odd"), ("api", ""), ("web", "")] == [
        (row.name, row.says) for row in service_rows(["web", "api", "shop"], firing, odd)]


async def test_a_service_whose_name_has_a_slash_has_a_page(world):
    """Jobs of Kubernetes are called namespace/name."""
    said = await read(world.context, "/services/team%2Fgatway")

    assert "team/gatway" in said
    assert "There is nothing at" not in said
