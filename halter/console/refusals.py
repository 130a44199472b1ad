"""How a refusal is answered: as a page for people, with the way on, and as JSON for programs.

The gate and the check of users refuse before any page is asked. They are handed `answer`, so they know no pages.
"""

from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from halter.console import pages
from halter.console.login import own_path
from halter.console.pages.frame import Onward
from halter.console.problems import Problem
from halter.console.settings import ConsoleSettings

FOR_PROGRAMS: Final = ("/api/", "/live", "/static/")
"""Where addresses begin that no person opens."""
PASSING: Final = (408, 429, 503)
"""Statuses of what may be right if it is asked again."""


def wants_page(scope: Scope) -> bool:
    """Say whether a browser asks for something that its user will look at."""
    return "text/html" in Headers(scope=scope).get("accept", "") and not scope["path"].startswith(FOR_PROGRAMS)


def answer(scope: Scope, problem: Problem) -> Response:
    """Return the answer to a request that is refused. Whoever asks for a page without a login is led to the login."""
    if not wants_page(scope):
        return problem.as_json()
    request = Request(scope)
    if problem.status == 401 and scope["method"] != "POST":
        return RedirectResponse(_login(_asked_for(request)), 303)
    response = pages.problem_page(request, problem, _onward(request, problem))
    response.headers.update(problem.headers)
    return response


def _onward(request: Request, problem: Problem) -> list[Onward]:
    """Return where whoever was refused may go, the best way first."""
    settings: ConsoleSettings = request.app.state.settings
    if problem.code == "HOST":
        return [Onward(f"Open {settings.url}", settings.url)]
    is_form = request.method == "POST"
    before = _page_before(request, settings) if is_form else _asked_for(request)
    found = []
    if settings.has_login and getattr(request.state, "user", None) is None:
        found.append(Onward("Log in", _login(before)))
    if is_form and before != "/":
        found.append(Onward("Back to the form", before))
    elif not is_form and problem.status in PASSING:
        found.append(Onward("Try again", before))
    if problem.code == "NOT_FOLDED":
        found.append(Onward("Partitions", "/partitions#standing"))
    return [*found, Onward("Overview", "/")]


def _asked_for(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def _page_before(request: Request, settings: ConsoleSettings) -> str:
    """Return the page of ours that had the form, as its browser says; else the first page."""
    parts = urlsplit(request.headers.get("referer", ""))
    if f"{parts.scheme}://{parts.netloc}".lower() not in settings.origins:
        return "/"
    return own_path(parts._replace(scheme="", netloc="", fragment="").geturl())


def _login(target: str) -> str:
    return f"/login?next={quote(target, safe='')}"
