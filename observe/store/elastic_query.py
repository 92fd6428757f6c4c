"""A parsed search as Elasticsearch's query DSL: the twin of `SegmentIndex.tree`."""

from typing import Any, Final

from observe.protocols import LogQuery, TraceQuery
from observe.store.language import And, Compare, Everything, Node, Not, Or, Phrase, Prefix, Term, WordPrefix, parse
from observe.store.words import sortable

Query = dict[str, Any]

_RANGE: Final = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_LOWEST, _HIGHEST = "0" * 16, "f" * 16


def tree(node: Node) -> Query:
    match node:
        case Everything():
            return {"match_all": {}}
        case And(nodes):
            return all_of([tree(inner) for inner in nodes])
        case Or(nodes):
            return any_of([tree(inner) for inner in nodes])
        case Not(inner):
            return {"bool": {"must_not": [tree(inner)]}}
        case Phrase(found, text):
            return any_of([_phrase(field, found) for field in _texts(text)])
        case WordPrefix(prefix, text):
            return any_of([{"prefix": {field: {"value": prefix}}} for field in _texts(text)])
        case Term(name, value):
            return {"term": {name: {"value": value}}}
        case Prefix("message", _):
            return {"exists": {"field": "words"}}
        case Prefix("error_msg", _):
            return {"exists": {"field": "error_words"}}
        case Prefix(("service" | "level") as name, ""):
            return {"bool": {"filter": [{"exists": {"field": name}}], "must_not": [{"term": {name: {"value": ""}}}]}}
        case Prefix(name, ""):
            return {"exists": {"field": name}}
        case Prefix(name, value):
            return {"prefix": {name: {"value": value}}}
        case Compare("latency_ms", op, number):
            return {"range": {"latency_ms": {_RANGE[op]: number}}}
        case Compare(name, op, number):
            bounds = {_RANGE[op]: f"{name}#{sortable(number)}"}
            other = {"lte": f"{name}#{_HIGHEST}"} if op[0] == ">" else {"gte": f"{name}#{_LOWEST}"}
            return {"range": {"numbers": bounds | other}}


def _texts(text: str | None) -> tuple[str, ...]:
    return {"message": ("words",), "error_msg": ("error_words",)}.get(text or "", ("words", "error_words"))


def _phrase(field: str, found: tuple[str, ...]) -> Query:
    if len(found) == 1:
        return {"match": {field: {"query": found[0], "operator": "and"}}}
    return {"match_phrase": {field: {"query": " ".join(found)}}}


def all_of(queries: list[Query]) -> Query:
    return queries[0] if len(queries) == 1 else {"bool": {"filter": queries}}


def any_of(queries: list[Query]) -> Query:
    return queries[0] if len(queries) == 1 else {"bool": {"should": queries, "minimum_should_match": 1}}


def between(field: str, lowest: int | None, highest: int | None) -> Query:
    bounds = {name: value for name, value in (("gte", lowest), ("lte", highest)) if value is not None}
    return {"range": {field: bounds}}


def term(field: str, value: str) -> Query:
    return {"term": {field: {"value": value}}}


def logs(query: LogQuery) -> Query:
    """What a log search asks for. Raises `QueryError`."""
    node = parse(query.text)
    parts = [between("time_ns", query.start_ns, query.end_ns)]
    if query.service is not None:
        parts.append(term("service", query.service))
    if query.level is not None:
        parts.append(term("level", query.level.lower()))
    if query.trace_id is not None:
        parts.append(term("trace_id", query.trace_id.lower()))
    if query.text.strip():
        parts.append(tree(node))
    return {"bool": {"filter": parts}}


def traces(query: TraceQuery, tag: str | None) -> Query:
    """Spans of the traces that a question is about; `tag` restricts them to roots or entries."""
    parts = [between("start_ns", None, query.end_ns), between("end_ns", query.start_ns, None)]
    if tag is not None:
        parts.append(term("tags", tag))
    if query.service is not None:
        parts.append(term("service", query.service))
    if query.endpoint is not None:
        parts.append(term("endpoint", query.endpoint))
    if query.failed_only:
        parts.append(term("tags", "failed"))
    if query.min_duration_ms is not None:
        parts.append(between("duration_us", int(query.min_duration_ms * 1000), None))
    return {"bool": {"filter": parts}}
