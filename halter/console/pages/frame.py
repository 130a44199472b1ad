"""Renders a page: its template, and what all pages have around their content.

Knows who asks, and how fresh the view is. Does not know what a page shows.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from halter.console.pages import assets
from halter.console.pages.formats import Formats
from halter.console.problems import Problem
from halter.timeline.page import body as timeline_body
from halter.view import progress, wrong_now
from halter.view.changes import changes
from processors.core.records.errors import HalterError

STALE_MS: Final = 20_000
"""A view that has not heard of Kafka for so long is behind, whatever it knows of its lag."""
LAG_MAX: Final = 1_000
"""Records behind which a view is worth a sentence."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the navigation: its key after `g`, and how much there asks to be looked at."""

    name: str
    href: str
    key: str
    is_here: bool = False
    alarm: int = 0


@dataclass(frozen=True, slots=True)
class Fresh:
    """How fresh the view is: in two words, and in a sentence where that matters."""

    level: str
    words: str
    title: str = ""
    notice: str = ""


class Onward(NamedTuple):
    """A way on from a page: its words and its address."""

    words: str
    href: str


TITLES: Final = {
    "LOGIN": "Your login has ended",
    "CSRF": "This form is of an earlier login",
    "HOST": "The console has another address",
    "TOO_MANY_REQUESTS": "That was a little often",
    "TOO_MANY_ACTIONS": "That was a little often",
    "TOO_LARGE": "That is too large",
    "NOT_FOLDED": "Not folded yet",
}
"""What stands above an error, by its code."""
TITLES_BY_STATUS: Final = {
    400: "That cannot be asked",
    403: "Not for you",
    404: "Not here",
    409: "That does not go now",
    503: "Away for the moment",
}
PLACES: Final = (
    ("Overview", "/", "o"),
    ("WfRuns", "/wf-runs", "r"),
    ("WfSpecs", "/wf-specs", "s"),
    ("ExternalEvents", "/external-events", "e"),
    ("Dead letters", "/dead-letters", "d"),
    ("Partitions", "/partitions", "p"),
)


@contextmanager
def reading(request: Request) -> Iterator[Connection]:
    """Yield a connection to the view, for one page. All that it reads is of one moment. Raises ViewUnavailable.

    The position of the first moment is noted: live events begin there, so nothing is missed between page and stream.
    """
    with request.app.state.readings.view.reading() as connection:
        if getattr(request.state, "position", None) is None:
            request.state.position = changes(connection, None)[0].number
        yield connection


def page(request: Request, template: str, context: Mapping[str, Any], *, here: str = "", status: int = 200) -> Response:
    """Render a page. `here` is the address of its place in the navigation."""
    f = context.get("f") or Formats()
    fresh, alarms = _freshness(request, f)
    position: int | None = getattr(request.state, "position", None)
    return _rendered(
        request,
        template,
        {
            "f": f,
            "fresh": fresh,
            "places": [Place(name, href, key, href == here, alarms.get(href, 0)) for name, href, key in PLACES],
            "live": "/live" if position is None else f"/live?since={position}",
            "may_act": may_act(request),
            **context,
        },
        status,
    )


def may_act(request: Request) -> bool:
    """Say whether whoever asks may act here."""
    user = getattr(request.state, "user", None)
    return bool(request.app.state.settings.allow_actions and user is not None and user.is_operator)


def login_page(request: Request, target: str, problem: Problem | None) -> Response:
    """Show the ways to log in, and what went wrong with the last attempt. `target` is the page to go to then."""
    context = {"target": target, "problem": problem, "settings": request.app.state.settings}
    return _rendered(request, "login.html", context, 200 if problem is None else problem.status)


def problem_page(request: Request, problem: Problem, onward: Sequence[Onward]) -> Response:
    """Show an error and the ways on, with the frame of all pages around it for whoever may see that."""
    title = TITLES.get(problem.code) or TITLES_BY_STATUS.get(problem.status, "That did not work")
    context = {"problem": problem, "title": title, "onward": onward, "was_form": request.method == "POST"}
    if getattr(request.state, "user", None) is None:
        return _rendered(request, "problem_alone.html", {"f": Formats(), **context}, problem.status)
    return page(request, "problem.html", context, status=problem.status)


def _rendered(request: Request, name: str, context: Mapping[str, Any], status: int) -> Response:
    shared = {
        "user": getattr(request.state, "user", None),
        "csrf": getattr(request.state, "csrf", ""),
        "asset": assets.address,
        "timeline_body": timeline_body,
    }
    response: Response = request.app.state.templates.TemplateResponse(request, name, {**shared, **context}, status)
    return response


def _freshness(request: Request, f: Formats) -> tuple[Fresh, dict[str, int]]:
    try:
        with reading(request) as connection:
            told, alarms = progress.lag(connection), wrong_now.alarms(connection)
            folding = request.app.state.readings.workers.standing.last()
            alarms["/partitions"] += len(folding["standing"]) if folding else 0
    except HalterError as error:
        return Fresh("bad", "no view", "There is no view to read.", str(error)), {}
    if told.seen_ms is None:
        return Fresh("warn", "empty view", "The view is empty.", "halter view has read nothing yet."), alarms
    age_ms = max(0, f.now_ms - told.seen_ms)
    if age_ms > STALE_MS:
        ago = f.lasting(age_ms)
        notice = (
            f"halter view last heard of Kafka {ago} ago, so what is shown here is at least as old. Is it running, "
            "and does Kafka answer? `halter view status` says more."
        )
        return Fresh("warn", f"{ago} old", "The view is behind.", notice), alarms
    if told.records >= LAG_MAX:
        records = f.several(told.records, "record")
        notice = f"It has {records} still to read. Lists may show what is no longer so."
        return Fresh("warn", f"{records} behind", "The view is catching up.", notice), alarms
    return Fresh("good", "current"), alarms
