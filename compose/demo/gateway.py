"""The HTTP face of the demo: `/generate`, `/embed`, `/metrics`, `/faults`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from opentelemetry.context import attach, detach, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client import generate_latest
from pydantic import BaseModel, Field

from observe.demo.faults import FAULTS, Faults
from observe.demo.serving import QUEUE_CAPACITY, WORKERS, Engine, Refused
from observe.demo.signals import ENGINE, SERVICE, Metrics, RequestLog
from observe.exporters import python_runtime


class Prompt(BaseModel):
    prompt: str = Field(min_length=1, max_length=2000)
    max_tokens: int = Field(default=16, ge=1, le=64)


def build(provider: TracerProvider, log: RequestLog, faults: Faults) -> FastAPI:
    """The application; threads wait for the engine so that the event loop only does sockets."""
    metrics = Metrics()
    tracer = provider.get_tracer("gateway")
    engine = Engine(metrics, tracer, log, faults)
    waiting = ThreadPoolExecutor(QUEUE_CAPACITY + WORKERS + 4, thread_name_prefix="request")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        python_runtime.install(metrics.registry)  # here, where the loop that it watches runs
        yield
        await asyncio.to_thread(provider.shutdown)

    app = FastAPI(title="demo gateway", lifespan=lifespan)

    async def serve(endpoint: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        began, status, error = time.perf_counter(), 200, ""
        with tracer.start_as_current_span(
            f"POST {endpoint}", kind=SpanKind.SERVER,
            attributes={"http.request.method": "POST", "http.route": endpoint, "url.path": endpoint},
        ) as span:
            here = get_current()

            def inside() -> dict[str, Any]:
                token = attach(here)
                try:
                    return work()
                finally:
                    detach(token)

            try:
                return await asyncio.get_running_loop().run_in_executor(waiting, inside)
            except Refused as refusal:
                status, error = 429, str(refusal)
                raise HTTPException(status, error) from refusal
            except Exception as failure:  # InferenceFailed, or a bug: a server answers either way
                status, error = 500, str(failure)
                raise HTTPException(status, error) from failure
            finally:
                latency = time.perf_counter() - began
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(Status(StatusCode.ERROR, error))
                if status >= 400:
                    reason = "queue_full" if status == 429 else "inference"
                    metrics.errors.labels(SERVICE, endpoint, reason).inc()
                metrics.requests.labels(SERVICE, endpoint, str(status)).inc()
                metrics.duration.labels(SERVICE, endpoint).observe(latency)
                metrics.e2e.labels(*ENGINE).observe(latency)
                log.write(
                    "error" if status >= 500 else "warn" if status >= 400 else "info",
                    f"POST {endpoint} answered {status} in {latency * 1000:.0f} ms", span.get_span_context(),
                    endpoint=endpoint, latency=round(latency * 1000, 3), status=str(status),
                    **({"error_msg": error} if error else {}),
                )

    @app.post("/generate")
    async def generate(request: Prompt) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            answer, cached = engine.generate(request.prompt, request.max_tokens)
            return {"answer": answer, "cached": cached}

        return await serve("/generate", work)

    @app.post("/embed")
    async def embed(request: Prompt) -> dict[str, Any]:
        return await serve("/embed", lambda: {"vector": engine.embed(request.prompt)})

    @app.get("/metrics")
    async def expose() -> Response:
        return Response(generate_latest(metrics.registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/faults")
    async def list_faults() -> dict[str, Any]:
        return {"available": FAULTS, "active": faults.active()}

    @app.post("/faults/{name}")
    async def start_fault(name: str, seconds: float = 60.0) -> dict[str, Any]:
        try:
            faults.start(name, seconds)
        except KeyError:
            raise HTTPException(404, f"no fault {name!r}; there are: {', '.join(FAULTS)}") from None
        return {"active": faults.active()}

    @app.delete("/faults/{name}")
    async def stop_fault(name: str) -> dict[str, Any]:
        faults.stop(name)
        return {"active": faults.active()}

    return app
