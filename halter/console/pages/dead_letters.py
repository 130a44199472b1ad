"""Dead letters: the list, and one with the way out."""

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from halter.console.login_users import expect_unmasking
from halter.console.pages.frame import may_act, page, reading
from halter.console.problems import NotThere
from halter.show.dead_letters import TO_DO
from halter.view import dead_letter_lists
from halter.view.names import unknown_names_of_letters
from processors.core.records.errors import HalterError

LIMIT: Final = 50


def routes() -> list[Route]:
    """Return the routes of dead letters."""
    return [
        Route("/dead-letters", dead_letters, methods=["GET"]),
        Route("/dead-letters/{partition:number}/{offset:number}", dead_letter, methods=["GET"]),
    ]


def dead_letters(request: Request) -> Response:
    """Show the list."""
    query = request.query_params
    reason, after = query.get("reason") or None, query.get("after") or None
    with reading(request) as connection:
        found = dead_letter_lists.dead_letters(connection, reason=reason, after=after, limit=LIMIT)
        unknown = unknown_names_of_letters(connection, reason, None, None) if found.is_nothing else []
        reasons = request.app.state.readings.view.counted.stats(connection).dead_letters
    here = "/dead-letters" + (f"?{urlencode({'reason': reason})}" if reason else "")
    more = f"{here}{'&' if reason else '?'}{urlencode({'after': found.after})}" if found.after else None
    context = {
        "rows": found.lines,
        "unknown": unknown,
        "reasons": list(reasons.items()),
        "asked": {"reason": reason or ""},
        "page": {"first": here if after else None, "next": more},
    }
    return page(request, "dead_letters.html", context, here="/dead-letters")


def dead_letter(request: Request) -> Response:
    """Show one dead letter: what was wrong, its record, and the way out."""
    partition, offset = request.path_params["partition"], request.path_params["offset"]
    unmask = request.query_params.get("unmask") == "1"
    if unmask:
        expect_unmasking(request, dead_letter=f"{partition}@{offset}")
    with reading(request) as connection:
        it = dead_letter_lists.dead_letter(connection, partition, offset) if max(partition, offset) < 2**63 else None
    if it is None:
        raise NotThere(f"the view has no dead letter {partition}@{offset}; the topic may not have it any more")
    context = {
        "it": it,
        "can_retry": may_act(request) and not it.retries and not it.mapping,
        "to_do": None if it.mapping else TO_DO.get(it.reason),
        "record": None,
        "problem": None,
        "unmasked": unmask,
        "may_unmask": request.state.user.is_operator,
    }
    try:
        context["record"] = request.app.state.readings.dead_letters.dead_letter_record(partition, offset, unmask=unmask)
    except HalterError as error:
        context["problem"] = str(error)
    return page(request, "dead_letter.html", context, here="/dead-letters")
