"""A Prometheus-compatible server as the engine that rules ask: Prometheus, Mimir, Thanos, VictoriaMetrics.

One request a rule and evaluation. After https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

import json
import random
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from numpy.typing import NDArray

from observe.clock import Clock
from observe.errors import LimitExceeded, MalformedData, Problem, QueryError, Unavailable
from observe.model import ABSENT_NAN, METRIC_NAME, Exemplar, Labels, Matcher, Matrix, MetricMetadata, Samples, Vector
from observe.telemetry import Telemetry

_AWAY_S = 10.0
"""After no answer, checks of expressions ask again only after so long."""
_PART = "__observe_part__"
_PLACE = re.compile(r"(?:^|\D)(\d+):(\d+): parse error: (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """Where the server is, and how patient we are."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with each request (Authorization, X-Scope-OrgID); values are secrets and never shown."""
    timeout_s: float = 10.0
    """For one question, all attempts together."""
    attempts: int = 3
    connections: int = 16
    max_answer_bytes: int = 256_000_000


class PrometheusEngine:
    """`QueryEngine` and `SampleSource` over HTTP. Safe from any thread."""

    def __init__(
        self, settings: PrometheusSettings, clock: Clock, telemetry: Telemetry,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._never = threading.Event()
        self._away_until = float("-inf")
        self._where = _shown(settings.url)
        self._client = httpx.Client(
            headers=dict(settings.headers), timeout=settings.timeout_s, trust_env=False, transport=transport,
            limits=httpx.Limits(max_connections=settings.connections, max_keepalive_connections=settings.connections),
        )
        self._asked = telemetry.counter(
            "observe_remote_queries_total", "Questions to the attached metrics server, by result.", ("result",))
        self._took = telemetry.histogram(
            "observe_remote_query_duration_seconds", "Time until the attached metrics server had answered.")

    def close(self) -> None:
        self._client.close()

    # ------------------------------------------------------------ QueryEngine

    def instant(self, expr: str, time_ms: int) -> Vector:
        """The value at one time. For a bare selector also when each sample was taken, in the same request."""
        if is_selector(expr):
            try:
                return self._with_times(expr, time_ms)
            except QueryError as error:
                if error.kind == "bad_data":
                    raise
                # Several names with the same labels cannot go through `timestamp`: every point then counts as new.
        data = self._ask("/api/v1/query", {"query": expr, "time": _seconds(time_ms)})
        labels, values = _instant_rows(data)
        return Vector(time_ms, labels, values, np.full(len(labels), time_ms, dtype=np.int64))

    def _with_times(self, expr: str, time_ms: int) -> Vector:
        both = (f'label_replace({expr}, "{_PART}", "v", "", "") or '
                f'label_replace(timestamp({expr}), "{_PART}", "t", "", "")')
        labels, values = _instant_rows(self._ask("/api/v1/query", {"query": both, "time": _seconds(time_ms)}))
        when = {
            one.without(_PART, METRIC_NAME): value
            for one, value in zip(labels, values.tolist(), strict=True) if one.get(_PART) == "t"
        }
        rows = [place for place, one in enumerate(labels) if one.get(_PART) == "v"]
        names = tuple(labels[place].without(_PART) for place in rows)
        times = [round(when.get(one.without(METRIC_NAME), time_ms / 1000) * 1000) for one in names]
        return Vector(time_ms, names, values[rows], np.array(times, dtype=np.int64))

    def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
        """Dense values at start, start + step, … end."""
        data = self._ask("/api/v1/query_range", {
            "query": expr, "start": _seconds(start_ms), "end": _seconds(end_ms), "step": _seconds(step_ms),
        })
        times = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        labels: list[Labels] = []
        values = np.full((len(data.get("result", ())), len(times)), ABSENT_NAN)
        for row, one in enumerate(data.get("result", ())):
            labels.append(Labels(one["metric"]))
            for at, value in one.get("values", ()):
                column = round((float(at) * 1000 - start_ms) / step_ms)
                if 0 <= column < len(times):
                    values[row, column] = float(value)
        return Matrix(times, tuple(labels), values)

    def check(self, expr: str) -> None:
        """Let the server judge its own language; where it cannot be asked, Prometheus' grammar decides."""
        try:
            if self._clock.monotonic() < self._away_until:
                raise Unavailable("asked a moment ago")  # noqa: TRY301 - many rules are checked at once
            self._ask("/api/v1/query", {"query": expr, "time": "0"})
        except Unavailable:
            import promql_parser

            self._away_until = self._clock.monotonic() + _AWAY_S

            try:
                promql_parser.parse(expr)
            except ValueError as error:
                raise QueryError(Problem("this is not PromQL", why=str(error))) from error

    # ------------------------------------------------------------ SampleSource

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Samples:
        """Raw samples. Prometheus leaves staleness markers out of its answers."""
        window = f"{_selector(matchers)}[{max(1, end_ms - start_ms + 1)}ms]"
        data = self._ask("/api/v1/query", {"query": window, "time": _seconds(end_ms)})
        rows = data.get("result", ())
        offsets = np.cumsum([0, *(len(one.get("values", ())) for one in rows)], dtype=np.int64)
        pairs = [pair for one in rows for pair in one.get("values", ())]
        return Samples(
            tuple(Labels(one["metric"]) for one in rows), offsets,
            np.array([round(float(at) * 1000) for at, _ in pairs], dtype=np.int64),
            np.array([float(value) for _, value in pairs], dtype=np.float64),
        )

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        found = self._ask("/api/v1/series", {"match[]": _selector(matchers), **_span(start_ms, end_ms)})
        return [Labels(one) for one in found]

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        match = {"match[]": _selector(matchers)} if matchers else {}
        return [str(name) for name in self._ask("/api/v1/labels", {**match, **_span(start_ms, end_ms)})]

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        match = {"match[]": _selector(matchers)} if matchers else {}
        found = self._ask(f"/api/v1/label/{name}/values", {**match, **_span(start_ms, end_ms)}, method="GET")
        return [str(value) for value in found]

    def exemplars(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> list[Exemplar]:
        found: list[Exemplar] = []
        for matchers in selectors:
            for one in self._ask("/api/v1/query_exemplars", {"query": _selector(matchers), **_span(start_ms, end_ms)}):
                series = Labels(one["seriesLabels"])
                found.extend(
                    Exemplar(series, Labels(each["labels"]), float(each["value"]), _ms(each["timestamp"]))
                    for each in one["exemplars"]
                )
        return sorted(found, key=lambda one: one.timestamp_ms)

    def metadata(self) -> Mapping[str, MetricMetadata]:
        told = self._ask("/api/v1/metadata", {}, method="GET")
        return {
            name: MetricMetadata(entries[0].get("type", ""), entries[0].get("help", ""), entries[0].get("unit", ""))
            for name, entries in told.items() if entries
        }

    # ------------------------------------------------------------ HTTP

    def _ask(self, path: str, params: Mapping[str, str], method: str = "POST") -> Any:
        """The `data` of an answer; tried again while there is time and hope."""
        began = self._clock.monotonic()
        deadline = began + self.settings.timeout_s
        attempt = 0
        while True:
            attempt += 1
            try:
                data = self._once(path, params, method, deadline)
            except Unavailable as error:
                pause_s = 0.1 * 2 ** (attempt - 1) * (1 + random.random())  # noqa: S311 - spreads retries, no secret
                left_s = deadline - self._clock.monotonic()
                if not error.retryable or attempt >= self.settings.attempts or left_s <= pause_s:
                    self._asked.labels(error.reason).inc()
                    raise
                self._clock.wait(self._never, pause_s)
                continue
            except QueryError:
                self._asked.labels("refused").inc()
                raise
            self._asked.labels("ok").inc()
            self._took.observe(self._clock.monotonic() - began)
            return data

    def _once(self, path: str, params: Mapping[str, str], method: str, deadline: float) -> Any:
        url = self.settings.url.rstrip("/") + path
        timeout_s = max(0.05, deadline - self._clock.monotonic())
        try:
            if method == "GET":
                request = self._client.build_request("GET", url, params=dict(params), timeout=timeout_s)
            else:
                request = self._client.build_request("POST", url, data=dict(params), timeout=timeout_s)
            answer = self._client.send(request, stream=True)
            try:
                body = self._body(answer)
            finally:
                answer.close()
        except httpx.TimeoutException as error:
            raise Unavailable(
                f"{self._where} gave no answer within {self.settings.timeout_s:g} s; "
                "raise the query timeout, or make the expression cheaper", reason="timeout",
            ) from error
        except httpx.HTTPError as error:
            told = str(error) or type(error).__name__
            raise Unavailable(f"cannot reach {self._where} ({told}); is it running, is the address right?",
                              reason="connection") from error
        return self._understood(answer.status_code, body)

    def _body(self, answer: httpx.Response) -> bytes:
        parts: list[bytes] = []
        size = 0
        for part in answer.iter_bytes():
            size += len(part)
            if size > self.settings.max_answer_bytes:
                raise LimitExceeded(
                    f"an answer of {self._where} is larger than {self.settings.max_answer_bytes} bytes; "
                    "aggregate more in the expression", "max_answer_bytes")
            parts.append(part)
        return b"".join(parts)

    def _understood(self, status: int, body: bytes) -> Any:
        if status in {401, 403}:
            raise Unavailable(f"{self._where} refuses us ({status}): check `headers:` under `attach: prometheus:`",
                              retryable=False, reason="unauthorized")
        try:
            told = json.loads(body)
        except ValueError as error:
            if status in {429, 502, 503, 504} or status >= 500:
                raise Unavailable(f"{self._where} answered {status}", reason="server error") from error
            words = body[:80].decode("utf-8", "replace")
            raise Unavailable(
                f"{self._where} answered {status} with something that is not Prometheus' JSON ({words!r}); "
                "is this the address of its API?", retryable=200 <= status < 300, reason="malformed") from error
        if isinstance(told, dict) and told.get("status") == "success" and "data" in told:
            return told["data"]
        problem = str(told.get("error", "")) if isinstance(told, dict) else ""
        kind = str(told.get("errorType", "")) if isinstance(told, dict) else ""
        if status in {400, 422} and problem:
            raise _query_error(problem, kind)
        raise Unavailable(f"{self._where} answered {status}: {problem or 'no reason given'}",
                          retryable=status == 429 or status >= 500, reason=kind or "server error")


def _query_error(text: str, kind: str) -> QueryError:
    place = _PLACE.search(text)
    if place is None:
        return QueryError(Problem(text), kind=kind or "bad_data")
    return QueryError(Problem(place[3], line=int(place[1]), column=int(place[2])), kind="bad_data")


def _instant_rows(data: Mapping[str, Any]) -> tuple[tuple[Labels, ...], NDArray[np.float64]]:
    try:
        kind, result = data["resultType"], data["result"]
        if kind == "scalar":
            return (Labels(),), np.array([float(result[1])])
        if kind != "vector":
            raise QueryError(Problem(f"the expression gives a {kind}, a rule needs a vector"))
        return tuple(Labels(one["metric"]) for one in result), np.array(
            [float(one["value"][1]) for one in result], dtype=np.float64)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise MalformedData(f"the metrics server's answer is not as its API says: {error!r}") from error


def is_selector(expr: str) -> bool:
    """Whether the expression is a bare selector: only its result can repeat an old sample."""
    import promql_parser

    try:
        node: Any = promql_parser.parse(expr)
    except ValueError:
        return False
    while type(node).__name__ == "ParenExpr":
        node = node.expr
    return type(node).__name__ == "VectorSelector"


def _selector(matchers: Sequence[Matcher]) -> str:
    return "{" + ",".join(map(str, matchers)) + "}" if matchers else '{__name__!=""}'


def _span(start_ms: int, end_ms: int) -> dict[str, str]:
    return {"start": _seconds(start_ms), "end": _seconds(end_ms)}


def _seconds(time_ms: int) -> str:
    return f"{time_ms / 1000:.3f}"


def _ms(seconds: float | str) -> int:
    return round(float(seconds) * 1000)


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or '?'}" + (f":{parts.port}" if parts.port else "")
