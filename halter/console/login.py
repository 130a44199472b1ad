"""The routes of login and logout. One logs in by a token, by the link with the start-up token, or by a provider.

A login begins a new session, whatever cookie the browser had before. It leads back to the page that was asked for,
which is a page of this console.
"""

from typing import Final
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from halter.console import pages
from halter.console.login_attempts import Attempts
from halter.console.login_oidc import Provider, routes_of
from halter.console.login_sessions import Sessions
from halter.console.login_users import fields_of, name_of, role_of
from halter.console.problems import Problem
from halter.console.security import UNFIT_PATH
from halter.console.settings import ConsoleSettings
from halter.console.users import Role, User, Way

NEXT_MAX: Final = 2000
SAFE: Final = "/%!$&'()*+,;=:@"
"""What stands in a path as it is."""


class Login:
    """Logs users in and out."""

    def __init__(self, settings: ConsoleSettings, sessions: Sessions, attempts: Attempts) -> None:
        self._settings, self._sessions, self._attempts = settings, sessions, attempts

    def routes(self) -> list[Route]:
        """Return the routes of the ways in that are set up, and of the way out."""
        found = [
            Route("/login", self._page, methods=["GET"]),
            Route("/login", self._by_token, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
        ]
        if self._settings.oidc is not None:
            provider = Provider(self._settings.oidc, f"{self._settings.url}/login/callback")
            found += routes_of(provider, self._settings, self._attempts, self._by_provider)
        return found

    async def _page(self, request: Request) -> Response:
        """Show the ways in. The link with the start-up token is one: it leads on to an address without it."""
        token = request.query_params.get("token")
        # Any page may lead a browser to a link: with a token of its own it would log its user in as somebody else.
        if token is not None and self._settings.has_start_up_token:
            return self._begun(request, token, request.query_params.get("next"))
        return self._shown(request, None)

    async def _by_token(self, request: Request) -> Response:
        fields = fields_of(request.scope)
        return self._begun(request, fields.get("token", [""])[-1], fields.get("next", [None])[-1])

    def _begun(self, request: Request, token: str, target: str | None) -> Response:
        address = request.state.counted_as
        try:
            self._attempts.expect_more(address)
        except Problem as problem:
            return self._shown(request, problem)
        role = role_of(self._settings, token.strip())
        if role is None:
            self._attempts.failed(Way.TOKEN, address, "another token")
            return self._shown(request, Problem(403, "TOKEN", "that is no token of this console"))
        return self._session(request, name_of(self._settings, role), role, Way.TOKEN, target)

    def _by_provider(self, request: Request, name: str, groups: frozenset[str], target: str | None) -> Response:
        role = Role.OPERATOR if self._settings.is_operator(name, groups) else Role.READER
        return self._session(request, name, role, Way.OIDC, target)

    def _session(self, request: Request, name: str, role: Role, way: Way, target: str | None) -> Response:
        response = RedirectResponse(own_path(target), 303)
        before: User | None = request.state.user
        if before is not None:
            self._sessions.end(response, before)
        user = self._sessions.begin(response, name, role, way)
        self._attempts.succeeded(user, request.state.address)
        return response

    def _shown(self, request: Request, problem: Problem | None) -> Response:
        return pages.login_page(request, own_path(request.query_params.get("next")), problem)

    async def _logout(self, request: Request) -> Response:
        response = RedirectResponse("/login" if self._settings.has_login else "/", 303)
        user: User = request.state.user
        self._sessions.end(response, user)
        self._attempts.ended(user, request.state.address)
        return response


def own_path(target: str | None) -> str:
    """Return the page of this console that a login leads to: the one that was asked for, else the first.

    A browser reads a backslash as a slash and leaves out tabs and line breaks. So none may be in it, nor what the gate
    refuses in a path.
    """
    if target is None or len(target) > NEXT_MAX or not target.startswith("/") or target.startswith(("//", "/login")):
        return "/"
    if "\\" in target or any(ord(it) < 0x21 or ord(it) == 0x7F for it in target):
        return "/"
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc or UNFIT_PATH.search(quote(parts.path, safe=SAFE).encode()) else target
