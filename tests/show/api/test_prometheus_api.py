"""Prometheus' HTTP API over HTTP: shapes, status codes, limits, what Grafana asks first."""

from dataclasses import replace

import pytest

from observe.errors import Unavailable
from observe.model import Exemplar, Labels, MetricMetadata
from observe.protocols import TargetHealth
from tests.show.api.client import apis, ask, client, hooked
from tests.show.world import NOW_MS

pytestmark = pytest.mark.anyio


async def test_an_instant_query_answers_a_vector_at_now(context):
    answer = await ask(context, "/api/v1/query", params={"query": 'up{job="gateway"}'})

    expected = {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [{"metric": {"__name__": "up", "job": "gateway"}, "value": [NOW_MS // 1000, "0.5"]}],
        },
    }
    assert (200, "application/json", expected) == (answer.status_code, answer.headers["content-type"], answer.json())


async def test_a_form_post_is_the_same_question(context):
    by_get = await ask(context, "/api/v1/query", params={"query": "up", "time": "1763697600"})
    by_post = await ask(context, "/api/v1/query", "POST", data={"query": "up", "time": "2025-11-21T04:00:00.000Z"})

    assert by_get.content == by_post.content


async def test_a_range_query_answers_a_matrix_with_infinity_and_nan(context):
    answer = await ask(
        context,
        "/api/v1/query_range",
        params={"query": 'up{job="host"}', "start": (NOW_MS - 30_000) / 1000, "end": NOW_MS / 1000, "step": "15s"},
    )

    t = NOW_MS // 1000
    expected = [
        {"metric": {"__name__": "up", "job": "host"}, "values": [[t - 30, "0"], [t - 15, "+Inf"], [t, "NaN"]]}
    ]
    assert expected == answer.json()["data"]["result"]


@pytest.mark.parametrize(
    ("path", "params", "status", "kind", "words"),
    [
        ("query", {}, 400, "bad_data", "no expression"),
        ("query", {"query": "up{"}, 400, "bad_data", "up{"),
        ("query", {"query": "rate(up)"}, 400, "bad_data", "rate"),
        ("query_range", {"query": "up[5m]", "start": 0, "end": 10, "step": 1}, 400, "bad_data", "range vector"),
        ("query_exemplars", {"query": "up["}, 400, "bad_data", "up["),
        ("format_query", {"query": "sum("}, 400, "bad_data", "sum("),
        ("query", {"query": "up", "time": "yesterday"}, 400, "bad_data", "'yesterday'"),
        ("query", {"query": "up", "time": "2025-11-21"}, 400, "bad_data", "RFC 3339"),
        ("query", {"query": "up", "timeout": "soon"}, 400, "bad_data", "timeout"),
        ("query", {"query": "up", "limit": "-1"}, 400, "bad_data", "limit"),
        ("query_range", {"query": "up", "start": 0, "end": 10}, 400, "bad_data", "step"),
        ("query_range", {"query": "up", "start": 10, "end": 0, "step": 1}, 400, "bad_data", "before start"),
        ("query_range", {"query": "up", "start": 0, "end": 10, "step": 0}, 400, "bad_data", "zero or negative"),
        ("query_range", {"query": "up", "start": 0, "end": 99999, "step": 1}, 400, "bad_data", "11,000 points"),
        ("series", {}, 400, "bad_data", "no match"),
        ("series", {"match[]": "{}"}, 400, "bad_data", "non-empty matcher"),
        ("series", {"match[]": '{job=~".*"}'}, 400, "bad_data", "non-empty matcher"),
        ("series", {"match[]": "rate(up[5m])"}, 400, "bad_data", "not a selector"),
        ("rules", {"type": "odd"}, 400, "bad_data", "'odd'"),
        ("rules", {"group_next_token": "x"}, 400, "bad_data", "group_limit"),
        ("rules", {"group_limit": "1", "group_next_token": "x"}, 400, "bad_data", "were the rules changed"),
        ("rules", {"match[]": "{"}, 400, "bad_data", "{"),
        ("status/tsdb", {"limit": "0"}, 400, "bad_data", "limit"),
        ("targets", {"state": "odd"}, 400, "bad_data", "'odd'"),
        ("nothing", {}, 404, "not_found", "/api/v1/nothing"),
    ],
)
async def test_errors_have_prometheus_shape_and_say_what_is_wrong(context, path, params, status, kind, words):
    answer = await ask(context, f"/api/v1/{path}", params=params)

    body = answer.json()
    assert (status, "error", kind) == (answer.status_code, body["status"], body["errorType"])
    assert words in body["error"]


async def test_an_engine_that_is_away_is_503_with_its_name(context):
    def away(expr):
        raise Unavailable("cannot reach the metrics engine at http://metrics:9090: connection refused")

    answer = await ask(hooked(context, away), "/api/v1/query", params={"query": "up"})

    assert (503, "unavailable") == (answer.status_code, answer.json()["errorType"])
    assert "http://metrics:9090: connection refused" in answer.json()["error"]


@pytest.mark.parametrize(
    ("query", "kind", "result"),
    [
        ("1 + 1", "scalar", [NOW_MS // 1000, "2"]),
        ('"words"', "string", [NOW_MS // 1000, "words"]),
        ("sum(up{job='gateway'})", "vector", [{"metric": {}, "value": [NOW_MS // 1000, "0.5"]}]),
        (
            "up{job='gateway'}[20s]",
            "matrix",
            [
                {
                    "metric": {"__name__": "up", "job": "gateway"},
                    "values": [[NOW_MS // 1000 - 15, "1"], [NOW_MS // 1000, "0.5"]],
                }
            ],
        ),
        ("absent_metric", "vector", []),
    ],
)
async def test_every_type_of_result(context, query, kind, result):
    answer = await ask(context, "/api/v1/query", params={"query": query})

    assert {"resultType": kind, "result": result} == answer.json()["data"]


async def test_remarks_are_passed_on(context):
    answer = await ask(context, "/api/v1/query", params={"query": "rate(up[1m])"})

    assert "up" in answer.json()["infos"][0]


@pytest.mark.parametrize(("expr", "written"), [
    ("sum(up)by(job)", "sum by (job) (up)"), ("up@-60", "up @ -60.000"), ("1_000", "1000"), ("up[7d]", "up[1w]"),
    ("topk  (2,up)", "topk(2, up)"), ("inf", "+Inf"), ("up{a='b',c!='d'}", 'up{a="b",c!="d"}'),
])
async def test_an_expression_is_written_tidily(context, expr, written):
    answer = await ask(context, "/api/v1/format_query", params={"query": expr})

    assert written == answer.json()["data"]


async def test_a_wrong_method_is_405_with_what_is_allowed(context):
    answer = await ask(context, "/api/v1/targets", "DELETE")

    assert (405, "GET" in answer.headers["allow"], "bad_data") == (
        answer.status_code,
        True,
        answer.json()["errorType"],
    )


async def test_a_bug_is_told_without_its_insides(context, caplog):
    def explode(expr):
        raise ZeroDivisionError("secret")

    answer = await ask(hooked(context, explode), "/api/v1/query", params={"query": "up"})

    assert (500, "internal") == (answer.status_code, answer.json()["errorType"])
    assert "ZeroDivisionError" in answer.json()["error"]
    assert "secret" not in answer.text
    assert "secret" in caplog.text


async def test_names_and_values_and_series(context):
    async with client(context) as http:
        labels = (await http.get("/api/v1/labels")).json()
        values = (await http.get("/api/v1/label/job/values", params={"match[]": ["up", "up"]})).json()
        foreign = (await http.get("/api/v1/label/U__jo_62_/values")).json()
        series = (await http.post("/api/v1/series", data={"match[]": ["up", '{job="host"}']})).json()
        cut = (await http.get("/api/v1/label/job/values", params={"limit": "1"})).json()

    assert ["__name__", "job"] == labels["data"]
    assert ["gateway", "host"] == values["data"] == foreign["data"]
    assert [{"__name__": "up", "job": job} for job in ("gateway", "host")] == series["data"]
    assert (["gateway"], ["results truncated due to limit"]) == (cut["data"], cut["warnings"])


async def test_a_query_limit_cuts_and_says_so(context):
    answer = await ask(context, "/api/v1/query", params={"query": "up", "limit": "1"})

    assert (1, ["results truncated due to limit"]) == (
        len(answer.json()["data"]["result"]),
        answer.json()["warnings"],
    )


async def test_grafana_takes_it_for_prometheus_3(context):
    async with client(context) as http:
        build = (await http.get("/api/v1/status/buildinfo")).json()["data"]
        names = ("runtimeinfo", "config", "flags", "tsdb")
        others = [(await http.get(f"/api/v1/status/{name}")).status_code for name in names]

    assert "3" == build["version"].split(".")[0]
    assert [200, 200, 200, 200] == others


async def test_metadata_is_filtered_and_limited(written):
    context = apis(written)
    written.store.append_metadata(
        {"up": MetricMetadata("gauge", "Whether it answers.", ""), "x_total": MetricMetadata("counter", "X.", "x")}
    )

    whole = await ask(context, "/api/v1/metadata")
    one = await ask(context, "/api/v1/metadata", params={"metric": "up"})
    cut = await ask(context, "/api/v1/metadata", params={"limit": "1"})

    up = [{"type": "gauge", "help": "Whether it answers.", "unit": ""}]
    assert {"up": up, "x_total": [{"type": "counter", "help": "X.", "unit": "x"}]} == whole.json()["data"]
    assert {"up": up} == one.json()["data"] == cut.json()["data"]


@pytest.mark.parametrize("params", [{"limit": "-1"}, {"limit_per_metric": "0"}, {"limit_per_metric": "-1"}], ids=str)
async def test_metadata_without_a_limit_is_asked_for_as_of_prometheus(written, params):
    written.store.append_metadata({"up": MetricMetadata("gauge", "Whether it answers.", "")})

    answer = await ask(apis(written), "/api/v1/metadata", params=params)

    assert (200, ["up"]) == (answer.status_code, list(answer.json()["data"]))


async def test_a_query_says_what_it_cost_where_that_is_asked(context):
    span = {"start": (NOW_MS - 30_000) / 1000, "end": NOW_MS / 1000, "step": "15s"}
    at_once = await ask(context, "/api/v1/query", params={"query": "up", "stats": "all"})
    over_time = await ask(context, "/api/v1/query_range", params={"query": "up", "stats": "all", **span})
    plain = await ask(context, "/api/v1/query", params={"query": "up"})

    timings = {"evalTotalTime", "resultSortTime", "queryPreparationTime", "innerEvalTime", "execQueueTime",
               "execTotalTime"}
    for answer in (at_once, over_time):
        stats = answer.json()["data"]["stats"]
        assert timings == stats["timings"].keys()
        assert stats["samples"]["totalQueryableSamples"] > 0
        assert {"resultType", "result", "stats"} == answer.json()["data"].keys()
    assert "stats" not in plain.json()["data"]


@pytest.mark.parametrize("lookback", ["0", "-5"])
async def test_a_lookback_that_is_none_is_the_servers_own(context, lookback):
    usual = await ask(context, "/api/v1/query", params={"query": "up"})
    answer = await ask(context, "/api/v1/query", params={"query": "up", "lookback_delta": lookback})

    assert usual.json() == answer.json()


async def test_an_expression_is_given_as_a_tree(context):
    expr = ('sum by (job) (rate(http_total{code=~"5.."}[5m] offset 1m)) / on (job) group_left () '
            "(up @ start() > bool 0.5)")
    answer = await ask(context, "/api/v1/parse_query", params={"query": expr})
    wrong = await ask(context, "/api/v1/parse_query", params={"query": "sum("})

    tree = answer.json()["data"]
    told = tree["lhs"]["expr"]
    assert ("binaryExpr", "/", False) == (tree["type"], tree["op"], tree["bool"])
    assert {"card": "many-to-one", "labels": ["job"], "on": True, "include": []} == tree["matching"]
    assert ("aggregation", "sum", None, ["job"], False) == tuple(
        tree["lhs"][key] for key in ("type", "op", "param", "grouping", "without"))
    assert {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"} == told["func"]
    assert [{
        "type": "matrixSelector", "name": "http_total", "range": 300_000, "offset": 60_000, "timestamp": None,
        "startOrEnd": None, "matchers": [{"name": "__name__", "value": "http_total", "type": "="},
                                         {"name": "code", "value": "5..", "type": "=~"}],
    }] == told["args"]
    inner = tree["rhs"]["expr"]
    assert ("parenExpr", None, True, "start") == (
        tree["rhs"]["type"], inner["matching"], inner["bool"], inner["lhs"]["startOrEnd"])
    assert {"type": "numberLiteral", "val": "0.5"} == inner["rhs"]
    assert (400, "bad_data") == (wrong.status_code, wrong.json()["errorType"])


async def test_exemplars_come_by_series_with_their_trace(written):
    context = apis(written)
    series = Labels({"__name__": "b", "le": "1"})
    written.add(series, [1.0])
    written.store.append_exemplars([Exemplar(series, Labels({"trace_id": "a" * 32}), 0.7, NOW_MS)])

    answer = await ask(context, "/api/v1/query_exemplars", params={"query": "histogram_quantile(0.9, rate(b[5m]))"})

    expected = [
        {
            "seriesLabels": {"__name__": "b", "le": "1"},
            "exemplars": [{"labels": {"trace_id": "a" * 32}, "value": "0.7", "timestamp": NOW_MS / 1000}],
        }
    ]
    assert expected == answer.json()["data"]


async def test_federate_gives_the_newest_samples_as_text(context):
    answer = await ask(context, "/federate", params={"match[]": "up"})

    expected = [f'up{{job="gateway",instance=""}} 0.5 {NOW_MS}', f'up{{job="host",instance=""}} NaN {NOW_MS}']
    assert ["# TYPE up untyped", *expected] == answer.text.splitlines()


async def test_federated_series_have_the_external_labels_that_they_lack(context):
    context = replace(context, external_labels=lambda: {"region": "eu", "job": "other", "instance": "here"})
    answer = await ask(context, "/federate", params={"match[]": 'up{job="gateway"}'})

    assert f'up{{job="gateway",instance="here",region="eu"}} 0.5 {NOW_MS}' == answer.text.splitlines()[1]


async def test_metadata_by_target_is_that_of_the_metrics_it_has_series_of(written):
    def target(job, instance):
        labels = Labels({"job": job, "instance": instance})
        return TargetHealth(job, f"http://{instance}", labels, True, NOW_MS, 0.1, "")

    known = {name: MetricMetadata(kind, f"About {name}.", "") for name, kind in (
        ("gateway_request_duration_seconds", "histogram"), ("gateway_requests_total", "counter"), ("gone", "gauge"))}

    labels = {"job": "gateway", "instance": "10.0.0.0:8000"}
    for name in ("gateway_request_duration_seconds_bucket", "gateway_requests_total"):
        written.add(Labels({"__name__": name, **labels}), [1.0, 2.0])
    context = written.context

    class Knowing:
        """The store, with metadata."""

        def __getattr__(self, name):
            return getattr(context.source, name)

        def metadata(self):
            return known

    there = [target("gateway", "10.0.0.0:8000"), target("host", "10.0.0.1:9100")]
    asked = replace(context, source=Knowing(), targets=lambda: there)
    everything = (await ask(asked, "/api/v1/targets/metadata")).json()["data"]
    one = (await ask(asked, "/api/v1/targets/metadata", params={"metric": "gateway_requests_total"})).json()["data"]
    none = (await ask(asked, "/api/v1/targets/metadata", params={"match_target": '{job="host"}'})).json()["data"]
    first = (await ask(asked, "/api/v1/targets/metadata", params={"limit": "1"})).json()["data"]

    assert [("gateway_request_duration_seconds", "histogram"), ("gateway_requests_total", "counter")] == [
        (entry["metric"], entry["type"]) for entry in everything]
    assert [{"target": labels, "type": "counter", "help": "About gateway_requests_total.", "unit": ""}] == one
    assert ([], everything[:1]) == (none, first)
