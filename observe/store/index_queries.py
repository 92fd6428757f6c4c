"""Questions to a full-text index, in the words of its library: one schema's, so good for every segment of a kind."""

from typing import Final

import tantivy

from observe.errors import QueryError
from observe.store.language import And, Compare, CompareOp, Everything, Node, Not, Or, Phrase, Prefix, Term, WordPrefix
from observe.store.words import sortable

Query = tantivy.Query

_NS_LIMIT: Final = 2**63 - 1
_ANY: Final = "(?s:.)*"
_SPECIAL: Final = frozenset("\\.+*?()|[]{}^$#&-~")
_HEX: Final = "0123456789abcdef"


class IndexQueries:
    """Conditions on the fields of a schema."""

    def __init__(self, schema: tantivy.Schema) -> None:
        self._schema = schema

    def term(self, field: str, value: str) -> tantivy.Query:
        return Query.term_query(self._schema, field, value, "basic")

    def one_of(self, field: str, values: list[str]) -> tantivy.Query:
        return Query.term_set_query(self._schema, field, values)

    def between(self, field: str, lowest: int | None, highest: int | None) -> tantivy.Query:
        return Query.range_query(
            self._schema, field, tantivy.FieldType.Integer,
            None if lowest is None else max(-_NS_LIMIT, min(lowest, _NS_LIMIT)),
            None if highest is None else max(-_NS_LIMIT, min(highest, _NS_LIMIT)),
        )

    def search_tree(self, node: Node) -> tantivy.Query:
        """A parsed search as a query of this index."""
        try:
            return self.tree(node)
        except ValueError as error:
            raise QueryError(f"this search is beyond what the index can answer: {error}") from error

    def tree(self, node: Node) -> tantivy.Query:
        match node:
            case Everything():
                return Query.all_query()
            case And(nodes):
                return all_of([self.tree(inner) for inner in nodes])
            case Or(nodes):
                return any_of([self.tree(inner) for inner in nodes])
            case Not(inner):
                must_not = (tantivy.Occur.MustNot, self.tree(inner))
                return Query.boolean_query([(tantivy.Occur.Must, Query.all_query()), must_not])
            case Phrase(found, text):
                return any_of([self._phrase(field, found) for field in _texts(text)])
            case WordPrefix(prefix, text):
                return any_of([self._regex(field, _escape(prefix) + _ANY) for field in _texts(text)])
            case Term(("service" | "level" | "trace_id") as name, value):
                return self.term(name, value)
            case Term(name, value):
                return self.term("tags", f"{name}={value}")
            case Prefix(("message" | "error_msg") as name, _):
                return self._regex("words" if name == "message" else "error_words", _ANY)
            case Prefix("latency_ms", _):
                return self._floats("latency_ms", None, None)
            case Prefix(("service" | "level" | "trace_id") as name, value):
                return self._regex(name, _escape(value) + (_ANY if value else "(?s:.)+"))
            case Prefix(name, value):
                return self._regex("tags", _escape(f"{name}={value}") + _ANY)
            case Compare("latency_ms", op, number):
                above = op in {">", ">="}
                return self._floats("latency_ms", number if above else None, None if above else number,
                                    inclusive=op.endswith("="))
            case Compare(name, op, number):
                return self._regex("tags", _escape(f"{name}#") + _hex_range(sortable(number), op))

    def _phrase(self, field: str, found: tuple[str, ...]) -> tantivy.Query:
        if len(found) == 1:
            return self.term(field, found[0])
        return Query.phrase_query(self._schema, field, list(found))

    def _regex(self, field: str, pattern: str) -> tantivy.Query:
        return Query.regex_query(self._schema, field, pattern)

    def _floats(self, field: str, lower: float | None, upper: float | None, *, inclusive: bool = True) -> tantivy.Query:
        if lower is None and upper is None:
            return Query.exists_query(field)
        return Query.range_query(
            self._schema, field, tantivy.FieldType.Float, lower, upper, inclusive or lower is None,
            inclusive or upper is None)


def all_of(queries: list[tantivy.Query]) -> tantivy.Query:
    if len(queries) == 1:
        return queries[0]
    return Query.boolean_query([(tantivy.Occur.Must, query) for query in queries])


def any_of(queries: list[tantivy.Query]) -> tantivy.Query:
    if len(queries) == 1:
        return queries[0]
    return Query.boolean_query([(tantivy.Occur.Should, query) for query in queries])


def _texts(text: str | None) -> tuple[str, ...]:
    return {"message": ("words",), "error_msg": ("error_words",)}.get(text or "", ("words", "error_words"))


def _escape(text: str) -> str:
    return "".join("\\" + char if char in _SPECIAL else char for char in text)


def _hex_range(bound: str, op: CompareOp) -> str:
    """A pattern of all 16-digit hex numbers on one side of `bound`."""
    choices = [bound] if op.endswith("=") else []
    for place, digit in enumerate(bound):
        at = _HEX.index(digit)
        side = _HEX[at + 1 :] if op[0] == ">" else _HEX[:at]
        if side:
            choices.append(f"{bound[:place]}[{side}].*")
    return "(" + "|".join(choices) + ")" if choices else "x"
