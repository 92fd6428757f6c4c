"""Business figures from what a team has: SQL queries, HTTP JSON and log lines, declared in one YAML file."""

import glob
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

from observe.errors import MalformedData
from observe.exporters import business_config, business_sql
from observe.exporters.business_config import Source
from observe.exporters.collectors import Collector, NoData
from observe.exporters.fetch import basic, get, without_secrets
from observe.exporters.log_tail import LogTail
from observe.exporters.page import Metric, Page
from observe.exporters.registry import Option, exporter
from observe.exporters.secret import read_secret

LEFT_OUT = Metric(
    "business_rows_left_out", "gauge", "", "Rows or items beyond a source's max_rows, not shown.", ("source",),
)
MAX_LABEL: Final = 200
"""Characters of a label's value; longer ones are cut."""
MAX_LOGS: Final = 64


def number(value: object, what: str, scale: float = 1.0) -> float | None:
    """A figure from a row or an item. None stays absent; what is no figure is an error that says where it stood."""
    if value is None:
        return None
    if isinstance(value, bool | int | float | Decimal):
        return float(value) * scale
    raise MalformedData(f"{what} is {str(value)[:80]!r}, which is not a number")


def label(value: object) -> str:
    return ("" if value is None else str(value))[:MAX_LABEL]


class _Once:
    """Adds samples to a page; one that another row gave already is an error, not silently the last one's figure."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._said: set[tuple[Metric, tuple[str, ...]]] = set()

    def add(self, metric: Metric, value: float | None, labels: Sequence[str]) -> None:
        if value is None:
            return
        key = (metric, tuple(labels))
        if key in self._said:
            told = ", ".join(f"{name}={text!r}" for name, text in zip(metric.labels, labels, strict=True))
            raise MalformedData(
                f"two rows give {metric.name} the same labels ({told or 'none'}); name what tells them apart under "
                "`labels:`, or let the query add them up",
            )
        self._said.add(key)
        self._page.add(metric, value, *labels)


def write_rows(source: Source, rows: Sequence[Mapping[str, Any]], page: Page) -> None:
    """Rows of a query as samples."""
    once = _Once(page)
    for index, row in enumerate(rows):
        for wanted in source.wanted:
            missing = [name for name in (*wanted.values, *wanted.labels.values()) if name not in row]
            if missing:
                raise MalformedData(
                    f"the query gives no column {', '.join(missing)}; it gives {', '.join(row)}", "column",
                )
            labels = [label(row[column]) for column in wanted.labels.values()]
            for metric, column in zip(wanted.metrics, wanted.values, strict=True):
                said = number(row[column], f"row {index + 1}, column {column}", wanted.scale)
                once.add(metric, said, labels)


def write_json(source: Source, document: object, page: Page) -> int:
    """A JSON document as samples; returns how many items were left out."""
    import jmespath

    left_out, once = 0, _Once(page)
    for wanted in source.wanted:
        items: Any = [document]
        if wanted.each:
            items = jmespath.search(wanted.each, document)
            if not isinstance(items, list):
                raise MalformedData(f"each {wanted.each!r} gives no list")
            left_out += max(0, len(items) - source.max_rows)
        for item in items[:source.max_rows]:
            labels = [label(jmespath.search(path, item)) for path in wanted.labels.values()]
            for metric, path in zip(wanted.metrics, wanted.values, strict=True):
                once.add(metric, number(jmespath.search(path, item), f"value {path!r}", wanted.scale), labels)
    return left_out


class LogCounts:
    """Lines of logs that hold a text or fields, counted since this exporter began."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._tails: dict[str, LogTail] = {}
        self._counts: list[Counter[tuple[str, ...]]] = [Counter() for _ in source.wanted]
        self._from_end = source.settings.get("from", "end") == "end"
        self._left_out = 0

    def collect(self, page: Page) -> None:
        pattern = str(self._source.settings["path"])
        paths = sorted(glob.glob(pattern))  # noqa: PTH207 - the pattern is absolute or not, as it was written
        page.leave_out(len(paths) - MAX_LOGS)
        paths = paths[:MAX_LOGS]
        for path in paths:
            if path not in self._tails:
                self._tails[path] = LogTail(path, from_end=self._from_end)
        self._from_end = False  # a log that appears later is new: all of it counts
        if not self._tails:
            raise NoData(f"no file matches {pattern}")
        for path, tail in list(self._tails.items()):
            for line in tail.lines():
                self._take(line)
            if path not in paths and not tail.unread():
                tail.close()
                del self._tails[path]
        for wanted, counts in zip(self._source.wanted, self._counts, strict=True):
            if not wanted.labels:
                page.add(wanted.metrics[0], counts[()])
            else:
                for labels, count in counts.items():
                    page.add(wanted.metrics[0], count, *labels)
        page.add(LEFT_OUT, self._left_out, self._source.name)

    def _take(self, line: str) -> None:
        fields: Mapping[str, Any] | None = None
        for wanted, counts in zip(self._source.wanted, self._counts, strict=True):
            if wanted.contains and wanted.contains not in line:
                continue
            if wanted.where or wanted.labels:
                fields = _fields(line) if fields is None else fields
                if any(str(fields.get(name)) != value for name, value in wanted.where.items()):
                    continue
            labels = tuple(label((fields or {}).get(name)) for name in wanted.labels.values())
            if labels in counts or len(counts) < self._source.max_rows:
                counts[labels] += 1
            else:
                self._left_out += 1

    def close(self) -> None:
        for tail in self._tails.values():
            tail.close()


def _fields(line: str) -> Mapping[str, Any]:
    """A JSON line's fields; nothing for other lines."""
    if not line.lstrip().startswith("{"):
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def collect_sql(source: Source, page: Page) -> None:
    rows, left_out = business_sql.rows(source)
    write_rows(source, rows, page)
    page.add(LEFT_OUT, left_out, source.name)


def collect_http(source: Source, page: Page) -> None:
    settings = source.settings
    password = read_secret(settings.get("password_file", ""), settings.get("password_env", ""))
    headers = {name: _with_secrets(str(value)) for name, value in (settings.get("headers") or {}).items()}
    headers |= basic(settings.get("user", ""), password)
    body = get(settings["url"], source.timeout_s, headers, settings.get("ca_file", ""))
    try:
        document = json.loads(body)
    except ValueError as error:
        raise MalformedData(f"{without_secrets(settings['url'])} answers something else than JSON") from error
    page.add(LEFT_OUT, write_json(source, document, page), source.name)


def _with_secrets(text: str) -> str:
    """`text` with ``${file:PATH}`` and ``${env:NAME}`` replaced.

    >>> _with_secrets("Bearer ${env:NO_SUCH_VARIABLE}x")
    'Bearer x'
    """
    parts = text.split("${")
    made = parts[0]
    for part in parts[1:]:
        name, brace, rest = part.partition("}")
        kind, _, of = name.partition(":")
        if not brace or kind not in {"file", "env"}:
            made += "${" + part
        else:
            made += (read_secret(of, "") if kind == "file" else read_secret("", of)) + rest
    return made


def collectors(sources: Sequence[Source]) -> Iterator[Collector]:
    """One collector a source, each in its own time: one that fails or hangs delays no other."""
    for source in sources:
        metrics = (*(metric for wanted in source.wanted for metric in wanted.metrics), LEFT_OUT)
        name = f"business_{source.name}"
        if source.kind == "log":
            counts = LogCounts(source)
            yield Collector(name, metrics, counts.collect, source.every_s, counts.close)
        else:
            collect = collect_sql if source.kind == "sql" else collect_http
            yield Collector(name, metrics, partial(collect, source), source.every_s)


def _readable(text: str) -> None:
    if not text:
        raise ValueError("name the YAML file that declares your figures: --config FILE")


@exporter("business", port=9208, summary="business figures from SQL, HTTP JSON and logs, declared in YAML", options=(
    Option("config", "", "the YAML file that declares sources and metrics", _readable),
))
def build(options: Mapping[str, str]) -> Sequence[Collector]:
    return list(collectors(business_config.load(Path(options["config"]))))


