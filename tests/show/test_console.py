"""The console over HTTP: every page in every state, links that keep the range, silences, the search field."""

import html
import re
from dataclasses import replace

import httpx
import pytest

from observe import config as configuration
from observe.errors import StorageError, Unavailable
from observe.model import AlertState, Labels, Reason, Span
from observe.protocols import PageState, PageStatus, RuleStatus, TargetHealth
from observe.show.console.alert_evidence import requests_of
from observe.show.console.page import Range
from observe.show.context import BoardFile, ShowSettings
from observe.show.web import build_web
from tests.show.world import NOW_MS, MemoryDesk, empty_world, incident, latency_alert, silence_for, trace_id_of

pytestmark = pytest.mark.anyio

PAGES = ("/", "/alerts", "/logs", "/traces", "/explore", "/boards", "/rules", "/targets", "/docs", "/login")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = incident(tmp_path_factory.mktemp("incident"))
    yield world
    world.close()


@pytest.fixture(scope="module")
def nothing_stored(tmp_path_factory):
    world = empty_world(tmp_path_factory.mktemp("empty"))
    yield world
    world.close()


@pytest.fixture
def quiet(nothing_stored):
    return nothing_stored.renewed()


def browser(context):
    app = build_web(context)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def read(context, path, status=200, **params):
    async with browser(context) as http:
        answer = await http.get(path, params=params or None)
    assert status == answer.status_code, answer.text
    return words_of(answer.text)


def words_of(page):
    """What a person reads: the text of the main part, entities and tags resolved, spaces joined."""
    main = page.partition("<main")[2]
    text = re.sub(r"<(script|style|svg)\b.*?</\1>", " ", main, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


# ---------------------------------------------------------------- home


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

    said = await read(replace(quiet.context, targets=broken), "/")

    assert "unexpected ZeroDivisionError" in said
    assert "secret" not in said


# ---------------------------------------------------------------- alerts


async def test_an_alert_page_tells_what_why_who_and_shows_the_evidence(world):
    said = await read(world.context, f"/alerts/{latency_alert().fingerprint}")

    for words in (
        "Latency of gateway /generate is far above what is normal now",
        "Firing for 4 min. It is 3.41 s; 420–900 ms is expected.",
        "At least 3 of 5 points were outside the band.",
        "It held for 1 min before anyone was paged. At 04:00:00 UTC the value was 3.41 s, outside its band",
        "What is normal for it Its level of the last days is 640 ms",
        "and under 132 ms ( min_rel ) nobody is woken. It stands on 40320 points over 7d.",
        "the budget: 1 page a week is allowed",
        "mail is not reached. Next try 04:00:25 , in 25 s attempt 3 failed: connection refused by mail.example:25",
        "webhook was told at 03:56:05 , 3 min ago",
        "mail first notification not delivered connection refused by mail.example:25 · 3 attempts",
        "s in decode on worker-2",
        "upstream worker-* timed out after * ms",
        "QueueFilling gateway, 2 min",
        "deploy gateway 1.8.2",
        "for 16 min, recovered",
    ):
        assert words in said, words


def test_many_quicker_failures_do_not_hide_the_slow_requests_of_a_slow_service(tmp_path):
    world = empty_world(tmp_path)
    at = (NOW_MS - 60_000) * 1_000_000
    quick = [
        Span(trace_id_of(n), f"{n + 1:016x}", None, "POST /generate", "gateway", "server", at, at + 15 * 10**8, "error",
             "", {"http.route": "/generate"})
        for n in range(60)
    ]
    slow = replace(quick[0], trace_id=trace_id_of(99), end_ns=at + 3_300_000_000, status="ok")
    world.signals.append([], [*quick, slow])
    assert world.signals.wait_indexed(30)
    alert = latency_alert()
    world.book.rule_list = [RuleStatus("gateway", "f.yml", "GatewayLatencyOutsideBand", "alerting", alert.expr, 15_000,
                                       Labels(), {})]

    found = requests_of(world.context, alert, Range(NOW_MS - 600_000, NOW_MS))
    world.close()

    assert trace_id_of(99) == found[0].summary.trace_id


S_AGO, S_AHEAD = NOW_MS - 30_000, NOW_MS + 30_000


@pytest.mark.parametrize(("standing", "words"), [
    (PageStatus("", PageState.NO_RECEIVER, "none is named under `notify: dead_man:`"),
     "but nobody would notice its end: none is named under notify: dead_man: ."),
    (PageStatus("dms", PageState.TOLD, "firing", NOW_MS), "as it must: while it arrives, paging works."),
], ids=["nobody", "told"])
async def test_the_watchdog_is_no_news_but_nobody_listening_to_it_is(world, standing, words):
    assert words in await read(replace(world.context, desk=MemoryDesk(standing=[standing])), "/alerts")


@pytest.mark.parametrize(("standing", "row", "page"), [
    (PageStatus("", PageState.NO_RECEIVER, "no receiver is configured"), "nobody paged: no receiver",
     "Nobody is told no receiver is configured"),
    (PageStatus("", PageState.PENDING, "it must last"), "not paged yet: it must last longer",
     "Nobody is told yet: it does not fire so far it must last"),
    (PageStatus("ops", PageState.WAITS, "its group waits for more", S_AHEAD), "pages ops in 30 s",
     "ops will be told at 04:00:30 , in 30 s its group waits for more"),
    (PageStatus("ops", PageState.WAITS, "it is on its way", NOW_MS), "paging ops",
     "ops is being told it is on its way"),
    (PageStatus("", PageState.SILENCED, "by anna: known", NOW_MS + 3_600_000), "silenced for 1 h more",
     "Nobody is told: silenced until 05:00:00 , in 1 h by anna: known"),
    (PageStatus("", PageState.INHIBITED, "while HostDown fires"), "held back while HostDown fires",
     "Nobody is told: held back while HostDown fires"),
    (PageStatus("ops", PageState.RETRYING, "attempt 2 failed: 503", S_AHEAD), "cannot reach ops",
     "ops is not reached. Next try 04:00:30 , in 30 s attempt 2 failed: 503"),
    (PageStatus("ops", PageState.TOLD, "firing", S_AGO), "paged ops", "ops was told at 03:59:30 , 30 s ago"),
    (PageStatus("ops", PageState.HANDED_OVER, "it routes", S_AGO), "sent to ops",
     "ops is told by Alertmanager, which has it since 03:59:30 , 30 s ago it routes"),
    (PageStatus("Alertmanager", PageState.HANDED_OVER, "it routes", S_AGO), "sent to Alertmanager",
     "Alertmanager has it since 03:59:30 , 30 s ago it routes"),
], ids=lambda value: value.state.name.lower() if isinstance(value, PageStatus) else "")
async def test_who_knows_of_an_alert_or_why_nobody_does(world, standing, row, page):
    context = replace(world.context, desk=MemoryDesk(standing=[standing]))

    assert row in await read(context, "/alerts")
    said = await read(context, f"/alerts/{latency_alert().fingerprint}")
    assert page in said
    assert (standing.state in {PageState.NO_RECEIVER, PageState.RETRYING}) is ("Nobody knows of it yet" in said)


async def test_the_page_of_an_alert_that_is_over_says_so(quiet):
    over = latency_alert(state=AlertState.RESOLVED, ends_at_ms=NOW_MS - 60_000, reason=Reason.RECOVERED)
    quiet.book.past = [over]

    said = await read(quiet.context, f"/alerts/{over.fingerprint}")

    assert "Over since 1 min (recovered); it fired for 3 min." in said
    assert "Silence" not in said
    for empty in (
        "No samples in this range.",
        "No trace of gateway /generate overlaps it",
        "No warning or error is new",
        "No other alert of the same service",
        "No change was reported around it.",
    ):
        assert empty in said, empty


async def test_an_unknown_alert_is_404_and_says_where_to_look(quiet):
    said = await read(quiet.context, "/alerts/feedfeedfeedfeed", 404)

    assert "no alert feedfeedfeedfeed is on" in said


@pytest.mark.parametrize(
    ("form", "length_ms"),
    [
        ({"for": "1h"}, 3_600_000),
        ({"for": "4h"}, 14_400_000),
        ({"for": "9:00", "zone": "Europe/Berlin"}, 14_400_000),
        ({"for": "9:00", "zone": "Mars/Olympus"}, 18_000_000),
    ],
)
async def test_a_silence_is_set_and_lifted_by_plain_forms(quiet, form, length_ms):
    alert = latency_alert()
    quiet.book.rule_list = [
        RuleStatus("gateway", "g.yml", alert.name, "alerting", alert.expr, 15_000, Labels(), {}, alerts=(alert,))
    ]
    async with browser(quiet.context) as http:
        same_site = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}
        answer = await http.post(f"/alerts/{alert.fingerprint}/silence", data=form, headers=same_site)
        (silence,) = quiet.desk.silence_list
        page = await http.get(f"/alerts/{alert.fingerprint}")
        lifted = await http.post(f"/silences/{silence.id}/lift", headers=same_site)

    assert (303, f"/alerts/{alert.fingerprint}?said=silenced") == (answer.status_code, answer.headers["location"])
    assert (length_ms, alert.labels.pairs) == (
        silence.ends_at_ms - NOW_MS,
        tuple((m.name, m.value) for m in silence.matchers),
    )
    assert "Silenced until" in words_of(page.text)
    assert (303, []) == (lifted.status_code, quiet.desk.silences(NOW_MS))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example", "Sec-Fetch-Site": "same-site"},
    ],
)
async def test_another_site_cannot_set_a_silence(world, headers):
    async with browser(world.context) as http:
        answer = await http.post(
            f"/alerts/{latency_alert().fingerprint}/silence", data={"for": "1h"}, headers=headers
        )

    assert (403, "forbidden", []) == (answer.status_code, answer.json()["errorType"], world.desk.silence_list)


async def test_silenced_alerts_are_told_apart(quiet):
    alert = latency_alert()
    quiet.book.rule_list = [
        RuleStatus("gateway", "g.yml", alert.name, "alerting", alert.expr, 15_000, Labels(), {}, alerts=(alert,))
    ]
    quiet.desk.silence_list = [silence_for(alert.labels)]

    said = await read(quiet.context, "/alerts")

    assert "Nothing is firing, 1 more held back by a silence." in said
    assert "silenced for 1 h more" in said
    assert "by anna: known, rolling back" in said


# ---------------------------------------------------------------- logs and traces


async def test_logs_show_lines_patterns_and_totals(world):
    said = await read(world.context, "/logs", q="timed out", level="error")

    assert "5 lines , newest first" in said
    assert "upstream worker-2 timed out after 2000 ms" in said


async def test_an_error_in_a_log_search_points_at_the_character(world):
    async with browser(world.context) as http:
        answer = await http.get("/logs", params={"q": 'status:200 "open'})

    assert 200 == answer.status_code
    assert re.search(r'<pre class="caret">status:200 &#34;open\n +\^', answer.text)


async def test_a_search_without_lines_says_what_to_change(world):
    said = await read(world.context, "/logs", q="nowhere")

    assert "No line matches “nowhere” in this range. Take a longer range, or fewer words." in said


async def test_the_live_tail_asks_for_lines_after_the_newest(world):
    async with browser(world.context) as http:
        page = await http.get("/logs", params={"tail": "1"})
        newest = re.search(r'data-ns="(\d+)"', page.text)[1]
        since = await http.get("/logs/lines", params={"after": str(int(newest) - 1)})
        none = await http.get("/logs/lines", params={"after": newest})

    assert 'id="tail"' in page.text
    assert (1, 0) == (since.text.count("<li"), none.text.count("<li"))


async def test_a_trace_says_where_its_time_went(world):
    said = await read(world.context, f"/traces/{trace_id_of(117)}")

    assert re.search(r"POST /generate took 3\.\d+ s; 3\.\d+ s in decode on worker-2\. 2 spans failed\.", said)
    assert "5 spans of 3 services, 3 log lines" in said
    assert "kv cache evicted" in said
    assert "GatewayLatencyOutsideBand" in said


@pytest.mark.parametrize(
    ("trace_id", "status", "words"),
    [
        ("f" * 32, 404, "no span and no log line of trace"),
        ("nonsense", 400, "32 hexadecimal digits"),
        ("0" * 32, 400, "32 hexadecimal digits"),
    ],
)
async def test_a_trace_that_is_not_there_says_why(world, trace_id, status, words):
    said = await read(world.context, f"/traces/{trace_id}", status)
    async with browser(world.context) as http:
        machine = await http.get(f"/api/traces/{trace_id}")

    assert words in said
    assert (status, "error") == (machine.status_code, machine.json()["status"])
    assert words in machine.json()["error"]


async def test_the_api_gives_the_trace_as_a_tree_with_its_lines_and_alerts(world):
    async with browser(world.context) as http:
        found = (await http.get(f"/api/traces/{trace_id_of(117)}")).json()
        listed = (await http.get("/api/traces", params={"failed": "true", "limit": "3"})).json()["traces"]
        lines = (await http.get("/api/logs/search", params={"trace_id": trace_id_of(117)})).json()
        counts = (await http.get("/api/logs/histogram", params={"buckets": "10"})).json()
        services = (await http.get("/api/services")).json()
        wrong = await http.get("/api/logs/search", params={"limit": "0"})

    (root,) = found["spans"]
    assert ("POST /generate", ["queue.wait", "prefill", "decode"]) == (
        root["name"],
        [c["name"] for c in root["children"]],
    )
    assert "GatewayLatencyOutsideBand" in {alert["name"] for alert in found["alerts"]}
    assert (3, 3) == (len(found["logs"]), lines["total"])
    assert [True, True, True] == [one["failed"] for one in listed]
    assert 10 == len(counts["starts"])
    assert {"services": ["cache", "gateway", "worker"]} == services
    assert (400, "bad_data") == (wrong.status_code, wrong.json()["errorType"])


# ---------------------------------------------------------------- explore, house, search


async def test_explore_draws_and_lists(world):
    said = await read(world.context, "/explore", query="sum by (endpoint) (rate(gateway_requests_total[1m]))")

    assert "2 series" in said
    assert re.search(r"/embed 6\d(\.\d)? req/s", said)


async def test_an_error_in_an_expression_is_shown_in_place(world):
    said = await read(world.context, "/explore", query="sum(up")

    assert "unclosed left parenthesis" in said


async def test_an_expression_without_series_is_no_error(world):
    said = await read(world.context, "/explore", query="nothing_here")

    assert "The expression is right, but no series matches it in this range." in said


async def test_rules_and_targets_name_what_does_not_work(world):
    rules = await read(world.context, "/rules")
    targets = await read(world.context, "/targets", show="down")

    assert "7 rules, 1 cannot be evaluated ; 2 learn what is normal." in rules
    assert "the expression has no series disk_size_bytes" in rules
    assert "278 of 310 ready" in rules
    assert "connection refused" in targets
    assert "10.0.0.1:8000" not in targets


async def test_boards_are_listed_and_given_as_files(world, tmp_path):
    file = tmp_path / "demo.json"
    file.write_text('{"uid": "demo"}')
    context = replace(world.context, boards=lambda: [BoardFile("Demo", "demo", "The gateway.", 12, str(file))])

    said = await read(context, "/boards")
    async with browser(context) as http:
        answer, none = await http.get("/boards/demo.json"), await http.get("/boards/other.json")

    assert "1 Grafana board" in said
    assert ({"uid": "demo"}, 404) == (answer.json(), none.status_code)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (trace_id_of(117), f"/traces/{trace_id_of(117)}"),
        (f"trace_id:{trace_id_of(117).upper()}", f"/traces/{trace_id_of(117)}"),
        ("Gateway", "/services/gateway?range=1h"),
        ("rate(up[5m])", "/explore?range=1h&query=rate%28up%5B5m%5D%29"),
        ("connection refused", "/logs?range=1h&q=connection+refused"),
        ("", "/?range=1h"),
    ],
)
async def test_the_search_field_knows_what_is_meant(world, text, target):
    async with browser(world.context) as http:
        answer = await http.get("/search", params={"q": text})

    assert (303, target) == (answer.status_code, answer.headers["location"])


async def test_a_service_page_gathers_what_is_known_of_it(world):
    said = await read(world.context, "/services/gateway")

    assert "gateway: 3 alerts are on, 3 of 3 targets up." in said
    assert "upstream worker-* timed out" in said


@pytest.mark.parametrize("page", PAGES)
async def test_every_page_answers_with_the_guard_headers_and_without_inline_code(world, page):
    async with browser(world.context) as http:
        answer = await http.get(page)

    assert 200 == answer.status_code
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in answer.headers["content-security-policy"]
    assert ("nosniff", "DENY", "no-store") == tuple(
        answer.headers[name] for name in ("x-content-type-options", "x-frame-options", "cache-control")
    )
    inline = r"<script(?![^>]*src=)|<style| style=| on[a-z]+=|(?:src|href|action)=.?(?:https?:|//)"
    assert [] == re.findall(inline, answer.text)


@pytest.mark.parametrize("page", PAGES)
async def test_every_page_stands_without_anything_stored(quiet, page):
    assert await read(quiet.context, page)


async def test_links_carry_the_time_range(world):
    async with browser(world.context) as http:
        page = await http.get("/logs", params={"start": "1763690000", "end": "1763697600", "level": "error"})

    assert "/logs?level=error&amp;start=1763690000.000&amp;end=1763697600.000&amp;service=gateway" in page.text


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"range": "soon"}, "'soon' is not a duration"),
        ({"start": "9", "end": "3"}, "lies after its end"),
        ({"start": "x"}, "'x'"),
        ({"cursor": "broken"}, "cursor"),
        ({"trace_id": "xyz"}, "32 hexadecimal digits"),
    ],
)
async def test_a_bad_address_is_explained(world, params, words):
    async with browser(world.context) as http:
        answer = await http.get("/logs", params=params)

    assert words in words_of(answer.text)
    assert answer.status_code in {200, 400}


async def test_a_full_disk_is_a_page_that_says_so(quiet):
    def full(*_):
        raise StorageError("the disk of /data is full; free some space")

    quiet.desk.set_silence = full
    alert = latency_alert()
    quiet.book.past = [alert]
    async with browser(quiet.context) as http:
        answer = await http.post(f"/alerts/{alert.fingerprint}/silence", data={"for": "1h"})

    assert 500 == answer.status_code
    assert "the disk of /data is full" in words_of(answer.text)


async def test_a_server_without_logs_and_alerts_still_shows_metrics(quiet):
    context = replace(quiet.context, signals=None, alerts=None, desk=None)

    for page in ("/", "/alerts", "/explore", "/targets", "/rules"):
        assert await read(context, page)


async def test_a_foreign_host_name_is_refused_on_loopback(world):
    async with browser(world.context) as http:
        rebound = await http.get("/", headers={"Host": "evil.example"})
        own = await http.get("/", headers={"Host": "127.0.0.1:9090"})

    assert (403, 200) == (rebound.status_code, own.status_code)


async def test_many_targets_and_alerts_stay_readable(quiet):
    quiet.book.rule_list = [
        RuleStatus(
            "g",
            "f.yml",
            "R",
            "alerting",
            "up",
            15_000,
            Labels(),
            {},
            alerts=tuple(
                latency_alert(labels=Labels({"alertname": "R", "service": f"s{i}", "severity": "warning"}))
                for i in range(500)
            ),
        )
    ]
    many = [
        TargetHealth("job", f"http://t{i}", Labels({"instance": f"t{i}"}), True, NOW_MS, 0.1, "") for i in range(5000)
    ]
    context = replace(quiet.context, targets=lambda: many, settings=ShowSettings(external_url="http://localhost"))

    home = await read(context, "/")
    alerts = await read(context, "/alerts")

    targets = await read(context, "/targets")

    assert "500 alerts are firing" in home
    assert "475 more alerts" in home
    assert "and 4,600 more" in home
    assert "500 alerts are firing." in alerts
    assert "300 more are not shown; filter to see them." in alerts
    assert "5,000 of 5,000 targets are up" in targets
    assert "4,700 more are not shown; filter to see them." in targets
    assert "t4242" not in targets
    assert "t4242" in await read(context, "/targets", q="T4242")
    assert "No target matches “nowhere”." in await read(context, "/targets", q="nowhere")


async def test_of_many_alerts_the_worst_are_shown_and_all_are_counted(quiet):
    """Lists are cut after they are ordered: a critical alert that came last is the first row, not the 26th."""
    names = [f"s{i}" for i in range(300)]
    alerts = [
        latency_alert(labels=Labels({"alertname": "R", "service": name, "severity": "info"})) for name in names
    ] + [latency_alert(labels=Labels({"alertname": "R", "service": "shop", "severity": "critical"}))]
    quiet.book.rule_list = [RuleStatus("g", "f.yml", "R", "alerting", "up", 15_000, Labels(), {}, alerts=tuple(alerts))]
    quiet.desk.silence_list = [silence_for(Labels({"service": name})) for name in names[:40]]

    home = await read(quiet.context, "/")
    listed = await read(quiet.context, "/alerts")

    assert "301 alerts are firing (40 silenced)" in home
    assert home.index("critical") < home.index("info")
    assert "261 alerts are firing, 40 more held back by a silence." in listed
    assert listed.index("critical") < listed.index("info")
    assert "61 more are not shown" in listed


async def test_the_api_page_stands_routes_of_others_without_descriptions(quiet):
    from fastapi import APIRouter

    router = APIRouter()

    @router.get("/api/other/{thing}")
    def other(thing: str, limit: int = 3) -> dict[str, int]:
        return {thing: limit}

    said = await read(replace(quiet.context, routers=router.routes), "/docs")

    assert "/api/other/{thing}" in said


async def test_every_link_of_every_page_leads_somewhere(world):
    """Follow what can be clicked, two steps deep: no dead ends, no faults."""
    seen, ahead = set(), list(PAGES)
    async with browser(world.context) as http:
        for _ in range(2):
            found = []
            for path in ahead:
                answer = await http.get(path, follow_redirects=True)
                assert answer.status_code < 400, (path, answer.status_code)
                if answer.headers["content-type"].startswith("text/html"):
                    links = re.findall(r'href="(/[^"]*)"', answer.text)
                    found += [html.unescape(link).partition("#")[0] for link in links]
            seen.update(ahead)
            ahead = sorted({link for link in found if kind(link) not in {kind(one) for one in seen}}, key=kind)
            ahead = list({kind(link): link for link in ahead}.values())

    assert len(seen) > 25


def kind(link):
    """Links that differ in ids or values alone are one kind."""
    path, _, query = link.partition("?")
    return re.sub(r"[0-9a-f]{16,}", "ID", path), tuple(sorted(re.findall(r"(?:^|&)(\w+)=", query)))


async def test_a_mistyped_address_is_a_page_for_people_and_json_for_machines(quiet):
    async with browser(quiet.context) as http:
        person = await http.get("/alrets", headers={"Accept": "text/html"})
        machine = await http.get("/api/v1/qurey", headers={"Accept": "application/json"})

    assert (404, True) == (person.status_code, "There is nothing at /alrets." in words_of(person.text))
    assert (404, "not_found") == (machine.status_code, machine.json()["errorType"])


async def test_alerts_that_would_read_the_same_are_told_apart(quiet):
    alerts = tuple(
        latency_alert(labels=Labels({"alertname": "Late", "job": "observe", "group": group, "severity": "warning"}))
        for group in ("host", "jvm")
    )
    rule = RuleStatus("g", "f.yml", "Late", "alerting", "up", 15_000, Labels(), {}, alerts=alerts)
    quiet.book.rule_list = [rule]

    said = await read(quiet.context, "/")

    assert "Late observe host" in said
    assert "Late observe jvm" in said


async def test_a_date_without_a_zone_is_utc_where_no_script_adds_one(world):
    said = await read(world.context, "/logs", start="2025-11-21T03:50", end="2025-11-21T04:00:00", level="error")

    assert "5 lines , newest first" in said or "5 lines, newest first" in said


async def test_pages_are_zipped_for_those_who_take_it(world):
    async with browser(world.context) as http:
        packed = await http.get("/logs", headers={"Accept-Encoding": "gzip"})
        plain = await http.get("/logs", headers={"Accept-Encoding": "identity"})

    assert ("gzip", None) == (packed.headers.get("content-encoding"), plain.headers.get("content-encoding"))
    assert packed.text == plain.text
    assert int(packed.headers["content-length"]) * 5 < len(plain.content)


async def test_lines_around_a_line_are_one_click_away(world):
    async with browser(world.context) as http:
        page = await http.get("/logs", params={"level": "error"})
        link = html.unescape(re.search(r'href="([^"]*)">Lines around it', page.text)[1])
        around = await http.get(link)

    assert "worker" not in link
    assert "request accepted" in words_of(around.text)


async def test_files_are_zipped_and_revalidated(quiet):
    async with browser(quiet.context) as http:
        packed = await http.get("/static/console.css", headers={"Accept-Encoding": "gzip"})
        plain = await http.get("/static/console.css", headers={"Accept-Encoding": "identity"})
        again = await http.get("/static/console.css", headers={"If-None-Match": plain.headers["etag"]})
        icon, none = await http.get("/favicon.ico"), await http.get("/static/../web.py")

    assert (packed.text, "gzip", 304, 200, 404) == (
        plain.text, packed.headers["content-encoding"], again.status_code, icon.status_code, none.status_code,
    )
