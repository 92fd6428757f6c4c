"""Log lines and traces in the console."""

import re

import pytest

from tests.show.console import browser, read
from tests.show.incident_requests import trace_id_of

pytestmark = pytest.mark.anyio


async def test_logs_show_lines_patterns_and_totals(world):
    said = await read(world.context, "/logs", q="timed out", level="error")
    everything = await read(world.context, "/logs", range="3h")

    assert "5 lines, 5 errors among them." in said
    assert "255 lines, 5 errors and 15 warnings among them." in everything
    assert "upstream worker-2 timed out after 2000 ms" in said


async def test_an_error_in_a_log_search_points_at_the_character(world):
    async with browser(world.context) as http:
        answer = await http.get("/logs", params={"q": 'status:200 "open'})

    assert 200 == answer.status_code
    assert re.search(r'<pre class="caret">status:200 &#34;open\n +\^', answer.text)


async def test_a_search_without_lines_says_what_to_change(world):
    said = await read(world.context, "/logs", q="nowhere")

    assert "No line matches “nowhere” in this range." in said
    assert "Take a longer range, or fewer words." in said


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
        ("f" * 32, 404, "o span and no log line of trace"),
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
