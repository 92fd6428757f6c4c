"""Files of the console under /static/: from memory, revalidated by the browser with an ETag of their content."""

import gzip
import hashlib
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from observe.show.problems import NotFound, error_json

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def static_routes() -> list[Route]:
    folder = Path(__file__).parent.parent / "static"
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in _TYPES}
    packed = {name: gzip.compress(data, 9, mtime=0) for name, data in files.items()}

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            return error_json(NotFound(f"there is no file {name!r}"))
        etag = f'"{hashlib.sha256(files[name]).hexdigest()[:16]}"'
        headers = {"Cache-Control": "no-cache", "ETag": etag}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return Response(packed[name], media_type=_TYPES[Path(name).suffix], headers=headers)
        return Response(files[name], media_type=_TYPES[Path(name).suffix], headers=headers)

    async def favicon(request: Request) -> Response:  # noqa: ARG001
        return Response(files["icon.svg"], media_type=_TYPES[".svg"], headers={"Cache-Control": "max-age=86400"})

    return [
        Route("/static/{name}", static, include_in_schema=False),
        Route("/favicon.ico", favicon, include_in_schema=False),
    ]
