"""``POST /api/v1/write``: remote write 1.0 from other Prometheus servers and agents.

204 means kept and readable. What the sender must not send again is answered 400 (Prometheus then drops it), what it
should is 503 with Retry-After.
"""

import asyncio
from concurrent.futures import Executor

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from observe.collect.remote_write import RemoteWriteSettings, RemoteWriteStore
from observe.errors import LimitExceeded, MalformedData, StorageError
from observe.protocols import Appended, SampleSink
from observe.telemetry import Telemetry


def remote_write_routes(
    sink: SampleSink, settings: RemoteWriteSettings, data: Executor, telemetry: Telemetry,
) -> list[Route]:
    """The route to mount; requests are decoded and stored on the data thread."""
    receiver = _Receiver(sink, settings, data, telemetry)
    return [Route("/api/v1/write", receiver.receive, methods=["POST"])]


class _Receiver:
    def __init__(
        self, sink: SampleSink, settings: RemoteWriteSettings, data: Executor, telemetry: Telemetry,
    ) -> None:
        self._store = RemoteWriteStore(sink, settings, telemetry)
        self._settings = settings
        self._data = data
        self._telemetry = telemetry
        self._waiting = 0
        self._requests = telemetry.counter("observe_remote_write_requests_total", "Remote-write requests by outcome.",
                                           ("outcome",))

    async def receive(self, request: Request) -> Response:
        outcome, answer = await self._handle(request)
        self._requests.labels(outcome).inc()
        return answer

    async def _handle(self, request: Request) -> tuple[str, Response]:
        kind = request.headers.get("content-type", "application/x-protobuf").lower()
        encoding = request.headers.get("content-encoding", "snappy").lower()
        if not kind.startswith("application/x-protobuf") or "write.v2" in kind or encoding != "snappy":
            message = f"send remote write 1.0: application/x-protobuf in snappy, not {kind[:80]} in {encoding[:20]}"
            return "content_type", PlainTextResponse(message, 415)
        if self._waiting >= self._settings.max_waiting:
            self._telemetry.dropped("remote write", "overloaded")
            return "overloaded", self._later(f"{self._waiting} requests are waiting already")
        self._waiting += 1
        try:
            body = await self._gather(request)
            done = await asyncio.get_running_loop().run_in_executor(self._data, self._store.keep, body)
        except ClientDisconnect:
            return "truncated", Response(status_code=400)
        except MalformedData as error:
            return error.reason, PlainTextResponse(str(error), 400)
        except LimitExceeded as error:
            return error.limit or "limit", PlainTextResponse(str(error), 413)
        except StorageError as error:
            return "store", self._later(str(error))
        except RuntimeError:
            return "closing", self._later("this server is going down")
        finally:
            self._waiting -= 1
        refused = _refused(done)
        if refused:
            return "refused", PlainTextResponse(refused, 400)
        return "ok", Response(status_code=204)

    async def _gather(self, request: Request) -> bytes:
        limit = self._settings.max_body_bytes
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise LimitExceeded(f"the body is larger than {limit} bytes; send smaller batches", "max_body_bytes")
            parts.append(part)
        return b"".join(parts)

    def _later(self, message: str) -> Response:
        return PlainTextResponse(message, 503, headers={"Retry-After": str(self._settings.retry_after_s)})


def _refused(done: Appended) -> str:
    """What was refused for good; repeats are not, they are kept already."""
    words = [
        f"{count} {word}" for count, word in (
            (done.too_old, "samples are older than what is kept (late_window, retention)"),
            (done.future, "samples are further ahead of our clock than `future` allows"),
            (done.over_limit, "samples are of new series beyond the series limit"),
            (done.unknown, "samples are of series that are no longer known"),
        ) if count
    ]
    return "; ".join(words) + (f"; {done.stored} are stored" if words else "")
