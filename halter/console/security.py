"""The gate of the console: what is wrong with a request as such, before anybody asks who sent it.

It is the outermost ASGI application. It refuses hosts and origins that are not the console's, methods, paths and bodies
that no page of ours sends, and whoever asks too often. It reads the body of a post as a whole, within a time and a
size, and gives every answer its security headers. Of users it knows only whether there is one.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from halter.console.metrics import Figures
from halter.console.problems import Problem
from halter.console.security_rates import Rates, network_of
from halter.console.settings import ConsoleSettings

METHODS: Final = ("GET", "HEAD", "POST")
BODY_TYPES: Final = ("application/json", "application/x-www-form-urlencoded")
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with that, browsers name `null` as the origin of a form.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
NOT_KEPT: Final = "no-store"
HSTS: Final = "max-age=31536000"
UNFIT_PATH: Final = re.compile(rb"//|\\|/(\.|%2e){1,2}(/|$)|%(00|0[ad]|2f|5c)|[^!-~]", re.IGNORECASE)
"""What a path has only if somebody wants to leave the place that it names."""
EVENT_STREAM: Final = b"text/event-stream"
OWN_SITES: Final = ([b"same-origin"], [b"none"])
"""What browsers say in Sec-Fetch-Site if a page of this console makes them ask, or their user."""
BODY: Final = "halter.body"
"""The key in the scope of a request at which its whole body is."""


class Gate:
    """Lets a request through to an application if nothing is wrong with it as such."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ConsoleSettings,
        figures: Figures,
        is_known: Callable[[Scope], bool],
        answer: Callable[[Scope, Problem], Response],
    ) -> None:
        """`is_known` says whether a head is of somebody with a login; it raises Problem for a wrong token.

        `answer` makes the answer to whoever is refused.
        """
        self._app, self._settings, self._figures = app, settings, figures
        self._is_known, self._refusal = is_known, answer
        self._requests = Rates(settings.bounds.requests, settings.bounds.addresses)
        self._log = structlog.get_logger("halter.console")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Nothing but HTTP is served."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _Answer(send, self._settings, self._figures)
        scope.setdefault("state", {})
        try:
            self._check(scope)
            body = await self._body(scope, receive)
        except Problem as problem:
            self._figures.refused(problem.code)
            # The rest of its body is not read, so the connection cannot be used again.
            problem.headers.setdefault("Connection", "close")
            await self._refusal(scope, problem)(scope, receive, answer.send)
            return
        try:
            scope[BODY] = body
            await self._answered(scope, _Once(body, receive), answer)
        except Exception as error:
            self._log.error("request_failed", path=scope["path"], exc_info=error)
            if answer.has_begun:
                raise  # uvicorn closes the connection: the client sees that the answer is not whole
            await Problem(500, "INTERNAL", "the console met an error that it did not expect").as_json()(
                scope, receive, answer.send
            )

    async def _answered(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Let the application answer, within a time that ends when a stream of events begins."""
        try:
            async with asyncio.timeout(self._settings.bounds.answer_s) as limit:
                answer.limit = limit
                await self._app(scope, receive, answer.send)
        except TimeoutError:
            if answer.has_begun:
                raise
            sentence = f"the answer was not ready within {self._settings.bounds.answer_s:g} s"
            await self._refusal(scope, Problem(503, "TOO_SLOW", sentence))(scope, receive, answer.send)

    def _check(self, scope: Scope) -> None:
        """Refuse what is wrong with the head of a request. Raises Problem."""
        settings, headers = self._settings, _headers(scope)
        scope["state"]["address"] = address = address_of(scope, settings)
        # What other sites have a browser open is counted apart, so none of them can use up what its user has.
        counted_as = network_of(address)
        if self._is_led(scope["method"], headers):
            counted_as += ", led by another site"
        scope["state"]["counted_as"] = counted_as
        if wait := self._requests.take(counted_as, time.monotonic()):
            sentence = f"expected at most {settings.bounds.requests:,} requests in a minute"
            raise Problem(429, "TOO_MANY_REQUESTS", sentence, {"Retry-After": str(int(wait) + 1)})
        if scope["method"] not in METHODS:
            allowed = ", ".join(METHODS)
            raise Problem(405, "METHOD", f"expected one of {allowed}, found another method", {"Allow": allowed})
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or hosts[0].decode("latin-1").lower() not in settings.hosts:
            raise Problem(421, "HOST", f"expected the host {min(settings.hosts)}, found another one")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > settings.bounds.header_bytes:
            raise Problem(431, "TOO_LONG", f"expected headers of at most {settings.bounds.header_bytes:,} bytes")
        path = scope.get("raw_path") or scope["path"].encode()
        if not path.startswith(b"/") or UNFIT_PATH.search(path):
            raise Problem(400, "PATH", "expected the path of a page, found one with parts that lead elsewhere")
        if len(path) + len(scope["query_string"]) > settings.bounds.target_bytes:
            raise Problem(414, "TOO_LONG", f"expected an address of at most {settings.bounds.target_bytes:,} bytes")
        if scope["method"] == "POST":
            self._check_post(headers)
        elif b"transfer-encoding" in headers or headers.get(b"content-length", [b"0"]) != [b"0"]:
            raise Problem(400, "BODY", "expected no body with this method, found one")

    def _is_led(self, method: str, headers: dict[bytes, list[bytes]]) -> bool:
        """Say whether a page of another site has led a browser here. Raises Problem for all else that it may have done.

        Another site may lead a browser to a page. It may not have one load ours as a picture, a script or a frame: it
        would not see them, but could keep the console busy with them, in the name of its user.
        """
        if headers.get(b"sec-fetch-site", [b"none"]) in OWN_SITES:
            return False
        is_led = headers.get(b"sec-fetch-mode") == [b"navigate"] and headers.get(b"sec-fetch-dest") == [b"document"]
        if method == "POST" or not is_led:
            raise Problem(403, "ORIGIN", f"expected a request from {self._settings.url}, found another site")
        return True

    def _check_post(self, headers: dict[bytes, list[bytes]]) -> None:
        """Refuse a post from a page of another origin, or with a body that no page of ours sends. Raises Problem."""
        origins = [it.decode("latin-1").lower() for it in headers.get(b"origin", [])]
        if origins and (len(origins) > 1 or origins[0] not in self._settings.origins):
            raise Problem(403, "ORIGIN", f"expected a request from {self._settings.url}, found another origin")
        kinds = [it.split(b";")[0].strip().lower().decode("latin-1") for it in headers.get(b"content-type", [])]
        if len(kinds) != 1 or kinds[0] not in BODY_TYPES:
            raise Problem(415, "CONTENT_TYPE", f"expected a body of type {' or '.join(BODY_TYPES)}")
        if b"content-encoding" in headers:
            raise Problem(415, "CONTENT_ENCODING", "expected a body as it is, found a compressed one")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Read the body of a post as a whole. Raises Problem."""
        if scope["method"] != "POST":
            return b""
        bounds = self._settings.bounds
        is_known = self._is_known(scope)
        size_max = bounds.body_bytes if is_known else bounds.stranger_body_bytes
        whose = "" if is_known else " without a login"
        too_large = Problem(413, "TOO_LARGE", f"expected at most {size_max:,} bytes{whose}, found more")
        length = _headers(scope).get(b"content-length", [b"0"])[0]
        if not length.isdigit() or int(length[:12]) > size_max:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._settings.bounds.body_s):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise Problem(400, "BODY", "expected a whole body, found a closed connection")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > size_max:
                        raise too_large
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            sentence = f"expected the whole body within {self._settings.bounds.body_s:g} s"
            raise Problem(408, "TOO_SLOW", sentence) from None


class _Once:
    """Hands out a body that is read already, and then what comes."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        while (message := await self._receive())["type"] == "http.request":
            pass  # the empty end of the body of a GET
        return message


class _Answer:
    """Sends an answer, with its security headers."""

    def __init__(self, send: Send, settings: ConsoleSettings, figures: Figures) -> None:
        self._send, self._settings, self._figures = send, settings, figures
        self.has_begun = False
        self.limit: asyncio.Timeout | None = None

    async def send(self, message: Message) -> None:
        """Send a part."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            self._figures.answered(message["status"])
            headers = [(name, value) for name, value in message.get("headers", []) if b"\n" not in name + value]
            if self.limit is not None and any(value.startswith(EVENT_STREAM) for _, value in headers):
                self.limit.reschedule(None)
            message = {**message, "headers": headers + self._added({name.lower() for name, _ in headers})}
        await self._send(message)

    def _added(self, there: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        added = {**HEADERS, "Cache-Control": NOT_KEPT}
        if self._settings.is_https:
            added["Strict-Transport-Security"] = HSTS
        kept = set(there)
        return [
            (name.lower().encode(), value.encode())
            for name, value in added.items()
            if name.lower().encode() not in kept
        ]


def address_of(scope: Scope, settings: ConsoleSettings) -> str:
    """Return the address of whoever asks. A proxy's word for it counts if its own address is trusted."""
    client = scope.get("client")
    address = str(client[0]) if client else "unknown"
    if not settings.trusted_proxies:
        return address
    told = [
        part.strip().decode("latin-1") for it in _headers(scope).get(b"x-forwarded-for", []) for part in it.split(b",")
    ]
    # From the right: each trusted proxy has added whom it saw. What stands before that, anybody may have written.
    while told and settings.trusts(address):
        address = told.pop()[:64]
    return address


def body_of(scope: Scope) -> bytes:
    """Return the body of a request that has come through the gate."""
    body: bytes = scope[BODY]
    return body


def _headers(scope: Scope) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found
