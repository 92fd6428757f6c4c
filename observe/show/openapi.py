"""The OpenAPI description: FastAPI writes that of its own routes, this table that of the plain ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    says: str
    required: bool = False
    many: bool = False
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Documented:
    """One plain route as documentation shows it."""

    path: str
    methods: tuple[str, ...]
    summary: str
    parameters: tuple[Parameter, ...] = ()
    tag: str = "Prometheus API"
    answer: str = "application/json"
    example: str = ""


_START = Parameter("start", "Start: Unix seconds or RFC 3339.")
_END = Parameter("end", "End, inclusive: Unix seconds or RFC 3339.")
_MATCH = Parameter("match[]", 'A series selector such as `up{job="demo"}`; may be repeated.', many=True)
_LIMIT = Parameter("limit", "Most entries to return; 0 is no limit.")
_QUERY = Parameter("query", "A PromQL expression.", required=True)
_STATS = Parameter("stats", "`all`: say what it cost, too.")
_TIMEOUT = Parameter("timeout", "Give up after this long, such as `10s`.")
_BOTH = ("get", "post")

PLAIN_ROUTES: Final[tuple[Documented, ...]] = (
    Documented("/api/v1/query", _BOTH, "Evaluate an expression at one time.",
               (_QUERY, Parameter("time", "When; default now."), _TIMEOUT, _LIMIT, _STATS),
               example="query=up"),
    Documented("/api/v1/query_range", _BOTH, "Evaluate an expression over a range of times.",
               (_QUERY, _START, _END, Parameter("step", "Seconds or a duration such as `15s`.", required=True),
                _TIMEOUT, _LIMIT, _STATS), example="query=up&start=1700000000&end=1700003600&step=60"),
    Documented("/api/v1/labels", _BOTH, "Names of labels.", (_MATCH, _START, _END, _LIMIT)),
    Documented("/api/v1/label/{name}/values", ("get",), "Values of one label.",
               (Parameter("name", "The label.", required=True, place="path"), _MATCH, _START, _END, _LIMIT)),
    Documented("/api/v1/series", _BOTH, "Names of the series that selectors match.", (_MATCH, _START, _END, _LIMIT),
               example="match[]=up"),
    Documented("/api/v1/metadata", ("get",), "TYPE, HELP and UNIT of metrics.",
               (Parameter("metric", "Only this metric."), _LIMIT,
                Parameter("limit_per_metric", "Most entries a metric."))),
    Documented("/api/v1/query_exemplars", _BOTH, "Exemplars, with their trace ids, behind an expression's series.",
               (_QUERY, _START, _END)),
    Documented("/api/v1/format_query", _BOTH, "The expression, tidily written.", (_QUERY,),
               example="query=sum(up)by(job)"),
    Documented("/api/v1/parse_query", _BOTH, "The expression as a tree.", (_QUERY,), example="query=sum(up)"),
    Documented("/api/v1/targets", ("get",), "Scrape targets and their health.",
               (Parameter("state", "`any`, `active` or `dropped`."), Parameter("scrapePool", "Only this job."))),
    Documented("/api/v1/targets/metadata", ("get",), "TYPE, HELP and UNIT of metrics by target.",
               (Parameter("match_target", 'Only targets with these labels: a selector such as `{job="gateway"}`.'),
                Parameter("metric", "Only this metric."), _LIMIT)),
    Documented("/api/v1/scrape_pools", ("get",), "Names of scrape jobs."),
    Documented("/api/v1/rules", ("get",), "Rules, their health and their alerts.",
               (Parameter("type", "`alert` or `record`."), Parameter("rule_name[]", "Only these rules.", many=True),
                Parameter("rule_group[]", "Only these groups.", many=True),
                Parameter("file[]", "Only these files.", many=True),
                Parameter("match[]", 'Only rules with these labels, such as `{severity="page"}`.', many=True),
                Parameter("group_limit", "Most groups."),
                Parameter("group_next_token", "Go on after them: the `groupNextToken` of the answer before."),
                Parameter("exclude_alerts", "`true`: rules without their alerts."))),
    Documented("/api/v1/alerts", ("get",), "Pending and firing alerts."),
    Documented("/api/v1/explain", ("get",), "Why the bands of a rule's series are where they are, in words.",
               (Parameter("rule", "Name of a rule, or group/name.", required=True), _LIMIT)),
    Documented("/api/v1/alertmanagers", ("get",), "Where alerts are sent."),
    Documented("/api/v1/status/buildinfo", ("get",), "The version of Prometheus that this API equals, and ours."),
    Documented("/api/v1/status/runtimeinfo", ("get",), "Start time, server time, retention."),
    Documented("/api/v1/status/config", ("get",), "The effective configuration, secrets masked."),
    Documented("/api/v1/status/flags", ("get",), "Settings by the names of Prometheus' flags."),
    Documented("/api/v1/status/tsdb", ("get",), "Numbers of the store.",
               (Parameter("limit", "Most rows of each table, up to 10."),)),
    Documented("/api/v1/status/walreplay", ("get",), "Done: a server that answers has read its log."),
    Documented("/federate", ("get",), "Newest samples of chosen series as text.", (_MATCH,), "Operation", "text/plain",
               example='match[]={__name__=~"observe_band_.*"}'),
    Documented("/metrics", ("get",), "The server's own metrics.", (), "Operation", "text/plain"),
    Documented("/-/ready", ("get",), "200 once the server can take data and queries, else 503.", (), "Operation",
               "text/plain"),
    Documented("/-/healthy", ("get",), "200 while the process lives.", (), "Operation", "text/plain"),
    Documented("/-/reload", ("post",), "Validate and apply the configuration; on an error the old one stays.", (),
               "Operation", "text/plain"),
)

OTHERS: Final[tuple[Documented, ...]] = (
    Documented("/v1/traces", ("post",), "Send spans: OTLP over HTTP, protobuf or JSON.", (), "Send",
               "application/x-protobuf"),
    Documented("/v1/logs", ("post",), "Send log records: OTLP over HTTP, protobuf or JSON.", (), "Send",
               "application/x-protobuf"),
    Documented("/api/v1/write", ("post",), "Send samples: Prometheus remote write 1.0.", (), "Send", "text/plain"),
)
"""Plain routes of other stages: shown where they are mounted."""

_ERROR: Final = {
    "type": "object",
    "required": ["status", "errorType", "error"],
    "properties": {
        "status": {"type": "string", "const": "error"},
        "errorType": {"type": "string", "examples": ["bad_data", "execution", "timeout", "not_found", "unavailable"]},
        "error": {"type": "string", "description": "What failed, on what, why, and what to do next."},
        "position": {"type": "integer", "description": "Column of the fault in the query, counted from 1."},
    },
}


def complete(schema: dict[str, Any], documented: Sequence[Documented] = PLAIN_ROUTES) -> dict[str, Any]:
    """FastAPI's schema with the plain routes and the one error shape added."""
    schema.setdefault("components", {}).setdefault("schemas", {})["Error"] = _ERROR
    paths = schema.setdefault("paths", {})
    for route in documented:
        for method in route.methods:
            paths.setdefault(route.path, {})[method] = _operation(route, method)
    for operations in paths.values():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # FastAPI's own shape; ours is `Error`, with 400
            operation["responses"].setdefault("default", {
                "description": "What went wrong.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            })
    for unused in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(unused, None)
    return schema


def _operation(route: Documented, method: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{method}_{route.path.strip('/').replace('/', '_').replace('{', '').replace('}', '')}",
        "tags": [route.tag],
        "responses": {"200": {"description": "Success.", "content": {route.answer: {"schema": {}}}}},
    }
    if route.example:
        body["x-example"] = route.example
    in_form = method == "post" and route.parameters
    if in_form:
        properties = {p.name: {**_schema(p), "description": p.says} for p in route.parameters}
        needed = [p.name for p in route.parameters if p.required]
        body["requestBody"] = {"content": {"application/x-www-form-urlencoded": {
            "schema": {"type": "object", "properties": properties, **({"required": needed} if needed else {})},
        }}}
    elif route.parameters:
        body["parameters"] = [
            {"name": p.name, "in": p.place, "required": p.required, "description": p.says, "schema": _schema(p)}
            for p in route.parameters
        ]
    return body


def _schema(parameter: Parameter) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}} if parameter.many else {"type": "string"}
