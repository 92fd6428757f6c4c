"""The console as a person reads it."""

import html
import re

import httpx

from observe.show.web import build_web

PAGES = ("/", "/alerts", "/logs", "/traces", "/explore", "/boards", "/rules", "/targets", "/docs", "/login")


def browser(context):
    app = build_web(context)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def read(context, path, status=200, **params):
    async with browser(context) as http:
        answer = await http.get(path, params=params or None)
    assert status == answer.status_code, answer.text
    return words_of(answer.text)


def words_of(page):
    """What a person reads: the text of the main part, entities and tags resolved, spaces joined."""
    main = page.partition("<main")[2]
    text = re.sub(r"<(script|style|svg)\b.*?</\1>", " ", main, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())
