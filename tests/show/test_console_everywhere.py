"""What holds for every page: headers, links, ranges, errors, many of everything, zipped answers."""

import html
import re
from dataclasses import replace

import pytest

from observe.errors import StorageError
from observe.model import Labels
from observe.protocols import RuleStatus, TargetHealth
from observe.show.context import ShowSettings
from tests.show.console import PAGES, browser, read, words_of
from tests.show.incident_alerts import latency_alert, silence_for
from tests.show.world import NOW_MS

pytestmark = pytest.mark.anyio


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
    assert "The disk of /data is full" in words_of(answer.text)


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
    assert "rule R 261 service shop 1" in listed


async def test_what_many_alerts_share_narrows_the_list_by_a_click(quiet):
    labels = [Labels({"alertname": "Slow", "service": f"s{i % 3}", "endpoint": f"/{i}"}) for i in range(30)]
    alerts = tuple(latency_alert(labels=one) for one in labels)
    quiet.book.rule_list = [RuleStatus("g", "f.yml", "Slow", "alerting", "up", 15_000, Labels(), {}, alerts=alerts)]
    async with browser(quiet.context) as http:
        page = (await http.get("/alerts")).text
        (link,) = re.findall(r'href="([^"]*)">s2 <b>10</b>', page)
        narrowed = words_of((await http.get(html.unescape(link))).text)

    assert "10 alerts are firing" in narrowed
    assert "rule Slow" not in narrowed  # ten are seen at a glance


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

    assert "5 lines, 5 errors among them." in said


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
