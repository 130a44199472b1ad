"""Who sends a request: by a session, a bearer token, or the headers of a proxy; and whether that is enough for it.

An ASGI application inside the gate. It knows which addresses need no login, and that a post of a session repeats the
session's CSRF token. What a page or an action needs beyond that, it asks for itself (`expect_operator`).
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from halter.console.login_attempts import Attempts
from halter.console.login_sessions import NAME_MAX, Sessions
from halter.console.problems import Problem
from halter.console.security import body_of
from halter.console.settings import ConsoleSettings
from halter.console.users import ANYBODY, Role, User, Way, same

OPEN: Final = ("/login", "/login/oidc", "/login/callback")
OPEN_BELOW: Final = "/static/"
FIELDS_MAX: Final = 40
"""Most fields of a form."""
CSRF_HEADER: Final = "x-csrf-token"
CSRF_FIELD: Final = "csrf"
TOKEN_USERS: Final = {Role.READER: "reader by token", Role.OPERATOR: "operator by token"}
START_UP_USER: Final = "operator by start-up token"
BEARER: Final = {"WWW-Authenticate": "Bearer"}
PASSED_ON: Final = ("forwarded", "via", "x-forwarded-for", "x-real-ip")
"""Headers that proxies add. A browser on this machine sends none of them."""


class Users:
    """Lets a request through once it is known whose it is, and puts that into `request.state.user` and `.csrf`."""

    def __init__(
        self, app: ASGIApp, senders: "Senders", sessions: Sessions, answer: Callable[[Scope, Problem], Response]
    ) -> None:
        """`answer` makes the answer to whoever is refused."""
        self._app, self._senders, self._sessions, self._answer = app, senders, sessions, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        try:
            user = self._senders.user_of(scope)
            state["user"], state["csrf"] = user, user.csrf if user is not None else ""
            self._check(scope, Headers(scope=scope), user)
        except Problem as problem:
            await self._answer(scope, problem)(scope, receive, send)
            return
        state["is_valid"] = lambda: self._is_valid(user, Request(scope).cookies.get(self._sessions.cookie))
        await self._app(scope, receive, send)

    def _is_valid(self, user: User | None, cookie: str | None) -> bool:
        """Say whether the session of an open stream has neither ended nor expired."""
        if user is None or not user.session_id or cookie is None:
            return True
        return self._sessions.user_of(cookie) is not None

    def _check(self, scope: Scope, headers: Headers, user: User | None) -> None:
        """Refuse who has no login, and a post that another site may have made a browser send. Raises Problem.

        Without a login whoever is on this machine reads. A proxy on it is on this machine as well, and those whom it
        serves are not.
        """
        if scope["path"] not in OPEN and not scope["path"].startswith(OPEN_BELOW):
            if user is None:
                raise Problem(401, "LOGIN", "expected a login, found none, or one that has ended", BEARER)
            if user is ANYBODY and any(it in headers for it in PASSED_ON):
                scope["state"]["user"] = None  # nothing is shown around the sentence either
                raise Problem(
                    403,
                    "PROXY",
                    "expected somebody on this machine, found a request that a proxy passed on: others than those on "
                    "this machine need a login; start the console with --token-file, --oidc-issuer or --user-header",
                )
        if scope["method"] != "POST":
            return
        if user is not None and user.way is Way.TOKEN and not user.session_id:
            return  # no browser adds a bearer token by itself
        # The gate has refused foreign ones. Every browser sends one of them.
        if "origin" not in headers and headers.get("sec-fetch-site") != "same-origin":
            raise Problem(403, "ORIGIN", "expected an Origin header, found none")
        if scope["path"] in OPEN:
            return
        if user is None or not user.csrf or not same(user.csrf, _csrf_given(scope, headers)):
            raise Problem(
                403, "CSRF", "expected the CSRF token of this session, found another or none; load the page again"
            )


class Senders:
    """Knows who sends a request, by its head."""

    def __init__(self, settings: ConsoleSettings, sessions: Sessions, attempts: Attempts) -> None:
        self._settings, self._sessions, self._attempts = settings, sessions, attempts

    def is_known(self, scope: Scope) -> bool:
        """Say whether somebody with a login sends a request. Raises Problem for a wrong token."""
        return self.user_of(scope) not in (None, ANYBODY)

    def user_of(self, scope: Scope) -> User | None:
        """Return who sends a request; None for nobody who may read. Raises Problem for a wrong token."""
        headers = Headers(scope=scope)
        authorization = headers.getlist("authorization")
        if authorization:
            return self._by_bearer(authorization, scope["state"]["address"])
        cookie = Request(scope).cookies.get(self._sessions.cookie)
        if cookie is not None and (user := self._sessions.user_of(cookie)) is not None:
            return user
        if self._settings.proxy_login is not None and (user := self._by_proxy(scope, headers)) is not None:
            return user
        return None if self._settings.has_login else ANYBODY

    def _by_bearer(self, authorization: list[str], address: str) -> User:
        self._attempts.expect_more(address)
        scheme, _, token = authorization[0].partition(" ")
        role = (
            role_of(self._settings, token.strip()) if scheme.lower() == "bearer" and len(authorization) == 1 else None
        )
        if role is None:
            self._attempts.failed(Way.TOKEN, address, "another bearer token")
            raise Problem(401, "TOKEN", "expected a token of this console, found another", BEARER)
        return User(name_of(self._settings, role), role, Way.TOKEN)

    def _by_proxy(self, scope: Scope, headers: Headers) -> User | None:
        """Return the user whom a trusted proxy names. What others write into its headers does not count."""
        proxy, client = self._settings.proxy_login, scope.get("client")
        assert proxy is not None
        if client is None or not self._settings.trusts(str(client[0])):
            return None
        names = _told(headers, proxy.user_header)
        told = _told(headers, proxy.groups_header) if proxy.groups_header is not None else []
        # Of two headers one is not the proxy's.
        if len(names) != 1 or not names[0] or len(told) > 1:
            return None
        name = names[0][:NAME_MAX]
        groups = frozenset(group.strip(" \t") for it in told for group in it.split(",")) - {""}
        role = Role.OPERATOR if self._settings.is_operator(name, groups) else Role.READER
        # The proxy has no session of ours, so its CSRF token is bound to the user's name.
        return User(name, role, Way.PROXY, csrf=self._sessions.csrf_of(name))


def _told(headers: Headers, name: str) -> list[str]:
    """Return the values of a proxy's header, in UTF-8 or else Latin-1. Only blanks and tabs around are left out."""
    values = [it.strip(" \t").encode("latin-1") for it in headers.getlist(name)]
    try:
        return [it.decode("utf-8") for it in values]
    except UnicodeDecodeError:
        return [it.decode("latin-1") for it in values]


def _csrf_given(scope: Scope, headers: Headers) -> str:
    if (given := headers.get(CSRF_HEADER)) is not None:
        return given
    if not headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return ""
    return fields_of(scope).get(CSRF_FIELD, [""])[-1]


def fields_of(scope: Scope) -> dict[str, list[str]]:
    """Return the fields of a form. Raises Problem."""
    try:
        return parse_qs(body_of(scope).decode("utf-8", "replace"), max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise Problem(400, "BAD_QUERY", f"expected a form of at most {FIELDS_MAX} fields, found more") from error


def role_of(settings: ConsoleSettings, token: str) -> Role | None:
    """Return the role that a token gives; None for none. It takes as long for a wrong one as for a right one."""
    start_up = settings.start_up_token if settings.has_start_up_token else None
    is_operator = same(settings.operator_token, token) | same(start_up, token)
    is_reader = same(settings.reader_token, token)
    return Role.OPERATOR if is_operator else Role.READER if is_reader else None


def name_of(settings: ConsoleSettings, role: Role) -> str:
    """Return the name of whoever has only a token."""
    return START_UP_USER if settings.has_start_up_token and role is Role.OPERATOR else TOKEN_USERS[role]


def expect_operator(request: Request) -> User:
    """Return the user of a request that acts. Raises Problem if the console is read-only, or the user a reader."""
    settings: ConsoleSettings = request.app.state.settings
    user: User = request.state.user
    if not settings.allow_actions:
        raise Problem(403, "READ_ONLY", "this console is read-only; started with --allow-actions it is not")
    if not user.is_operator:
        raise Problem(403, "ROLE", f"expected an operator, found the {user.role} '{user.name}'")
    return user


def expect_unmasking(request: Request, **what: object) -> None:
    """Note in the log who sees masked values, of what. Raises Problem for a reader."""
    user: User = request.state.user
    if not user.is_operator:
        raise Problem(403, "ROLE", f"expected an operator for masked values, found the {user.role} '{user.name}'")
    log = structlog.get_logger("halter.console.audit")
    log.info("masked_values_shown", user=user.name, address=request.state.address, path=request.url.path, **what)
