"""The list of WfRuns, with its filters in the address; and where a search leads.

The filters are those of `halter list` (halter.view.filters). What cannot be read of an address is said above the list.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from halter.console.pages.formats import Formats
from halter.console.pages.frame import page, reading
from halter.view import definition_lists, wf_run_lists
from halter.view.filters import (
    ANY,
    HALT_KINDS,
    STATUSES,
    WAITS,
    BadFilter,
    Sort,
    WfRunFilter,
    filter_of,
)
from halter.view.names import unknown_names
from halter.view.paging import BadCursor, Count, Page
from halter.view.wf_run_lines import WfRunLine
from processors.core.records.names import NAME_LENGTH_MAX, is_name

BESIDE: Final = ("sort", "after")
"""Parameters of the address that are no filters."""
SORTS: Final = (
    ("changed", "Last event first"),
    ("started", "Started last first"),
    ("-changed", "Longest unchanged first"),
    ("-started", "Started first first"),
    ("id", "By id"),
)
LIMIT: Final = 50
WHERE_MAX: Final = 3
"""Most halt reasons and waits that a row tells."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter as a link: to have it, or to take it away."""

    name: str
    href: str
    is_here: bool = False


def routes() -> list[Route]:
    """Return the routes of the list."""
    return [Route("/wf-runs", wf_runs, methods=["GET"]), Route("/find", find, methods=["GET"])]


def wf_runs(request: Request) -> Response:
    """Show the list."""
    f, query = Formats(), request.query_params
    asked, sort, problem = WfRunFilter(), Sort(), None
    try:
        asked, sort = filter_of(query.multi_items(), ignore=BESIDE), _sort(query.get("sort") or "changed")
    except BadFilter as error:
        problem = str(error)
    with reading(request) as connection:
        found: Page[WfRunLine] = Page((), None)
        count = Count(0, is_exact=True)
        if problem is None:
            try:
                found = wf_run_lists.wf_runs(
                    connection, asked, sort, query.get("after") or None, LIMIT, now_ms=f.now_ms
                )
                count = wf_run_lists.count(connection, asked, now_ms=f.now_ms)
            except (BadFilter, BadCursor) as error:
                problem = str(error)
        unknown = unknown_names(connection, asked) if problem is None and found.is_nothing else []
        names = definition_lists.wf_spec_names(connection)
    words = f"{count} like this" if not asked.is_empty else str(count)
    context: dict[str, Any] = {
        "f": f,
        "rows": found.lines,
        "standing": {it.wf_run_id: where_words(it) for it in found.lines},
        "count_words": "" if problem else words,
        "problem": problem,
        "unknown": unknown,
        "is_filtered": not asked.is_empty or bool(problem),
        "page": _pages(query, found.after),
        "is_short": found.after is not None and len(found.lines) < LIMIT,
        "status_chips": _status_chips(query, asked),
        "chips": _chips(query),
        "asked": {name: query.get(name, "") for name in ("text", "wf-spec", "halted-for", "waits-for", "failed-with",
                                                         "older-than", "unchanged-for", "var")}
        | {"sort": query.get("sort") or "changed"},
        "hidden": [(name, value) for name, value in query.multi_items()
                   if name in ("status", "quarantined", "version", "started-before") and value],
        "has_more_filters": any(query.get(it) for it in ("halted-for", "waits-for", "failed-with", "older-than",
                                                         "unchanged-for", "var")),
        "spec_names": names,
        "halt_kinds": (ANY, *HALT_KINDS),
        "wait_kinds": WAITS,
        "sorts": SORTS,
    }  # fmt: skip
    return page(request, "wf_runs.html", context, here="/wf-runs", status=200 if problem is None else 400)


def find(request: Request) -> Response:
    """Lead to the WfRun of an id, else to the list of those that have the text."""
    text = (request.query_params.get("q") or "").strip()[:200]
    if is_name(text) and len(text) <= NAME_LENGTH_MAX:
        with reading(request) as connection:
            if wf_run_lists.wf_run(connection, text) is not None:
                return RedirectResponse(f"/wf-runs/{text}", 303)
    return RedirectResponse(f"/wf-runs?{urlencode({'text': text})}" if text else "/wf-runs", 303)


def where_words(line: WfRunLine) -> Sequence[str]:
    """What holds the threads of a WfRun, and what they wait for, in a few words each."""
    held = [f"#{it.thread} {it.kind}" + (f" {it.external_event_def}" if it.external_event_def else "")
            for it in line.halt_reasons]  # fmt: skip
    waits = [
        f"{'' if it.thread == 0 else f'#{it.thread} '}waits for {it.waits_for}{f' {it.name}' if it.name else ''}"
        for it in line.waits
        if it.waits_for != "RUN"
    ]
    words = held + waits
    return words if len(words) <= WHERE_MAX else [*words[:WHERE_MAX], f"and {len(words) - WHERE_MAX} more"]


def _sort(name: str) -> Sort:
    return Sort.of(name.removeprefix("-"), reverse=name.startswith("-"))


def _address(query: QueryParams, **changed: str | None) -> str:
    """The address of the list with some parameters changed: None takes one away. It begins with the first page."""
    pairs = [(name, value) for name, value in query.multi_items() if name not in changed and name != "after" and value]
    pairs += [(name, value) for name, value in changed.items() if value is not None]
    return f"/wf-runs?{urlencode(pairs)}" if pairs else "/wf-runs"


def _pages(query: QueryParams, after: str | None) -> dict[str, str | None]:
    first = _address(query) if query.get("after") else None
    return {
        "first": first,
        "next": _address(query) + ("&" if query else "?") + urlencode({"after": after}) if after else None,
    }


def _status_chips(query: QueryParams, asked: WfRunFilter) -> list[Chip]:
    chips = [Chip("All", _address(query, status=None, quarantined=None), not asked.status and not asked.quarantined)]
    for it in STATUSES:
        is_here = asked.status == (it,)
        chips.append(Chip(it, _address(query, status=None if is_here else it), is_here))
    is_here = bool(asked.quarantined)
    chips.append(Chip("in quarantine", _address(query, quarantined=None if is_here else "yes"), is_here))
    return chips


def _chips(query: QueryParams) -> list[Chip]:
    """The filters that are on, but for the status, each as a link that takes it away."""
    pairs = [(name, value) for name, value in query.multi_items() if value and name not in BESIDE]
    shown = [it for it in pairs if it[0] not in ("status", "quarantined")]
    return [
        Chip(
            f"{name} = {value}",
            "/wf-runs?"
            + urlencode([it for it in query.multi_items() if it != (name, value) and it[0] != "after" and it[1]]),
        )
        for name, value in shown
    ]
