"""Alerts in the console: the page of one, who knows of it, silences."""

import re
from dataclasses import replace

import pytest

from observe.model import AlertState, Labels, Reason, Span
from observe.protocols import PageState, PageStatus, RuleStatus
from observe.show.console.alert_evidence import requests_of
from observe.show.console.alert_words import sentence
from observe.show.console.standing import expected_of
from observe.show.console.time_range import Range
from tests.show.console import browser, read, words_of
from tests.show.incident_alerts import latency_alert, silence_for
from tests.show.incident_requests import trace_id_of
from tests.show.world import NOW_MS, MemoryDesk, empty_world

pytestmark = pytest.mark.anyio


async def test_an_alert_page_tells_what_why_who_and_shows_the_evidence(world):
    said = await read(world.context, f"/alerts/{latency_alert().fingerprint}")

    for words in (
        "Latency of gateway /generate is far above what is normal now",
        "Firing for 4 min. It is 3.41 s; 420–900 ms is expected.",
        "At least 3 of 5 points were outside the band.",
        "It held for 1 min before anyone was paged. At 04:00:00 the value was 3.41 s, outside its band",
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


@pytest.mark.parametrize(("changes", "kept_on_ms", "words"), [
    ({"value": 0.5}, 150_000, "It has been back inside for 30 s; if that lasts, it is over in 2 min."),
    ({}, 150_000, "Its condition has not held for 30 s; if that lasts, it is over in 2 min."),
    ({"value": 0.5}, 0, "It has been back inside for 30 s."),
])
def test_an_alert_that_is_only_kept_on_says_so_and_when_it_ends(changes, kept_on_ms, words):
    alert = latency_alert(clear_since_ms=NOW_MS - 30_000, **changes)
    rule = RuleStatus("gateway", "f.yml", "GatewayLatencyOutsideBand", "alerting", alert.expr, 15_000, Labels(), {},
                      keep_firing_for_ms=kept_on_ms)

    assert sentence(alert, rule, "s", NOW_MS).replace("\xa0", " ").endswith(f" ms is expected. {words}")
    back = "back inside 420–900 ms" if changes else "420–900 ms expected"
    assert back == expected_of(alert, "s").replace("\xa0", " ")


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
    assert world.signals.wait_indexed(300)
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

    assert "Not found No alert feedfeedfeedfeed is on" in said


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


async def test_times_in_sentences_are_moments_that_the_browser_writes_in_its_zone(world):
    """The relearning lies two hours ahead of now: the moment nearest to now, and not that of the day before."""
    async with browser(world.context) as http:
        page = (await http.get(f"/alerts/{latency_alert().fingerprint}")).text

    why = page.partition("Why it fired")[2].partition("</section>")[0]
    assert [str(NOW_MS), str(NOW_MS + 116 * 60_000)] == re.findall(r'data-t="(\d+)"', why)
    assert "UTC" not in words_of("<main" + why)
