"""The server about itself: targets, rules, alerts and why, readiness, reload, the list of its routes."""

import json
from dataclasses import replace

import httpx
import pytest

from observe.errors import ConfigError, Problem
from observe.model import Alert, AlertState, Labels, Reason
from observe.protocols import OddSeries, PageState, PageStatus, RuleStatus, TargetHealth
from observe.show.problems import dump
from observe.show.web import build_metrics_web, build_web
from tests.show.api.client import ask, client
from tests.show.world import NOW_MS

pytestmark = pytest.mark.anyio


async def test_targets_are_shown_with_their_health(context):
    down = TargetHealth(
        "host", "http://h:9100/metrics", Labels({"job": "host", "instance": "h:9100"}), False, NOW_MS, 0.5, "refused",
        interval_ms=90_000, timeout_ms=10_000, discovered=Labels({"__address__": "h:9100", "__scheme__": "http"}),
    )
    answer = await ask(replace(context, targets=lambda: [down]), "/api/v1/targets")

    (target,) = answer.json()["data"]["activeTargets"]
    expected = ("down", "refused", "2025-11-21T04:00:00.000Z")
    assert expected == (target["health"], target["lastError"], target["lastScrape"])
    assert ("1m30s", "10s") == (target["scrapeInterval"], target["scrapeTimeout"])
    assert {"__address__": "h:9100", "__scheme__": "http"} == target["discoveredLabels"]


async def test_ready_healthy_reload_and_metrics(context):
    waiting = replace(context, ready=lambda: (False, "the write-ahead log is replayed (40 %)"))

    async with client(waiting) as http:
        ready, healthy = await http.get("/-/ready"), await http.get("/-/healthy")
        reload, metrics = await http.post("/-/reload"), await http.get("/metrics")

    assert (503, "observe is starting: the write-ahead log is replayed (40 %)\n") == (ready.status_code, ready.text)
    assert (200, 200) == (healthy.status_code, reload.status_code)
    assert 'observe_http_requests_total{code="503",handler="/-/ready",method="GET"} 1.0' in metrics.text


async def test_a_bad_configuration_keeps_the_old_one(context):
    def reload():
        where = "observe.yml"
        raise ConfigError([Problem("unknown key `treshold`", where, 3), Problem("no targets", where, 9)])

    answer = await ask(replace(context, reload=reload), "/-/reload", "POST")

    assert 400 == answer.status_code
    assert "observe.yml:3: unknown key" in answer.text
    assert "observe.yml:9: no targets" in answer.text


async def test_the_metrics_application_alone_has_the_same_answers(context):
    whole, alone = build_web(context), build_metrics_web(context)
    answers = []
    for app in (whole, alone):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
            answers.append(((await http.get("/api/v1/query?query=up")).content, (await http.get("/x")).content))

    assert answers[0] == answers[1]


async def test_openapi_documents_every_route(context):
    app = build_web(context)
    schema = app.openapi()

    missing = {
        (route.path, method.lower())
        for route in app.routes
        if getattr(route, "path", "/openapi.json") != "/openapi.json"
        for method in route.methods - {"HEAD", "PUT"}
    } - {
        (path.replace("{name}", "{name:path}"), method) for path, found in schema["paths"].items() for method in found
    }
    assert set() == missing
    assert json.dumps(schema)


async def test_explain_tells_why_a_band_is_where_it_is(world, context):
    labels = Labels({"service": "web"})
    world.book.odd_list = [OddSeries("Slow", labels, 9.0, 4.0, 3.0, 5.0, 2.0, NOW_MS)]

    async with client(context) as http:
        found = (await http.get("/api/v1/explain", params={"rule": "Slow", "service": "web"})).json()
        other = (await http.get("/api/v1/explain", params={"rule": "Slow", "service": "db"})).json()
        wrong = await http.get("/api/v1/explain")

    assert [{"labels": {"service": "web"}, "words": ["Expected is 4.0."]}] == found["data"]
    assert [] == other["data"]
    assert 400 == wrong.status_code


async def test_an_alert_says_who_was_told_or_why_nobody_was(world, context):
    labels = Labels({"alertname": "Down"})
    alert = Alert(labels, {}, AlertState.FIRING, NOW_MS, None, NOW_MS, Reason.CONDITION_MET, "g/Down", "up == 0", 0.0)
    world.book.rule_list = [
        RuleStatus("g", "f.yml", "Down", "alerting", "up == 0", 15_000, Labels(), {}, alerts=(alert,))]
    world.desk.standing = [PageStatus("hook", PageState.RETRYING, "attempt 2 failed: 503", NOW_MS)]

    (told,) = (await ask(context, "/api/v1/alerts")).json()["data"]["alerts"]

    assert "firing" == told["state"]
    (page,) = told["pages"]
    assert ("hook", "retrying", "attempt 2 failed: 503") == (page["receiver"], page["state"], page["detail"])
    assert page["at"].endswith("Z")


async def test_an_alert_that_is_only_kept_on_says_since_when_as_prometheus_does(world, context):
    alert = Alert(Labels({"alertname": "Down"}), {}, AlertState.FIRING, NOW_MS, None, NOW_MS, Reason.CONDITION_MET,
                  "g/Down", "up == 0", 0.0)
    kept = replace(alert, labels=Labels({"alertname": "Kept"}), clear_since_ms=NOW_MS)
    world.book.rule_list = [
        RuleStatus("g", "f.yml", "Down", "alerting", "up == 0", 15_000, Labels(), {}, alerts=(alert, kept))]

    told = (await ask(context, "/api/v1/alerts")).json()["data"]["alerts"]

    assert [False, True] == ["keepFiringSince" in one for one in told]
    assert told[1]["activeAt"] == told[1]["keepFiringSince"]


async def test_explain_says_numbers_with_the_unit_of_the_rule(world, context):
    class Band:
        """`ExplainedBand` with one number in it."""

        labels = Labels({"service": "web"})

        def told(self, say):
            return (f"Expected is {say(0.0421)}.",)

    world.book.explain = lambda rule, labels, limit: [Band()]
    expr = "histogram_quantile(0.95, sum by (le) (rate(request_seconds_bucket[2m])))"
    world.book.rule_list = [RuleStatus("g", "f.yml", "Slow", "alerting", expr, 15_000, Labels(), {})]

    for rule, said in (("g/Slow", "Expected is 42.1\u00a0ms."), ("gone", "Expected is 0.0421.")):
        answer = await ask(context, "/api/v1/explain", params={"rule": rule})
        assert [said] == answer.json()["data"][0]["words"]


def rule(group, name, **labels):
    return RuleStatus(group, "f.yml", name, "alerting", "up == 0", 15_000, Labels(labels), {}, limit=7)


async def test_rules_are_chosen_by_the_labels_they_give(world, context):
    world.book.rule_list = [rule("a", "Down", severity="page"), rule("a", "Slow", severity="warning"), rule("b", "Odd")]

    found = {}
    for chosen in ('{severity="page"}', '{severity=~".+"}'):
        answer = await ask(context, "/api/v1/rules", params={"match[]": chosen})
        found[chosen] = [one["name"] for group in answer.json()["data"]["groups"] for one in group["rules"]]

    assert {'{severity="page"}': ["Down"], '{severity=~".+"}': ["Down", "Slow"]} == found


async def test_groups_of_rules_come_page_by_page_with_their_limit(world, context):
    world.book.rule_list = [rule(name, name.upper()) for name in "abcde"]

    pages, token = [], ""
    while not pages or token:
        params = {"group_limit": "2", **({"group_next_token": token} if token else {})}
        told = (await ask(context, "/api/v1/rules", params=params)).json()["data"]
        pages.append([group["name"] for group in told["groups"]])
        token = told.get("groupNextToken", "")

    assert [["a", "b"], ["c", "d"], ["e"]] == pages
    assert {7} == {group["limit"] for group in told["groups"]}


async def test_a_job_whose_targets_are_all_dropped_is_a_scrape_pool_too(context):
    kept = TargetHealth("host", "http://h:9100/metrics", Labels({"job": "host"}), True, NOW_MS, 0.1, "")
    told = replace(context, targets=lambda: [kept], dropped_targets=lambda: [("empty", Labels({"__address__": "x"}))])

    answer = await ask(told, "/api/v1/scrape_pools")

    assert ["empty", "host"] == answer.json()["data"]["scrapePools"]


async def test_the_log_was_replayed_before_anybody_could_ask(context):
    answer = await ask(context, "/api/v1/status/walreplay")

    assert {"min": 0, "max": 0, "current": 0} == answer.json()["data"]


async def test_tables_of_the_store_are_as_long_as_asked(written):
    context = replace(written.context, stats=written.store.stats)

    all_rows, one = [(await ask(context, f"/api/v1/status/tsdb{query}")).json()["data"] for query in ("", "?limit=1")]

    assert len(all_rows["labelValueCountByLabelName"]) > 1
    assert all_rows["labelValueCountByLabelName"][:1] == one["labelValueCountByLabelName"]


@pytest.mark.parametrize(("body", "text"), [
    ({"v": float("nan"), "n": 2**70}, b'{"v":null,"n":1180591620717411303424}'),
    ({"v": [float("inf"), {"w": float("-inf")}], "n": 2**70}, b'{"v":[null,{"w":null}],"n":1180591620717411303424}'),
    ({"v": "\ud800", "w": float("nan")}, b'{"v":"?","w":null}'),
], ids=["NaN", "infinity, deep", "half a character"])
def test_json_has_null_for_numbers_that_it_has_not_also_on_the_slow_way(body, text):
    assert text == dump(body)
