"""ExternalEvents of all WfRuns, and what became of them."""

from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from halter.console.pages.frame import page, reading
from halter.console.pages.wf_runs import Chip
from halter.view import definition_lists, external_event_lists
from halter.view.external_event_lists import ExternalEventLine
from halter.view.filters import BadFilter
from halter.view.names import unknown_names_of_events
from halter.view.paging import BadCursor, Page

LIMIT: Final = 50


def routes() -> list[Route]:
    """Return the route of the list."""
    return [Route("/external-events", external_events, methods=["GET"])]


def external_events(request: Request) -> Response:
    """Show the list."""
    query = request.query_params
    asked = {name: query.get(name, "").strip() for name in ("status", "def", "wf-run")}
    given: dict[str, str | None] = {
        "wf_run_id": asked["wf-run"] or None,
        "external_event_def": asked["def"] or None,
    }
    found: Page[ExternalEventLine] = Page((), None)
    unknown: list[str] = []
    problem: str | None = None
    with reading(request) as connection:
        try:
            after = query.get("after") or None
            found = external_event_lists.external_events(
                connection, **given, status=asked["status"] or None, after=after, limit=LIMIT
            )
        except (BadFilter, BadCursor) as error:
            problem = str(error)
        else:
            if found.is_nothing:
                unknown = unknown_names_of_events(connection, **given)
        statuses = external_event_lists.statuses_of(connection, (it.wf_run_id for it in found.lines))
        names = definition_lists.external_event_defs(connection)
    context: dict[str, Any] = {
        "rows": found.lines,
        "statuses": statuses,
        "problem": problem,
        "unknown": unknown,
        "names": names,
        "asked": asked,
        "is_filtered": any(asked.values()),
        "status_chips": [
            Chip("All", _address(asked, status=""), not asked["status"]),
            *(Chip(it, _address(asked, status=it), asked["status"] == it) for it in external_event_lists.BECAME),
        ],
        "page": {
            "first": _address(asked) if query.get("after") else None,
            "next": _address(asked, after=found.after) if found.after else None,
        },
    }
    status = 200 if problem is None else 400
    return page(request, "external_events.html", context, here="/external-events", status=status)


def _address(asked: dict[str, str], **changed: str) -> str:
    pairs = [(name, value) for name, value in (asked | changed).items() if value]
    return f"/external-events?{urlencode(pairs)}" if pairs else "/external-events"
