"""Test tools, for us and for users who test their own rules: a clock to drive, a series notation, a webhook sink."""

import json
import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from observe.duration import parse_duration_ms
from observe.fake_target import FakeTarget  # noqa: F401 - one of the test tools, in a file of its own
from observe.model import STALE_NAN, Exemplar, Frame, Labels, Matcher, MetricMetadata, Samples, is_absent
from observe.patterns import compiled
from observe.protocols import Appended

_REPEAT = re.compile(r"(?P<start>[^x]+?)(?:(?P<sign>[+-])(?P<step>[0-9.eE]+))?x(?P<count>\d+)")


class ManualClock:
    """A `Clock` that moves only when told to. `wait` returns at once after moving time forward."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._now_ms / 1000

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        if not event.is_set():
            self.advance_ms(int(timeout_s * 1000))
        return event.is_set()

    def advance(self, duration: str) -> int:
        """Move forward by a duration such as ``5m``; returns the new time."""
        return self.advance_ms(parse_duration_ms(duration))

    def advance_ms(self, duration_ms: int) -> int:
        with self._lock:
            self._now_ms += duration_ms
        return self._now_ms


def series_values(notation: str) -> list[float | None]:
    """Values of promtool's series notation; ``_`` is None (no sample), ``stale`` the staleness marker.

    >>> series_values("0+10x3 _ 1x2")
    [0.0, 10.0, 20.0, 30.0, None, 1.0, 1.0, 1.0]
    """
    values: list[float | None] = []
    for word in notation.split():
        if word == "_":
            values.append(None)
        elif word == "stale":
            values.append(STALE_NAN)
        elif word.startswith("_x"):
            values.extend([None] * int(word[2:]))
        elif (match := _REPEAT.fullmatch(word)) is not None:
            start = float(match["start"])
            step = math.copysign(float(match["step"]), -1 if match["sign"] == "-" else 1) if match["step"] else 0.0
            values.extend(start + step * index for index in range(int(match["count"]) + 1))
        else:
            values.append(float(word))
    return values


@dataclass
class Received:
    """One request that a `WebhookSink` took."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class WebhookSink:
    """A real HTTP receiver on loopback that keeps what it gets. Use as a context manager.

    `answers` are the status codes to give, in turn; the last one stays.
    """

    answers: list[int] = field(default_factory=lambda: [200])
    received: list[Received] = field(default_factory=list)

    def __enter__(self) -> Self:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                promised = int(self.headers.get("Content-Length", "0"))
                body = self.rfile.read(promised)
                if len(body) < promised:
                    return  # the sender died in the middle: nobody would have taken that for a message
                with sink._changed:
                    sink.received.append(Received(self.path, dict(self.headers.items()), body))
                    status = sink.answers.pop(0) if len(sink.answers) > 1 else sink.answers[0]
                    sink._changed.notify_all()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                """Stay quiet."""

        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def wait_for(self, count: int, timeout_s: float = 10.0) -> list[Received]:
        """Wait until at least `count` requests came; returns all so far."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.received) >= count, timeout_s)
            return list(self.received)


class MemorySource:
    """A `SampleSource` in memory, for tests of rules and expressions; any order, any age; not fast at writing.

    >>> source = MemorySource()
    >>> source.load('up{job="demo"}', "1 1 0x3", step_ms=30_000)
    >>> [str(labels) for labels in source.series([], 0, 10**15)]
    ['up{job="demo"}']
    """

    def __init__(self) -> None:
        self._samples: dict[Labels, dict[int, float]] = {}
        self._columns: dict[Labels, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}

    def load(self, series: str, values: str, *, step_ms: int, start_ms: int = 0) -> None:
        """Add a series in promtool's notation: its name, its values, one every `step_ms`."""
        for index, value in enumerate(series_values(values)):
            if value is not None:
                self.add(parse_series(series), start_ms + index * step_ms, value)

    def add(self, labels: Labels, time_ms: int, value: float) -> None:
        """One sample; a second one at the same time replaces the first."""
        self._samples.setdefault(labels, {})[time_ms] = value
        self._columns.pop(labels, None)

    def _sorted(self, labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        columns = self._columns.get(labels)
        if columns is None:
            points = sorted(self._samples[labels].items())
            columns = self._columns[labels] = (
                np.array([time for time, _ in points], dtype=np.int64), np.array([value for _, value in points]),
            )
        return columns

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Samples:
        tests = [_matcher_test(matcher) for matcher in matchers]
        labels, stamps, values = [], [], []
        for series in sorted(self._samples, key=lambda each: each.pairs):
            if all(test(series) for test in tests):
                times, numbers = self._sorted(series)
                low, high = np.searchsorted(times, start_ms, "left"), np.searchsorted(times, end_ms, "right")
                if high > low:
                    labels.append(series)
                    stamps.append(times[low:high])
                    values.append(numbers[low:high])
        offsets = np.zeros(len(labels) + 1, dtype=np.int64)
        offsets[1:] = np.cumsum([len(each) for each in stamps])
        return Samples(
            tuple(labels), offsets, np.concatenate([np.empty(0, dtype=np.int64), *stamps]),
            np.concatenate([np.empty(0), *values]),
        )

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        return list(self.select(matchers, start_ms, end_ms).labels)

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        return sorted({name for labels in self.series(matchers, start_ms, end_ms) for name in labels})

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        return sorted({labels[name] for labels in self.series(matchers, start_ms, end_ms) if name in labels})

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int,  # noqa: ARG002
    ) -> list[Exemplar]:
        return []

    def metadata(self) -> Mapping[str, MetricMetadata]:
        return {}


class MemorySink:
    """A `SampleSink` that writes into a `MemorySource`: what rules record can be asked for at once."""

    def __init__(self, source: MemorySource) -> None:
        self._source = source
        self._ids: dict[Labels, int] = {}
        self._labels: list[Labels] = []

    def series_ids(self, labels: Sequence[Labels], owner: str = "") -> NDArray[np.uint32]:  # noqa: ARG002
        for one in labels:
            if one not in self._ids:
                self._ids[one] = len(self._labels)
                self._labels.append(one)
        return np.array([self._ids[one] for one in labels], dtype=np.uint32)

    def append(self, frame: Frame) -> Appended:
        there = ~is_absent(np.ascontiguousarray(frame.values))
        for row, time_ms in enumerate(frame.timestamps.tolist()):
            for column in np.flatnonzero(there[row]).tolist():
                self._source.add(self._labels[int(frame.ids[column])], time_ms, float(frame.values[row, column]))
        return Appended(stored=int(there.sum()))

    def append_exemplars(self, exemplars: Sequence[Exemplar]) -> None:
        """Exemplars are of no use to rules."""

    def append_metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        """Nor is metadata."""


def parse_series(text: str) -> Labels:
    """The labels of a series written as in an expression: ``name{label="value"}``."""
    from observe.promql.ast import Selector
    from observe.promql.parse import parse

    if text.strip() == "{}":
        return Labels()
    tree = parse(text)
    if not isinstance(tree, Selector) or any(matcher.op != "=" for matcher in tree.matchers):
        raise ValueError(f'{text!r} does not name a series: write name{{label="value"}}')
    return Labels((matcher.name, matcher.value) for matcher in tree.matchers)


def _matcher_test(matcher: Matcher) -> Callable[[Labels], bool]:
    name, value = matcher.name, matcher.value
    if matcher.op in {"=", "!="}:
        return lambda labels: (labels.get(name, "") == value) == (matcher.op == "=")
    pattern = compiled(value)
    return lambda labels: (pattern.fullmatch(labels.get(name, "")) is not None) == (matcher.op == "=~")
