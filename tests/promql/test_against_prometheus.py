"""Random expressions over random data, asked of the real Prometheus and of us: the same answers, or both refuse."""

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from functools import partial

import pytest

from observe.errors import QueryError
from observe.promql.engine import Engine
from observe.promql.printer import format_query
from observe.promql.render import result_json
from observe.testing import MemorySource
from tests.promql import random_queries as random_
from tests.promql import remote_write
from tests.real.process import RealProcess, free_port, http_ok, require

pytestmark = pytest.mark.real
QUERIES = 600


@pytest.fixture(scope="module", params=[1, 2])
def servers(request, tmp_path_factory):
    """A real Prometheus and an engine with the same samples; returns (base URL, engine)."""
    binary, folder, port = require("prometheus"), tmp_path_factory.mktemp("prometheus"), free_port()
    (folder / "empty.yml").write_text("global: {}\n")
    command = [
        binary, f"--config.file={folder}/empty.yml", f"--storage.tsdb.path={folder}/data", "--log.level=error",
        "--storage.tsdb.retention.time=100y", "--web.enable-remote-write-receiver",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    base = f"http://127.0.0.1:{port}"
    data, source = random_.series(request.param), MemorySource()
    with RealProcess("prometheus", command, folder) as child:
        child.wait_healthy(lambda: http_ok(base + "/-/ready"))
        body = remote_write.request(data)
        urllib.request.urlopen(urllib.request.Request(base + "/api/v1/write", body, remote_write.HEADERS)).close()
        for labels, samples in data:
            for time_ms, value in samples:
                source.add(labels, time_ms, value)
        yield base, Engine(source), request.param


def _asked(base, path, **params):
    """The data of Prometheus' answer, or None where it refuses."""
    try:
        with urllib.request.urlopen(f"{base}/api/v1/{path}?{urllib.parse.urlencode(params)}", timeout=30) as answer:
            return json.loads(answer.read())["data"]
    except urllib.error.HTTPError as error:
        error.close()
        return None


class Stricter(Exception):
    """We refuse what Prometheus 2 does not, on purpose."""


def _ours(ask):
    try:
        return json.loads(result_json(ask().value)[0])
    except QueryError as error:
        # Since 3.0 a match with many is refused before the comparison leaves any out, no more after.
        if "multiple matches for labels" in str(error):
            raise Stricter from error
        return None


def _close(one, other):
    one, other = float(one), float(other)
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)


def _flat(data):
    """(labels, time) -> value."""
    if data["resultType"] in {"scalar", "string"}:
        return {((), data["result"][0]): data["result"][1]}
    return {
        (tuple(sorted(row["metric"].items())), round(float(time), 3)): value
        for row in data["result"] for time, value in row.get("values") or [row["value"]]
    }


def difference(theirs, ask):
    """What is first different, or None."""
    try:
        ours = _ours(ask)
    except Stricter:
        return None
    if theirs is None or ours is None:
        return None if theirs is ours else f"refused by {'Prometheus' if theirs is None else 'us'} alone"
    if theirs["resultType"] != ours["resultType"]:
        return f"{ours['resultType']}, expected {theirs['resultType']}"
    want, got = _flat(theirs), _flat(ours)
    for key in want.keys() | got.keys():
        if key not in want or key not in got or not _close(want[key], got[key]):
            return f"{key}: {got.get(key)}, expected {want.get(key)}"
    return None


def test_random_expressions_have_prometheus_answers(servers):
    base, engine, seed = servers
    expressions, wrong, answered = random_.Expressions(seed), [], 0
    for number in range(QUERIES):
        expr = expressions.vector(1 + number % 3)
        at_ms = random_.EVAL_MS
        theirs = _asked(base, "query", query=expr, time=at_ms / 1000)
        answered += bool(theirs and theirs["result"])
        found = difference(theirs, partial(engine.evaluate_instant, expr, at_ms))
        if found:
            wrong.append(f"instant {expr}\n    {found}")
        span = {"start": at_ms / 1000, "end": random_.END_MS / 1000, "step": 70}
        theirs = _asked(base, "query_range", query=expr, **span)
        found = difference(theirs, partial(engine.evaluate_range, expr, at_ms, random_.END_MS, 70_000))
        if found:
            wrong.append(f"range {expr}\n    {found}")

    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:20])
    assert answered > QUERIES / 2


def test_random_expressions_are_written_as_prometheus_writes_them(servers):
    base, _, seed = servers
    expressions, wrong = random_.Expressions(seed + 100), []
    for number in range(150):
        expr = expressions.vector(1 + number % 4)
        theirs = _asked(base, "format_query", query=expr)
        if format_query(expr) != theirs:
            wrong.append(f"{expr}\n--- theirs\n{theirs}\n--- ours\n{format_query(expr)}")

    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:3])
