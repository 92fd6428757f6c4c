"""One segment's full-text index (tantivy): what can be asked of log lines and spans, by sequence number.

Nothing is stored here but what searches need: a hit is a sequence number, and the spool keeps the record. So an index
that is missing, damaged or of an older layout is made again from its segment.
"""

import contextlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tantivy

from observe import durable
from observe.errors import QueryError, StorageError
from observe.model import LogRecord, Span
from observe.store.language import And, Compare, CompareOp, Everything, Node, Not, Or, Phrase, Prefix, Term, WordPrefix
from observe.store.words import VALUE_CHARS, leaf_text, leaves, number_of, sortable, words

LAYOUT: Final = 1
"""Of the fields below: another number makes every index again from its segment."""
_HEAP_BYTES: Final = 24_000_000
_NS_LIMIT: Final = 2**63 - 1

Query = tantivy.Query


class IndexDamaged(StorageError):
    """This index cannot be used and has to be made again."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of record puts into its index."""

    name: str
    schema: tantivy.Schema
    document: Callable[[Any, int], dict[str, Any]]


def _log_schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    for name in ("words", "error_words"):
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="position")
    for name in ("tags", "trace_id"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in ("service", "level"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic", fast=True)
    for name in ("time_ns", "time_ms", "seq"):
        builder.add_integer_field(name, fast=True)
    builder.add_float_field("latency_ms", fast=True)
    return builder.build()


def _span_schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    for name in ("tags", "trace_id"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("service", tokenizer_name="raw", index_option="basic", fast=True)
    for name in ("start_ns", "end_ns", "rank", "duration_us", "seq"):
        builder.add_integer_field(name, fast=True)
    return builder.build()


def log_tags(record: LogRecord) -> list[str]:
    """The exact values of a line: ``name=value``, and ``name#`` with the sortable form of what is a number."""
    tags = []
    for name, value in (("status", record.status), ("endpoint", record.endpoint), ("span_id", record.span_id)):
        if value and len(value) <= VALUE_CHARS:
            tags.append(f"{name}={value}")
    number = number_of(record.status)
    if number is not None:
        tags.append(f"status#{sortable(number)}")
    if record.fields:
        for name, leaf in leaves(record.fields):
            text = leaf_text(leaf)
            if len(text) <= VALUE_CHARS and len(name) <= VALUE_CHARS:
                tags.append(f"fields.{name}={text}")
            number = number_of(leaf)
            if number is not None and len(name) <= VALUE_CHARS:
                tags.append(f"fields.{name}#{sortable(number)}")
    return tags


def _log_document(record: LogRecord, seq: int) -> dict[str, Any]:
    document: dict[str, Any] = {
        "words": " ".join(words(record.message)), "tags": log_tags(record), "service": record.service,
        "level": record.level, "time_ns": record.timestamp_ns, "time_ms": record.timestamp_ns // 1_000_000, "seq": seq,
    }
    if record.error_msg:
        document["error_words"] = " ".join(words(record.error_msg))
    if record.trace_id:
        document["trace_id"] = record.trace_id
    if record.latency_ms is not None and math.isfinite(record.latency_ms):
        document["latency_ms"] = float(record.latency_ms)
    return document


def span_failed(span: Span) -> bool:
    return span.status == "error" or (number_of(span_status(span)) or 0) >= 500


def span_status(span: Span) -> str:
    """The HTTP status a span carries, else its own status."""
    for name in ("http.response.status_code", "http.status_code"):
        if name in span.attributes:
            return str(span.attributes[name])
    return span.status


def span_endpoint(span: Span) -> str | None:
    route = span.attributes.get("http.route")
    return str(route) if route else None


def span_rank(span: Span) -> int:
    """Sorts failed before slow before quick."""
    return (int(span_failed(span)) << 61) + span_duration_us(span)


def span_duration_us(span: Span) -> int:
    return max(0, min((span.end_ns - span.start_ns) // 1000, (1 << 60) - 1))


def span_tags(span: Span) -> list[str]:
    """``root`` (no parent), ``entry`` (where a service was called), ``failed``, and the endpoint."""
    tags = []
    if span.parent_span_id is None:
        tags.append("root")
    if span.parent_span_id is None or span.kind in {"server", "consumer"}:
        tags.append("entry")
    if span_failed(span):
        tags.append("failed")
    endpoint = span_endpoint(span)
    if endpoint and len(endpoint) <= VALUE_CHARS:
        tags.append(f"endpoint={endpoint}")
    return tags


def _span_document(span: Span, seq: int) -> dict[str, Any]:
    return {
        "tags": span_tags(span), "trace_id": span.trace_id, "service": span.service, "start_ns": span.start_ns,
        "end_ns": span.end_ns, "rank": span_rank(span), "duration_us": span_duration_us(span), "seq": seq,
    }


LOGS: Final = Kind("logs", _log_schema(), _log_document)
SPANS: Final = Kind("spans", _span_schema(), _span_document)


@contextlib.contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    """Whatever the index library throws (it also panics) becomes one error of ours."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, ValueError | OSError) and type(error).__name__ != "PanicException":
            raise
        raise IndexDamaged(f"the index in {folder} is not usable ({error}); it is made again from the spool") from error


def _is_nearly_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _HEAP_BYTES
    except OSError:
        return False


class SegmentIndex:
    """The index in a segment's folder. One thread writes; any thread reads what was committed."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.folder = folder
        self.kind = kind
        self.dirty = False
        self._writer: tantivy.IndexWriter | None = None
        layout = json.dumps({"layout": LAYOUT, "kind": kind.name})
        marker = folder / "layout"
        if not marker.exists() or marker.read_text() != layout:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()  # not its parents: a segment that retention took must stay away
            durable.write_file(marker, layout.encode())
        with _guarded(folder):
            self._index = tantivy.Index(kind.schema, path=str(folder))
            self._index.config_reader("manual")  # the default polls the folder twice a second, for ever
            self._index.reload()
            self._searcher = self._index.searcher()
        self.next_seq = self._highest() + 1

    def _highest(self) -> int:
        with _guarded(self.folder):
            found = self._searcher.search(Query.all_query(), 1, count=False, order_by_field="seq")
        return int(found.hits[0][0]) if found.hits else -1

    # ------------------------------------------------------------ writing

    def add(self, record: Any, seq: int) -> None:
        """Raises `ValueError` for a record that cannot be indexed, `IndexDamaged` when nothing can."""
        document = tantivy.Document.from_dict(self.kind.document(record, seq), self.kind.schema)
        with self._writing():
            if self._writer is None:
                self._writer = self._index.writer(_HEAP_BYTES, 1)
            self._writer.add_document(document)
        self.dirty = True
        self.next_seq = seq + 1

    def commit(self) -> None:
        """Make what was added visible."""
        if self._writer is None or not self.dirty:
            return
        with self._writing():
            self._writer.commit()
            self._index.reload()
            self._searcher = self._index.searcher()
        self.dirty = False

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A writer that fails for want of space is given up, and what was committed before goes on answering."""
        try:
            with _guarded(self.folder):
                yield
        except IndexDamaged as error:
            self._give_up_writing()
            if "os error 28" in str(error) or "os error 122" in str(error) or _is_nearly_full(self.folder):
                raise StorageError(
                    f"no space to index what is new in {self.folder}: it is kept, and found once there is space",
                ) from error
            raise

    def _give_up_writing(self) -> None:
        """Back to the last commit; the files of the failed attempt go, as far as that is possible now."""
        self._writer = None
        self.dirty = False
        self.next_seq = self._highest() + 1
        with contextlib.suppress(IndexDamaged), _guarded(self.folder):
            self._index.writer(_HEAP_BYTES, 1).garbage_collect_files()

    def rest(self) -> None:
        """Commit, let merges end, and free the writer's memory and threads."""
        if self._writer is not None:
            self.commit()
            writer, self._writer = self._writer, None
            with _guarded(self.folder):
                writer.wait_merging_threads()
                self._index.reload()
                self._searcher = self._index.searcher()

    # ------------------------------------------------------------ reading

    def count(self, query: tantivy.Query) -> int:
        with _guarded(self.folder):
            found: Any = self._searcher.search(query, 1, count=True)
            return int(found.count)

    def top(self, query: tantivy.Query, field: str, limit: int, *, descending: bool = True) -> list[tuple[int, int]]:
        """(value of `field`, seq) of the first hits in the order of `field`."""
        order = tantivy.Order.Desc if descending else tantivy.Order.Asc
        searcher = self._searcher
        with _guarded(self.folder):
            limit = max(1, min(limit, searcher.num_docs))
            hits = searcher.search(query, limit, count=False, order_by_field=field, order=order).hits
            seqs = searcher.fast_field_values("seq", [address for _, address in hits])
        return [(int(value), int(seq or 0)) for (value, _), seq in zip(hits, seqs, strict=True)]

    def aggregate(self, query: tantivy.Query, wanted: Mapping[str, Any]) -> dict[str, Any]:
        with _guarded(self.folder):
            found: dict[str, Any] = self._searcher.aggregate(query, dict(wanted))
        return found

    # ------------------------------------------------------------ queries

    def term(self, field: str, value: str) -> tantivy.Query:
        return Query.term_query(self.kind.schema, field, value, "basic")

    def one_of(self, field: str, values: list[str]) -> tantivy.Query:
        return Query.term_set_query(self.kind.schema, field, values)

    def between(self, field: str, lowest: int | None, highest: int | None) -> tantivy.Query:
        return Query.range_query(
            self.kind.schema, field, tantivy.FieldType.Integer,
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
        return Query.phrase_query(self.kind.schema, field, list(found))

    def _regex(self, field: str, pattern: str) -> tantivy.Query:
        return Query.regex_query(self.kind.schema, field, pattern)

    def _floats(self, field: str, lower: float | None, upper: float | None, *, inclusive: bool = True) -> tantivy.Query:
        if lower is None and upper is None:
            return Query.exists_query(field)
        return Query.range_query(
            self.kind.schema, field, tantivy.FieldType.Float, lower, upper, inclusive or lower is None,
            inclusive or upper is None)


_ANY: Final = "(?s:.)*"
_SPECIAL: Final = frozenset("\\.+*?()|[]{}^$#&-~")
_HEX: Final = "0123456789abcdef"


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


def all_of(queries: list[tantivy.Query]) -> tantivy.Query:
    if len(queries) == 1:
        return queries[0]
    return Query.boolean_query([(tantivy.Occur.Must, query) for query in queries])


def any_of(queries: list[tantivy.Query]) -> tantivy.Query:
    if len(queries) == 1:
        return queries[0]
    return Query.boolean_query([(tantivy.Occur.Should, query) for query in queries])
