"""The console in a real browser: keys, pointers, phones, news without a reload."""

from dataclasses import replace

from observe.model import Labels, LogRecord, Span
from observe.protocols import RuleStatus
from observe.show.web import build_web
from tests.real.served import served
from tests.show.chromium import PATIENCE_MS, REAL_BROWSER
from tests.show.incident_alerts import latency_alert
from tests.show.incident_requests import trace_id_of
from tests.show.world import NOW_MS, empty_world

pytestmark = REAL_BROWSER


def test_a_phone_never_scrolls_sideways(calm, chromium):
    _, url = calm
    context = chromium.new_context(viewport={"width": 360, "height": 740})
    context.set_default_timeout(PATIENCE_MS)
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
    tab.clock.set_fixed_time("2025-11-21T04:00:00Z")  # keys that go together come together, however slow the machine
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
    assert world.signals.wait_indexed(300)
    with served(build_web(world.context)) as url:
        tab.goto(f"{url}/traces/{trace}")
        assert "10,000" in tab.locator(".headline").inner_text()
        assert 200 == tab.locator(".span-row").count()
        assert "9,800 of 10,000 spans are not shown" in tab.locator(".more-spans").inner_text()
        tab.get_by_text("Show 500 more").click()
        tab.locator(".span-row").nth(699).wait_for(state="attached")
        assert "9,300 of 10,000" in tab.locator(".more-spans").inner_text()
        last = tab.locator(".span-row a").last
        last.click()
        tab.locator("#span-panel h2", has_text="step").wait_for()
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
        tab.locator("h1", has_text="1\u00a0alert is firing").wait_for()
    world.close()


def test_the_live_tail_shows_a_new_line(tmp_path, tab):
    world = empty_world(tmp_path)
    with served(build_web(world.context)) as url:
        tab.goto(url + "/logs?tail=1")
        world.signals.append([LogRecord((NOW_MS - 1000) * 1_000_000, "gateway", "info", "a fresh line", uid="f")], [])
        tab.wait_for_selector("text=a fresh line")
    world.close()


def test_a_server_that_went_away_is_told_on_the_open_page(tmp_path, tab):
    world = empty_world(tmp_path)
    world.context = replace(world.context, settings=replace(world.context.settings, live_every_s=1))
    with served(build_web(world.context)) as url:
        tab.goto(url)
    tab.locator("#offline", has_text="No answer from observe since").wait_for()
    world.close()


def test_a_metric_is_offered_while_an_expression_is_written(calm, tab):
    _, url = calm
    tab.goto(url + "/explore")
    tab.locator("textarea").press_sequentially("sum(queue_dep")
    tab.locator(".suggest li", has_text="gateway_queue_depth").wait_for()
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
