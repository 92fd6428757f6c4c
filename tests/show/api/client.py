"""The HTTP APIs over a small world, asked in process."""

from dataclasses import replace

import httpx

from observe.show.context import ShowSettings
from observe.show.web import build_web


class Hooked:
    """An engine that first does what a test wants done."""

    def __init__(self, engine, before):
        self._engine, self._before = engine, before

    def instant(self, expr, time_ms):
        self._before(expr)
        return self._engine.instant(expr, time_ms)


def apis(world):
    return replace(world.context, settings=ShowSettings(external_url="http://localhost", console=False))


def hooked(context, before):
    return replace(context, engine=Hooked(context.engine, before))


def client(context, **kwargs):
    app = build_web(context, **kwargs)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def ask(context, path, method="GET", **kwargs):
    async with client(context) as http:
        return await http.request(method, path, **kwargs)
