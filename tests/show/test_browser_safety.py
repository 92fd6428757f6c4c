"""In a real browser: hostile text in every field runs nothing, and no page trips the CSP."""

from dataclasses import replace

from observe.model import Alert, AlertState, Labels, LogRecord, Reason, Span, SpanEvent
from observe.protocols import Delivery, OddSeries, PageState, PageStatus, RuleStatus, TargetHealth
from observe.show.context import Change
from observe.show.web import build_web
from tests.real.served import served
from tests.show.chromium import REAL_BROWSER
from tests.show.incident_alerts import latency_alert, silence_for
from tests.show.incident_requests import trace_id_of
from tests.show.world import NOW_MS, Explained, empty_world

pytestmark = REAL_BROWSER

HOSTILE = (
    '"><img src=x onerror="window.hacked=1"><script>window.hacked=2</script>\'{{7*7}}${window.hacked=3}</pre></svg>'
)


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
    assert world.signals.wait_indexed(300)
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
