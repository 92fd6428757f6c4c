"""Explore, rules, targets, boards, services and the search field."""

import re
from dataclasses import replace

import pytest

from observe.protocols import BudgetStatus
from observe.show.context import BoardFile
from tests.show.console import browser, read
from tests.show.incident_requests import trace_id_of

pytestmark = pytest.mark.anyio

WEEK_MS = 604_800_000


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


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (BudgetStatus(1, WEEK_MS), "expected pages not known yet, for want of history"),
        (BudgetStatus(1, WEEK_MS, 2.41, 4 * WEEK_MS - 15_000), "expected pages about 2.4 in 7 d, from 28 d of history"),
    ],
)
async def test_a_budget_says_what_is_expected(world, monkeypatch, budget, told):
    monkeypatch.setattr(world.book, "rule_list", [replace(world.book.rule_list[0], budget=budget)])

    assert told in await read(world.context, "/rules")


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
