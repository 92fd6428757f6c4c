"""The console in a real browser: hostile text runs nothing, the CSP is never tripped, keys and pointers work."""

import os
import shutil
from dataclasses import replace

import pytest

from observe.model import Alert, AlertState, Labels, LogRecord, Reason, Span, SpanEvent
from observe.protocols import Delivery, OddSeries, PageState, PageStatus, RuleStatus, TargetHealth
from observe.show.context import Change
from observe.show.web import build_web
from tests.real.served import served
from tests.show.incident import incident
from tests.show.incident_alerts import latency_alert, silence_for
from tests.show.incident_requests import trace_id_of
from tests.show.world import NOW_MS, Explained, empty_world

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(120),
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="chromium is not on this machine"),
]

HOSTILE = (
    '"><img src=x onerror="window.hacked=1"><script>window.hacked=2</script>\'{{7*7}}${window.hacked=3}</pre></svg>'
)


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "chromium is missing; apt-get install chromium"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """A tab that remembers every complaint of its console."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin")
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda e: page.complaints.append(str(e)))
    page.on("dialog", lambda d: (page.complaints.append("dialog"), d.dismiss()))
    yield page
    context.close()


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    world = incident(tmp_path_factory.mktemp("incident"))
    with served(build_web(world.context)) as url:
        yield world, url
    world.close()


def hostile_world(folder):
    """The hostile string in every field that comes from outside."""
    world = empty_world(folder)
    bad, at = HOSTILE, (NOW_MS - 60_000) * 1_000_000
    trace = "ab" * 16
    labels = Labels({"alertname": bad, "service": bad, "endpoint": bad, "severity": bad, "job": bad, "instance": bad})
    alert = Alert(
        labels,
        {
            "summary": bad,
            "description": bad,
            "runbook_url": "javascript:window.hacked=4",
            "trace_ids": bad,
            "runbook": bad,
            "trace_ids_reason": bad,
        },
        AlertState.FIRING,
        NOW_MS - 60_000,
        None,
        NOW_MS,
        Reason.HELD_FOR,
        bad,
        '{__name__="bad"}',
        2.0,
        1.0,
        0.5,
        1.5,
        3.0,
        "javascript:window.hacked=5",
    )
    over = replace(
        alert, labels=labels.updated({"alertname": "Other"}), state=AlertState.RESOLVED, ends_at_ms=NOW_MS - 1000
    )
    world.book.rule_list = [
        RuleStatus(
            bad,
            bad,
            bad,
            "alerting",
            '{__name__="bad"}',
            15_000,
            labels,
            dict(alert.annotations),
            band={bad: bad},
            health="err",
            last_error=bad,
            alerts=(alert,),
        )
    ]
    world.book.odd_list = [OddSeries(bad, labels, 1.0, 1.0, 0.5, 1.5, 2.0, NOW_MS - 1000)]
    world.book.past = [over]
    world.desk.told = [Delivery(NOW_MS, bad, bad, "firing", bad, False, bad, 2, (alert.fingerprint,))]
    world.desk.standing = [PageStatus(bad, state, bad, NOW_MS + 60_000) for state in PageState]
    world.book.explained = [Explained(labels, (f"At {bad}", f"It ends `{bad}`", bad, f"`{bad}`"))]
    silence = silence_for(Labels({"x": bad}))
    world.desk.silence_list = [replace(silence, created_by=bad, comment=bad)]
    world.add(labels.without("alertname", "severity").updated({"__name__": "bad", "evil": bad}), [1.0] * 200)
    world.signals.append(
        [
            LogRecord(
                at, bad, "error", bad, trace, "cd" * 8, bad, 1.0, bad, bad, {bad: bad, "nested": {bad: [bad]}}, "u1"
            ),
            LogRecord(at, bad, bad, bad, uid="u2"),
        ],
        [
            Span(
                trace,
                "cd" * 8,
                None,
                bad,
                bad,
                "server",
                at,
                at + 10**9,
                "error",
                bad,
                {"http.route": bad, bad: bad, "http.response.status_code": bad},
                {bad: bad},
                (SpanEvent(at, bad, {bad: bad}),),
            ),
            Span(trace, "ef" * 8, "12" * 8, bad, bad, "client", at, at + 10**8, "ok", "", {}, {}),
        ],
    )
    target = TargetHealth(bad, "javascript:window.hacked=6", labels, False, NOW_MS, 0.1, bad)
    world.context = replace(
        world.context, targets=lambda: [target], changes=lambda a, b: [Change(NOW_MS - 1000, bad, bad)]
    )
    assert world.signals.wait_indexed(30)
    return world, alert, trace


def test_hostile_text_in_every_field_runs_nothing(tmp_path, tab):
    from urllib.parse import quote

    world, alert, trace = hostile_world(tmp_path)
    odd = quote(HOSTILE, safe="")
    with served(build_web(world.context)) as url:
        for path in (
            "/",
            "/alerts",
            f"/alerts?q={odd}",
            f"/alerts/{alert.fingerprint}",
            "/logs?range=1h",
            f"/logs?q={odd}",
            f"/logs?service={odd}&level={odd}",
            f"/traces?service={odd}&endpoint={odd}&min_ms={odd}",
            "/traces",
            f"/traces/{trace}",
            f"/traces/{trace}?show={odd}&rows={odd}&span={odd}",
            f"/traces/{trace}/rows?show={odd}&offset={odd}",
            f"/traces/{trace}/spans/{'cd' * 8}",
            f"/traces/{odd}",
            f"/explore?query={odd}",
            "/explore?query=%7B__name__%3D%22bad%22%7D",
            "/rules",
            f"/rules?q={odd}",
            "/targets",
            f"/services/{odd}",
            "/boards",
            "/runbooks",
            f"/runbooks/{odd}",
            f"/search?q={odd}",
            f"/?range={odd}",
            f"/login?next={odd}",
            "/docs",
            f"/{odd}",
        ):
            tab.goto(url + path)
            for summary in tab.locator("main summary").all()[:20]:
                if summary.is_visible():
                    summary.click()
            chart = tab.locator("figure.chart").first
            if chart.count() and chart.is_visible():
                chart.hover()
            assert tab.evaluate("window.hacked") is None, path
            assert tab.evaluate("document.documentElement.scrollWidth") <= 1280, path
            assert [] == [c for c in tab.complaints if "status of 4" not in c], path
            assert [] == [
                a for a in tab.eval_on_selector_all("a", "all => all.map(a => a.protocol)") if a == "javascript:"
            ]
    world.close()


def test_no_page_trips_the_content_security_policy(calm, tab):
    _, url = calm
    for path in (
        "/",
        "/alerts",
        f"/alerts/{latency_alert().fingerprint}",
        "/logs?tail=1",
        "/traces",
        f"/traces/{trace_id_of(117)}",
        "/explore?query=up",
        "/boards",
        "/rules",
        "/targets",
        "/docs",
        "/login",
        "/services/gateway",
    ):
        tab.goto(url + path)
        assert [] == tab.complaints, path


def test_a_phone_never_scrolls_sideways(calm, chromium):
    _, url = calm
    context = chromium.new_context(viewport={"width": 360, "height": 740})
    tab = context.new_page()
    for path in (
        "/",
        "/alerts",
        f"/alerts/{latency_alert().fingerprint}",
        "/logs",
        "/traces",
        f"/traces/{trace_id_of(117)}",
        "/explore?query=up",
        "/rules",
        "/targets",
        "/docs",
        "/services/gateway",
    ):
        tab.goto(url + path)
        assert 360 == tab.evaluate("document.documentElement.scrollWidth"), path
    context.close()


def test_a_silence_takes_two_clicks(calm, tab):
    world, url = calm
    tab.goto(f"{url}/alerts/{latency_alert().fingerprint}")

    tab.get_by_text("Silence", exact=True).click()
    tab.get_by_role("button", name="until 9:00").click()

    tab.wait_for_url("**said=silenced")
    (silence,) = world.desk.silences(NOW_MS)
    world.desk.silence_list = []
    assert NOW_MS + 4 * 3_600_000 == silence.ends_at_ms  # nine o'clock in the browser's zone, Berlin


def test_keys_move_search_and_explain(calm, tab):
    _, url = calm
    tab.goto(url)
    tab.keyboard.press("?")
    assert tab.locator("#keys").is_visible()
    tab.keyboard.press("Escape")
    tab.keyboard.press("/")
    tab.keyboard.type(trace_id_of(117))
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**/traces/{trace_id_of(117)}")
    tab.keyboard.press("g")
    tab.keyboard.press("a")
    tab.wait_for_url("**/alerts")
    tab.keyboard.press("j")
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**/alerts/{latency_alert().fingerprint}")


def test_times_are_local_with_utc_on_hover(calm, tab):
    _, url = calm
    tab.goto(url + "/alerts")

    since = tab.locator(".row-since time").first
    assert ("04:56", "2025-11-21 03:56:00 UTC") == (since.inner_text(), since.get_attribute("title"))


def test_the_theme_stays_after_a_reload(calm, tab):
    _, url = calm
    tab.goto(url)
    tab.locator("#theme").click()
    chosen = tab.evaluate("document.documentElement.dataset.theme")
    tab.reload()

    assert chosen in {"dark", "light"}
    assert chosen == tab.evaluate("document.documentElement.dataset.theme")


def test_the_pointer_reads_values_and_a_drag_zooms(calm, tab):
    _, url = calm
    tab.goto(url + "/explore?query=up")
    box = tab.locator("figure.chart").bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 80)
    assert "1" in tab.locator(".tip").inner_text()
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 80)
    tab.mouse.up()

    tab.wait_for_url("**start=*")
    assert "query=up" in tab.url
    assert [] == tab.complaints


def test_a_trace_of_ten_thousand_spans_opens_and_says_what_it_leaves_out(tmp_path, tab):
    world = empty_world(tmp_path)
    at = (NOW_MS - 60_000) * 1_000_000
    trace = "ab" * 16
    spans = [Span(trace, f"{1:016x}", None, "POST /batch", "gateway", "server", at, at + 10**10, "ok")]
    spans += [
        Span(
            trace,
            f"{i + 2:016x}",
            f"{max(1, i // 8 + 1):016x}",
            f"step {i}",
            f"service-{i % 6}",
            "internal",
            at + i * 10**6,
            at + i * 10**6 + 10**7,
            "ok",
        )
        for i in range(9_999)
    ]
    world.signals.append([], spans)
    assert world.signals.wait_indexed(30)
    with served(build_web(world.context)) as url:
        tab.goto(f"{url}/traces/{trace}")
        assert "10,000" in tab.locator(".headline").inner_text()
        assert 200 == tab.locator(".span-row").count()
        assert "9,800 of 10,000 spans are not shown" in tab.locator(".more-spans").inner_text()
        tab.get_by_text("Show 500 more").click()
        tab.locator(".span-row").nth(699).wait_for(state="attached", timeout=15_000)
        assert "9,300 of 10,000" in tab.locator(".more-spans").inner_text()
        last = tab.locator(".span-row a").last
        last.click()
        tab.locator("#span-panel h2", has_text="step").wait_for(timeout=15_000)
    world.close()
    assert [] == tab.complaints


def test_news_arrive_without_a_reload(tmp_path, tab):
    world = empty_world(tmp_path)
    world.context = replace(world.context, settings=replace(world.context.settings, live_every_s=1))
    with served(build_web(world.context)) as url:
        tab.goto(url)
        assert "Nothing is firing" in tab.locator("h1").inner_text()
        alert = latency_alert()
        world.book.rule_list = [
            RuleStatus("gateway", "g.yml", alert.name, "alerting", alert.expr, 15_000, Labels(), {}, alerts=(alert,))
        ]
        tab.locator("h1", has_text="1\u00a0alert is firing").wait_for(timeout=15_000)
    world.close()


def test_the_live_tail_shows_a_new_line(tmp_path, tab):
    world = empty_world(tmp_path)
    with served(build_web(world.context)) as url:
        tab.goto(url + "/logs?tail=1")
        world.signals.append([LogRecord((NOW_MS - 1000) * 1_000_000, "gateway", "info", "a fresh line", uid="f")], [])
        tab.wait_for_selector("text=a fresh line", timeout=15_000)
    world.close()


def test_a_server_that_went_away_is_told_on_the_open_page(tmp_path, tab):
    world = empty_world(tmp_path)
    world.context = replace(world.context, settings=replace(world.context.settings, live_every_s=1))
    with served(build_web(world.context)) as url:
        tab.goto(url)
    tab.locator("#offline", has_text="No answer from observe since").wait_for(timeout=15_000)
    world.close()


def test_a_metric_is_offered_while_an_expression_is_written(calm, tab):
    _, url = calm
    tab.goto(url + "/explore")
    tab.locator("textarea").press_sequentially("sum(queue_dep")
    tab.locator(".suggest li", has_text="gateway_queue_depth").wait_for(timeout=10_000)
    tab.keyboard.press("Tab")
    tab.locator("textarea").press_sequentially(")")
    tab.keyboard.press("Enter")

    tab.wait_for_url("**query=sum%28gateway_queue_depth%29*")
    assert tab.locator("figure.chart").count() == 1
    assert [] == tab.complaints


def test_a_range_typed_in_is_the_readers_own_time(calm, tab):
    _, url = calm
    tab.goto(url + "/logs?level=error")
    tab.get_by_label("Another time").click()
    tab.locator("input[name=start]").last.fill("2025-11-21T04:30:00")
    tab.locator("input[name=end]").last.fill("2025-11-21T05:00:00")
    tab.get_by_role("button", name="Show").click()

    tab.wait_for_url("**start=1763695800*")  # 03:30 UTC
    assert "level=error" in tab.url
    assert [] == tab.complaints
