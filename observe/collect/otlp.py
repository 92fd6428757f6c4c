"""OTLP/HTTP: spans and log records from OpenTelemetry's exporters, on ``/v1/traces`` and ``/v1/logs``.

The event loop only gathers bytes. Threads of a small pool decompress, decode and store, so that the answer 200 means
durable. Answers are OTLP's: partial success with the number refused, 429 and 503 with Retry-After, 400 with a status
message, in the encoding of the request.
"""

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from observe.clock import Clock, SystemClock
from observe.collect.otlp_model import ContentUids, log_of, spans_of
from observe.collect.otlp_wire import read_json, read_protobuf
from observe.errors import LimitExceeded, MalformedData, StorageError, Unavailable
from observe.model import LogRecord, Span
from observe.protocols import SignalSink
from observe.telemetry import Telemetry

RunBlocking = Callable[..., Awaitable[Any]]
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Bounds of the receiver."""

    max_body_bytes: int = 16 * 1024 * 1024
    """As sent."""
    max_inflated_bytes: int = 64 * 1024 * 1024
    """After decompression."""
    max_waiting: int = 64
    """Requests that decode or wait; beyond them the sender is asked to come back (429)."""
    threads: int = 2
    retry_after_s: int = 2


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a request says."""

    logs: tuple[LogRecord, ...] = ()
    spans: tuple[Span, ...] = ()
    refused: int = 0
    """Spans without valid ids."""


def decode(body: bytes, signal: str, *, is_json: bool, now_ns: int) -> Decoded:
    """Read a request body for ``traces`` or ``logs``. Raises `MalformedData`."""
    groups = read_json(body, signal) if is_json else read_protobuf(body, signal)
    logs: list[LogRecord] = []
    spans: list[Span] = []
    refused = 0
    uids = ContentUids()
    for resource, resource_bytes, records, raw in groups:
        if signal == "traces":
            made, bad = spans_of(resource, records)
            spans.extend(made)
            refused += bad
        else:
            logs.extend(
                log_of(resource, record, uids.uid(resource_bytes, line), now_ns)
                for record, line in zip(records, raw, strict=True)
            )
    return Decoded(tuple(logs), tuple(spans), refused)


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo Content-Encoding, never beyond `limit` bytes."""
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip" | "deflate":
            engine = zlib.decompressobj(47)  # gzip or zlib, told by the header
        case other:
            raise MalformedData(f"Content-Encoding {other[:40]!r} is not read here; send gzip or nothing", "encoding")
    try:
        page = engine.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedData(f"the body is not valid {encoding}: {error}", "encoding") from error
    if len(page) > limit:
        raise LimitExceeded(f"the body is larger than {limit} bytes once decompressed", "max_inflated_bytes")
    if not engine.eof:
        raise MalformedData(f"the {encoding} body is cut short", "truncated")
    return page


class OtlpReceiver:
    """The two endpoints over one sink."""

    def __init__(
        self, sink: SignalSink, settings: OtlpSettings, telemetry: Telemetry, clock: Clock,
        run_blocking: RunBlocking | None,
    ) -> None:
        self._sink = sink
        self._settings = settings
        self._telemetry = telemetry
        self._clock = clock
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="observe-otlp")
        self._run: RunBlocking = run_blocking or self._in_pool
        self._waiting = 0
        self._requests = telemetry.counter("observe_otlp_requests_total", "OTLP requests by outcome.",
                                           ("signal", "outcome"))
        self._records = telemetry.counter("observe_otlp_records_total", "Spans and log records accepted by OTLP.",
                                          ("signal",))

    async def traces(self, request: Request) -> Response:
        return await self._receive(request, "traces")

    async def logs(self, request: Request) -> Response:
        return await self._receive(request, "logs")

    async def _in_pool(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    async def _receive(self, request: Request, signal: str) -> Response:
        is_json = _is_json(request)
        outcome, answer = await self._handle(request, signal, is_json)
        self._requests.labels(signal, outcome).inc()
        return answer

    async def _handle(self, request: Request, signal: str, is_json: bool | None) -> tuple[str, Response]:
        if is_json is None:
            sent = request.headers.get("content-type", "")[:60]
            message = f"Content-Type is {sent!r}; send {PROTOBUF} or {JSON}"
            return "content_type", _problem(415, 3, message, is_json=False)
        if self._waiting >= self._settings.max_waiting:
            self._telemetry.dropped("otlp", "overloaded")
            return "overloaded", self._later(429, f"{self._waiting} requests are waiting already", is_json=is_json)
        self._waiting += 1
        try:
            body = await self._gather(request)
            refused = await self._run(self._store, body, request.headers.get("content-encoding", ""), signal, is_json)
        except ClientDisconnect:
            return "truncated", Response(status_code=400)
        except MalformedData as error:
            return error.reason, _problem(400, 3, str(error), is_json=is_json)
        except LimitExceeded as error:
            if error.limit in {"max_body_bytes", "max_inflated_bytes"}:
                return error.limit, _problem(413, 3, str(error), is_json=is_json)
            return "limit", self._later(429, str(error), is_json=is_json)
        except (Unavailable, StorageError) as error:
            return "unavailable", self._later(503, str(error), is_json=is_json)
        finally:
            self._waiting -= 1
        return "ok", _success(signal, refused, is_json=is_json)

    async def _gather(self, request: Request) -> bytes:
        limit = self._settings.max_body_bytes
        promised = request.headers.get("content-length", "")
        parts: list[bytes] = []
        size = int(promised) if promised.isdigit() else 0
        if size <= limit:
            size = 0
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    break
                parts.append(part)
        if size > limit:
            raise LimitExceeded(f"the body is larger than {limit} bytes; send smaller batches", "max_body_bytes")
        return b"".join(parts)

    def _store(self, body: bytes, encoding: str, signal: str, is_json: bool) -> int:
        """On a thread of the pool: decode, store, count. Returns how many were refused."""
        plain = inflate(body, encoding, self._settings.max_inflated_bytes)
        found = decode(plain, signal, is_json=is_json, now_ns=self._clock.now_ms() * 1_000_000)
        if found.logs or found.spans:
            self._sink.append(found.logs, found.spans)
        self._records.labels(signal).inc(len(found.logs) + len(found.spans))
        if found.refused:
            self._telemetry.dropped("otlp", "invalid ids", found.refused)
        return found.refused

    def _later(self, status: int, message: str, *, is_json: bool) -> Response:
        answer = _problem(status, 14 if status == 503 else 8, message, is_json=is_json)
        answer.headers["Retry-After"] = str(self._settings.retry_after_s)
        return answer


def otlp_routes(
    sink: SignalSink, settings: OtlpSettings, telemetry: Telemetry, run_blocking: RunBlocking | None = None,
    clock: Clock | None = None,
) -> list[Route]:
    """The routes to mount. `run_blocking(function, *args)` runs off the loop; None: on the receiver's threads."""
    receiver = OtlpReceiver(sink, settings, telemetry, clock or SystemClock(), run_blocking)
    return [
        Route("/v1/traces", receiver.traces, methods=["POST"]),
        Route("/v1/logs", receiver.logs, methods=["POST"]),
    ]


def _is_json(request: Request) -> bool | None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return {PROTOBUF: False, "application/protobuf": False, JSON: True}.get(kind)


def _success(signal: str, refused: int, *, is_json: bool) -> Response:
    why = "spans without a valid trace id and span id" if refused else ""
    if is_json:
        said = {"partialSuccess": {"rejectedSpans": str(refused), "errorMessage": why}} if refused else {}
        return Response(json.dumps(said), media_type=JSON)
    if signal == "logs":
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

        return Response(ExportLogsServiceResponse().SerializeToString(), media_type=PROTOBUF)
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTracePartialSuccess,
        ExportTraceServiceResponse,
    )

    partial = ExportTracePartialSuccess(rejected_spans=refused, error_message=why) if refused else None
    return Response(ExportTraceServiceResponse(partial_success=partial).SerializeToString(), media_type=PROTOBUF)


def _problem(status: int, code: int, message: str, *, is_json: bool) -> Response:
    """google.rpc.Status, as OTLP wants its errors."""
    if is_json:
        return Response(json.dumps({"code": code, "message": message}), status_code=status, media_type=JSON)
    from google.rpc.status_pb2 import Status

    return Response(Status(code=code, message=message).SerializeToString(), status_code=status, media_type=PROTOBUF)
