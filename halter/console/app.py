"""Puts the console together: gate, users, routes, and what they share.

request.state.user            who asks (`halter.console.users.User`); None on the pages of the login
request.state.address         from where; `counted_as`: the name by which its requests and attempts are counted
request.state.csrf            what a form of this user repeats in its field `csrf`
request.app.state.settings    the ConsoleSettings
request.app.state.readings    what API and pages show
request.app.state.actions     what operators may do (`halter.console.actions`)
request.app.state.live        live events (`halter.console.live`)
request.app.state.figures     the figures for Prometheus
request.app.state.templates   Jinja's, with autoescape on
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from halter.console import pages
from halter.console.actions import Actions
from halter.console.api import ENDPOINTS, Api
from halter.console.live import Live
from halter.console.login import Login
from halter.console.login_attempts import Attempts
from halter.console.login_sessions import Sessions
from halter.console.login_users import Senders, Users
from halter.console.metrics import Figures
from halter.console.pages.formats import typed, undeceiving
from halter.console.problems import Problem, problem_of
from halter.console.readings import Readings
from halter.console.refusals import answer
from halter.console.security import Gate
from halter.console.sending import KafkaSender
from halter.console.settings import ConsoleSettings
from processors.core.records.errors import HalterError

HERE: Final = Path(__file__).parent
CODES: Final = {404: ("NO_SUCH_PAGE", "there is no such page"), 405: ("METHOD", "this page takes no such method")}


def console(settings: ConsoleSettings, figures: Figures | None = None) -> Starlette:
    """Return the application. It contacts nobody before it runs. Raises BadConsole."""
    settings.check()
    figures = figures or Figures()
    sessions, attempts = Sessions(settings), Attempts(settings.bounds, figures)
    senders = Senders(settings, sessions, attempts)
    readings = Readings(settings)
    kafka = _Kafka(settings, readings)
    actions = Actions(readings, settings.sender or kafka.sender, settings.bounds, figures)
    live = Live(readings.view.changes, settings.bounds, figures)

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        yield
        await kafka.close()
        readings.close()

    app = Starlette(
        routes=[
            *Login(settings, sessions, attempts).routes(),
            *pages.routes(),
            *Api(ENDPOINTS, actions, settings.cookie).routes(),
            *live.routes(),
        ],
        middleware=[
            Middleware(Gate, settings=settings, figures=figures, is_known=senders.is_known, answer=answer),
            Middleware(Users, senders=senders, sessions=sessions, answer=answer),
            Middleware(Unexpected),
        ],
        exception_handlers={HalterError: refused, HTTPException: refused},
        lifespan=running,
    )
    app.router.redirect_slashes = False
    app.state.settings, app.state.figures, app.state.readings = settings, figures, readings
    app.state.actions, app.state.live, app.state.templates = actions, live, templates()
    return app


class _Kafka:
    """Connects to Kafka for sending when the first command is to be sent."""

    def __init__(self, settings: ConsoleSettings, readings: Readings) -> None:
        self._settings, self._readings = settings, readings
        self._sender: KafkaSender | None = None

    def sender(self) -> KafkaSender:
        """Return what sends. Contacts nobody."""
        assert self._settings.kafka is not None, "actions without a Kafka are refused before"
        if self._sender is None:
            self._sender = KafkaSender(self._settings.kafka, self._readings.view.reading)
        return self._sender

    async def close(self) -> None:
        """Let go of Kafka."""
        if self._sender is not None:
            await self._sender.close()


def templates() -> Jinja2Templates:
    """Return the templates. Every value is escaped, and a name that is missing is an error.

    A character that cannot be seen, or that turns a line around, is written as its escape wherever it stands. Fields
    of forms are `typed`: they keep it, since what they have is sent.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=undeceiving,
    )
    environment.filters["typed"] = typed
    for name in environment.list_templates():
        environment.get_template(name)  # so that the first page need not wait for it
    return Jinja2Templates(env=environment)


async def refused(request: Request, error: Exception) -> Response:
    """Answer an error with a sentence."""
    if isinstance(error, HTTPException):
        problem = Problem(error.status_code, *CODES.get(error.status_code, ("REFUSED", error.detail)))
    else:
        problem = problem_of(error)
    return answer(request.scope, problem)


class Unexpected:
    """Answers an error that nobody expected, inside the gate. The log has it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        has_begun = False

        async def noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            if has_begun or scope["type"] != "http" or isinstance(error, TimeoutError | ConnectionError):
                raise
            structlog.get_logger("halter.console").exception("request_failed", path=scope["path"])
            response = await refused(Request(scope), error)
            await response(scope, receive, send)
