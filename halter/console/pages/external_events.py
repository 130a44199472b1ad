"""ExternalEvents of all WfRuns, and what became of them."""

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from halter.console.pages.frame import page, reading
from halter.console.pages.wf_runs import Chip
from halter.view import definition_lists, queries

LIMIT: Final = 50


def routes() -> list[Route]:
    """Return the route of the list."""
    return [Route("/external-events", external_events, methods=["GET"])]


def external_events(request: Request) -> Response:
    """Show the list."""
    query = request.query_params
    asked = {name: query.get(name, "").strip() for name in ("status", "def", "wf-run")}
    with reading(request) as connection:
        found = queries.external_events(
            connection,
            wf_run_id=asked["wf-run"] or None,
            external_event_def=asked["def"] or None,
            status=asked["status"] or None,
            after=query.get("after") or None,
            limit=LIMIT,
        )
        names = definition_lists.external_event_defs(connection)
    context = {
        "rows": found.lines,
        "names": names,
        "asked": asked,
        "is_filtered": any(asked.values()),
        "status_chips": [
            Chip("All", _address(asked, status=""), not asked["status"]),
            *(Chip(it, _address(asked, status=it), asked["status"] == it) for it in queries.BECAME),
        ],
        "page": {
            "first": _address(asked) if query.get("after") else None,
            "next": _address(asked, after=found.after) if found.after else None,
        },
    }
    return page(request, "external_events.html", context, here="/external-events")


def _address(asked: dict[str, str], **changed: str) -> str:
    pairs = [(name, value) for name, value in (asked | changed).items() if value]
    return f"/external-events?{urlencode(pairs)}" if pairs else "/external-events"
