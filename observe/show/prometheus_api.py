"""Prometheus' HTTP API for data: query, query_range, series, labels, label values, metadata, exemplars.

Everything that reads runs in the query threads, JSON included.
"""

import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from observe.errors import QueryError
from observe.model import Matcher
from observe.patterns import compiled
from observe.promql.render import go_float, result_json
from observe.promql.result import Answer, Cost
from observe.show.api_endpoint import CUT, answer, api_route, enveloped, listed, success, wanted_timeout_s
from observe.show.context import ShowContext
from observe.show.expressions import (
    evaluate_instant,
    evaluate_range,
    expression_tree,
    format_expression,
    parse_selector,
    selectors_of,
)
from observe.show.params import MAX_TIME_MS, MIN_TIME_MS, Params, bad, count, first, parse_span_ms, time_or, whole
from observe.show.problems import dump
from observe.show.workers import QueryThreads


class PrometheusApi:
    """The handlers. Each takes parameters and returns the body of a success; errors are exceptions."""

    def __init__(self, context: ShowContext) -> None:
        self._context = context
        self._engine = context.engine
        self._source = context.source
        self._clock = context.clock

    # ------------------------------------------------------------ expressions

    def query(self, params: Params) -> bytes:
        time_ms = time_or(params, "time", self._clock.now_ms())
        expr, limit = _expression(params), count(params, "limit")
        found = evaluate_instant(self._engine, expr, time_ms, self._timeout_s(params), _lookback(params))
        return _answer_json(found, limit, with_stats=bool(first(params, "stats")))

    def query_range(self, params: Params) -> bytes:
        start_ms, end_ms, step_ms = self._range(params)
        expr, limit = _expression(params), count(params, "limit")
        found = evaluate_range(
            self._engine, expr, start_ms, end_ms, step_ms, self._timeout_s(params), _lookback(params))
        return _answer_json(found, limit, with_stats=bool(first(params, "stats")))

    def _timeout_s(self, params: Params) -> float:
        return wanted_timeout_s(params, self._context.settings.query_timeout_s)

    def _range(self, params: Params) -> tuple[int, int, int]:
        for name in ("start", "end", "step"):
            if not first(params, name):
                raise bad(name, "", "it is required")
        start_ms, end_ms = time_or(params, "start", 0), time_or(params, "end", 0)
        if end_ms < start_ms:
            raise QueryError('invalid parameter "end": end timestamp must not be before start time')
        step_ms = parse_span_ms(first(params, "step"), "step")
        if step_ms <= 0:
            raise QueryError(
                'invalid parameter "step": zero or negative query resolution step widths are not accepted. '
                "Try a positive integer",
            )
        if (end_ms - start_ms) // step_ms > self._context.settings.max_points:
            raise QueryError(
                f"exceeded maximum resolution of {self._context.settings.max_points:,} points per timeseries. "
                "Try decreasing the query resolution (?step=XX)",
            )
        return start_ms, end_ms, step_ms

    def format_query(self, params: Params) -> bytes:
        return success(format_expression(_expression(params)))

    def parse_query(self, params: Params) -> bytes:
        return success(expression_tree(_expression(params)))

    # ------------------------------------------------------------ names

    def series(self, params: Params) -> bytes:
        if not params.get("match[]"):
            raise QueryError("no match[] parameter provided")
        found: list[dict[str, str]] = []
        seen = set()
        for matchers in _selectors(params):
            for labels in self._source.series(matchers, *self._span(params)):
                if labels.pairs not in seen:
                    seen.add(labels.pairs)
                    found.append(dict(labels.pairs))
        return listed(found, count(params, "limit"))

    def labels(self, params: Params) -> bytes:
        span = self._span(params)
        names = {name for chosen in _selectors(params) or [()] for name in self._source.label_names(chosen, *span)}
        return listed(sorted(names), count(params, "limit"))

    def label_values(self, name: str, params: Params) -> bytes:
        name = _unescape(name)
        if not name:
            raise QueryError('invalid label name: ""')
        span = self._span(params)
        values = {v for chosen in _selectors(params) or [()] for v in self._source.label_values(name, chosen, *span)}
        return listed(sorted(values), count(params, "limit"))

    def _span(self, params: Params) -> tuple[int, int]:
        start_ms, end_ms = time_or(params, "start", MIN_TIME_MS), time_or(params, "end", MAX_TIME_MS)
        if end_ms < start_ms:
            raise QueryError('invalid parameter "end": end timestamp must not be before start time')
        return start_ms, end_ms

    # ------------------------------------------------------------ beside the samples

    def metadata(self, params: Params) -> bytes:
        wanted, limit = first(params, "metric"), whole(params, "limit", -1)
        whole(params, "limit_per_metric", 0)  # a metric has one entry here, and no number asks for less
        known = self._source.metadata()
        out: dict[str, list[dict[str, str]]] = {}
        for name in [wanted] if wanted else sorted(known):
            if 0 <= limit <= len(out):
                break
            if name in known:
                out[name] = [{"type": known[name].type, "help": known[name].help, "unit": known[name].unit}]
        return success(out)

    def query_exemplars(self, params: Params) -> bytes:
        start_ms, end_ms = time_or(params, "start", MIN_TIME_MS), time_or(params, "end", MAX_TIME_MS)
        if end_ms < start_ms:
            raise QueryError("end timestamp must not be before start timestamp")
        by_series: dict[tuple[tuple[str, str], ...], dict[tuple[Any, ...], dict[str, Any]]] = {}
        for found in self._source.exemplars(selectors_of(_expression(params)), start_ms, end_ms):
            entry = {
                "labels": dict(found.labels.pairs),
                "value": go_float(found.value),
                "timestamp": found.timestamp_ms / 1000,
            }
            key = (found.timestamp_ms, found.labels.pairs, found.value)
            by_series.setdefault(found.series.pairs, {})[key] = entry
        return success([
            {"seriesLabels": dict(series), "exemplars": [entries[key] for key in sorted(entries, key=lambda k: k[0])]}
            for series, entries in sorted(by_series.items())
        ])


def _expression(params: Params) -> str:
    expr = first(params, "query")
    if not expr.strip():
        raise QueryError('invalid parameter "query": no expression found in input')
    return expr


def _selectors(params: Params) -> list[Sequence[Matcher]]:
    chosen: list[Sequence[Matcher]] = []
    for text in params.get("match[]", []):
        matchers = parse_selector(text)
        if all(_matches_empty(matcher) for matcher in matchers):
            raise QueryError(
                f'invalid parameter "match[]": match[] must contain at least one non-empty matcher: {text}',
            )
        chosen.append(matchers)
    return chosen


def _matches_empty(matcher: Matcher) -> bool:
    match matcher.op:
        case "=":
            return not matcher.value
        case "!=":
            return bool(matcher.value)
        case _:
            return bool(compiled(matcher.value).fullmatch("")) == (matcher.op == "=~")


def _unescape(name: str) -> str:
    """A label name of a path: Prometheus 3 writes foreign ones as ``U__`` with hex between underscores."""
    if not name.startswith("U__"):
        return name
    return re.sub(
        r"__|_([0-9a-fA-F]{1,6})_", lambda m: chr(int(m[1], 16)) if m[1] else "_", name[3:],
    )


def _lookback(params: Params) -> int | None:
    """None: the server's own, also where the request names no time that one can look back."""
    text = first(params, "lookback_delta")
    asked_ms = parse_span_ms(text, "lookback_delta") if text else 0
    return asked_ms if asked_ms > 0 else None


def _answer_json(found: Answer, limit: int, *, with_stats: bool) -> bytes:
    body, cut = result_json(found.value, limit)
    if with_stats:
        body = b'%b,"stats":%b}' % (body[:-1], dump(_stats(found.cost)))
    return enveloped(body, (*found.warnings, CUT) if cut else found.warnings, found.infos)


def _stats(cost: Cost) -> dict[str, dict[str, float]]:
    """As Prometheus names them. What a query reads and makes stays in memory until it is answered: that is its peak."""
    return {
        "timings": {
            "evalTotalTime": cost.preparation_s + cost.evaluation_s, "resultSortTime": 0,
            "queryPreparationTime": cost.preparation_s, "innerEvalTime": cost.evaluation_s, "execQueueTime": 0,
            "execTotalTime": cost.preparation_s + cost.evaluation_s,
        },
        "samples": {"totalQueryableSamples": cost.samples, "peakSamples": cost.samples},
    }


# ---------------------------------------------------------------- routes


def prometheus_routes(context: ShowContext, threads: QueryThreads) -> list[Route]:
    """Routes of this API, the hottest first."""
    api = PrometheusApi(context)
    both = ["GET", "POST"]

    async def values(request: Request) -> Response:
        name = request.path_params["name"]
        return await answer(context, threads, request, lambda params: api.label_values(name, params))

    return [
        api_route(context, threads, "/api/v1/query", api.query, both),
        api_route(context, threads, "/api/v1/query_range", api.query_range, both),
        Route("/api/v1/label/{name:path}/values", values, methods=["GET"]),
        api_route(context, threads, "/api/v1/labels", api.labels, both),
        api_route(context, threads, "/api/v1/series", api.series, both),
        api_route(context, threads, "/api/v1/metadata", api.metadata, ["GET"]),
        api_route(context, threads, "/api/v1/query_exemplars", api.query_exemplars, both),
        api_route(context, threads, "/api/v1/format_query", api.format_query, both),
        api_route(context, threads, "/api/v1/parse_query", api.parse_query, both),
    ]
