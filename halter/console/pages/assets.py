"""Serves scripts, styles and the mark. An address has a digest of all of them, so a browser keeps each for good.

The scripts import one another by relative addresses, which then have the same digest. Only files that are named here
can be asked for: no path leads to the disk.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_OWN: Final = Path(__file__).parents[1] / "static"
_TIMELINE: Final = Path(__file__).parents[2] / "timeline"
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FOREVER: Final = "public, max-age=31536000, immutable"


def routes() -> list[Route]:
    """Return the route of all assets."""
    return [Route("/static/{digest}/{name}", asset, methods=["GET"])]


def asset(request: Request) -> Response:
    """Answer with one of them. Those of another release are not there: the page that asks is older."""
    digest, files = _assets()
    content = files.get(request.path_params["name"])
    if content is None or request.path_params["digest"] != digest:
        raise HTTPException(404)
    kind = _TYPES[Path(request.path_params["name"]).suffix]
    return Response(content, media_type=kind, headers={"Cache-Control": _FOREVER})


def address(name: str) -> str:
    """The address of an asset. Raises KeyError for a name that is not there: a mistake of a template."""
    digest, files = _assets()
    if name not in files:
        raise KeyError(name)
    return f"/static/{digest}/{name}"


@cache
def _assets() -> tuple[str, dict[str, bytes]]:
    found = {
        path.name: path.read_bytes()
        for folder in (_TIMELINE, _OWN)
        for path in sorted(folder.iterdir())
        if path.suffix in _TYPES and path.name != "main.js"
    }
    whole = hashlib.sha256(b"".join(name.encode() + content for name, content in sorted(found.items())))
    return whole.hexdigest()[:16], found
