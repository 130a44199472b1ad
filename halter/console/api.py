"""The JSON API: one table of endpoints, from which the routes and the OpenAPI document are made.

Each endpoint is a reading (`halter.console.readings`) or an action, with its parameters and the type of its answer.
Errors are problems (`halter.console.problems`). A parameter that is not known is refused, not passed over.
"""

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import version
from typing import Any, Final, TypedDict

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from halter.console import readings_log, readings_view, readings_workers
from halter.console.actions import ACTIONS, Action, Actions, PerformedAction, PreparedAction
from halter.console.api_schemas import Schema, schema_of
from halter.console.login_users import expect_operator, expect_unmasking
from halter.console.problems import CONTENT_TYPE, BadQuery
from halter.console.readings import Readings
from halter.console.security import body_of
from halter.console.standing import FoldingAnswer
from halter.console.users import User
from halter.view import dead_letter_lists, totals, wf_run_lines
from halter.view.filters import NAMES, SortBy
from halter.view.paging import LIMIT, LIMIT_MAX, Count
from processors import DISTRIBUTION

NUMBER_MAX: Final = 2**53
REPEATED: Final = ("status", "var")
"""The filters that may be given more than once."""
DOCUMENT: Final = "/api/openapi.json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query of an address."""

    name: str
    says: str
    kind: type = str
    required: bool = False
    default: Any = None
    most: int = NUMBER_MAX
    """The largest number that it may be."""

    def read(self, text: str) -> Any:
        """Return the value of a text. Raises BadQuery."""
        if self.kind is bool:
            if text in ("1", "true", "0", "false"):
                return text in ("1", "true")
            raise BadQuery(f"{self.name}: expected true or false, found '{text[:40]}'")
        if self.kind is int:
            if text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= self.most:
                return int(text)
            raise BadQuery(f"{self.name}: expected a whole number from 0 to {self.most:,}, found '{text[:40]}'")
        return text


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that is read."""

    path: str
    says: str
    reading: Callable[[Readings], Callable[..., Any]]
    """Which of the readings it is. That takes the parameters by their names, and blocks."""
    answer: Any
    """The type of what it returns."""
    parameters: tuple[Parameter, ...] = ()
    has_filters: bool = False
    """It also takes the filters of WfRuns, by their names in URLs."""


WF_RUN: Final = Parameter("wf_run_id", "Id of the WfRun.", required=True)
AT: Final = Parameter("at", "The moment: a seq, a number of events back (-3), or a time in UTC. Default: the last.")
UNMASK: Final = Parameter("unmask", "Show masked values. For operators; it is noted in the log.", bool, default=False)
LOG: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "/api/wf-run/timeline",
        "The timeline of a WfRun: each event, with what it changed.",
        lambda of: of.log.timeline,
        dict[str, Any],
        (WF_RUN, UNMASK),
    ),
    Endpoint(
        "/api/wf-run/state",
        "A WfRun as it was at a moment: threads, halt reasons, Variables, waits.",
        lambda of: of.log.state,
        readings_log.StateAt,
        (WF_RUN, AT, UNMASK),
    ),
    Endpoint(
        "/api/wf-run/history",
        "The events of a WfRun, in order.",
        lambda of: of.log.history,
        readings_log.HistoryPart,
        (
            WF_RUN,
            Parameter("after", "Only events whose seq is above this.", int, default=0),
            Parameter("limit", "The most events.", int, default=200, most=1000),
            UNMASK,
        ),
    ),
    Endpoint(
        "/api/wf-run/why",
        "Why the threads of a WfRun do not move, and what frees them.",
        lambda of: of.log.why,
        readings_log.WhyAnswer,
        (WF_RUN, AT, UNMASK),
    ),
    Endpoint(
        "/api/wf-run/cause",
        "The input record that caused an event, decoded, with all that it caused.",
        lambda of: of.log.cause,
        dict[str, Any],
        (WF_RUN, Parameter("seq", "The seq of the event.", int, required=True), UNMASK),
    ),
)


AFTER: Final = Parameter("after", "Where the page begins: `after` of the page before. Default: with the first.")
ROWS: Final = Parameter("limit", "The most rows.", int, default=LIMIT, most=LIMIT_MAX)
VIEW: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "/api/wf-runs",
        "The WfRuns that filters mean.",
        lambda of: of.view.wf_runs,
        readings_view.WfRunsPage,
        (
            Parameter("sort", f"One of {', '.join(SortBy)}.", default=str(SortBy.CHANGED)),
            Parameter("reverse", "From the other end.", bool, default=False),
            AFTER,
            ROWS,
        ),
        has_filters=True,
    ),
    Endpoint("/api/wf-runs/count", "How many WfRuns filters mean.", lambda of: of.view.count, Count, has_filters=True),
    Endpoint(
        "/api/wf-run",
        "A WfRun as the view has it.",
        lambda of: of.view.wf_run,
        wf_run_lines.WfRunLine,
        (WF_RUN,),
    ),
    Endpoint("/api/stats", "How many of what there are.", lambda of: of.view.stats, totals.Stats),
    Endpoint(
        "/api/wf-specs",
        "The WfSpecs that are registered.",
        lambda of: of.view.wf_specs,
        readings_view.WfSpecsAnswer,
    ),
    Endpoint(
        "/api/wf-spec/nodes",
        "How many live threads stand at each node of a WfSpec.",
        lambda of: of.view.nodes,
        readings_view.NodesAnswer,
        (
            Parameter("wf_spec", "Name of the WfSpec.", required=True),
            Parameter("version", "Of this version alone, MAJOR.REVISION."),
        ),
    ),
    Endpoint(
        "/api/external-events",
        "ExternalEvents, and what became of them, the newest first.",
        lambda of: of.view.external_events,
        readings_view.ExternalEventsPage,
        (
            Parameter("wf_run_id", "Of this WfRun."),
            Parameter("external_event_def", "Of this ExternalEventDef."),
            Parameter("status", "UNCLAIMED, CLAIMED, DROPPED or SUPERSEDED."),
            AFTER,
            ROWS,
        ),
    ),
    Endpoint(
        "/api/dead-letters",
        "Dead letters, the newest first.",
        lambda of: of.view.dead_letters,
        readings_view.DeadLettersPage,
        (
            Parameter("reason", "With this reason."),
            Parameter("topic", "Of records of this topic, named without the prefix."),
            Parameter("wf_run_id", "For this WfRun."),
            Parameter("retried", "Those that were retried, or those that were not.", bool),
            AFTER,
            ROWS,
        ),
    ),
    Endpoint(
        "/api/dead-letter",
        "A dead letter.",
        lambda of: of.view.dead_letter,
        dead_letter_lists.DeadLetterLine,
        (
            Parameter("partition", "Its partition on dead-letters.", int, required=True),
            Parameter("offset", "Its offset there.", int, required=True),
        ),
    ),
    Endpoint(
        "/api/dead-letter/record",
        "What is in a dead letter: its key and its record, decoded if that is possible. It is read from Kafka.",
        lambda of: of.dead_letters.dead_letter_record,
        dict[str, Any],
        (
            Parameter("partition", "Its partition on dead-letters.", int, required=True),
            Parameter("offset", "Its offset there.", int, required=True),
            UNMASK,
        ),
    ),
    Endpoint(
        "/api/partitions",
        "How far the view has read.",
        lambda of: of.view.partitions,
        readings_view.PartitionsAnswer,
    ),
    Endpoint(
        "/api/folding",
        "What waits to be folded, and which partitions stand still, as of some seconds ago.",
        lambda of: of.workers.folding,
        FoldingAnswer,
    ),
    Endpoint(
        "/api/workers",
        "The workers that Kafka knows.",
        lambda of: of.workers.workers,
        readings_workers.WorkersAnswer,
    ),
)
ENDPOINTS: Final = (*VIEW, *LOG)


class Me(TypedDict):
    """Whoever asks, and what that allows."""

    name: str
    role: str
    way: str
    csrf: str
    may_act: bool


class Api:
    """The routes of the API."""

    def __init__(self, endpoints: tuple[Endpoint, ...], actions: Actions, cookie: str) -> None:
        """`cookie`: the name of the cookie of a session, for the document."""
        self._endpoints, self._actions = endpoints, actions
        self._document = json.dumps(document(endpoints, cookie)).encode()

    def routes(self) -> list[Route]:
        """Return a route for each endpoint, for the actions, and for the document."""
        return [
            Route(DOCUMENT, self._openapi, methods=["GET"]),
            Route("/api/me", self._me, methods=["GET"]),
            *(Route(it.path, self._reading(it), methods=["GET"]) for it in self._endpoints),
            Route("/api/actions/{name}", self._perform, methods=["POST"]),
            Route("/api/actions/{name}/preview", self._preview, methods=["POST"]),
        ]

    async def _openapi(self, _: Request) -> Response:
        return Response(self._document, media_type="application/json")

    async def _me(self, request: Request) -> Response:
        user: User = request.state.user
        may_act = user.is_operator and request.app.state.settings.allow_actions
        return answered(Me(name=user.name, role=user.role, way=user.way, csrf=user.csrf, may_act=may_act))

    def _reading(self, endpoint: Endpoint) -> Callable[[Request], Any]:
        async def read(request: Request) -> Response:
            given = parameters_of(endpoint, request)
            if given.get("unmask"):
                expect_unmasking(request, **{name: it for name, it in given.items() if name != "unmask"})
            return answered(await run_in_threadpool(endpoint.reading(request.app.state.readings), **given))

        return read

    async def _perform(self, request: Request) -> Response:
        user = expect_operator(request)
        fields, action_id = asked_in(request)
        name = request.path_params["name"]
        performed = await self._actions.perform(user, request.state.address, name, fields, action_id)
        statuses = {"done": 200, "refused": 409, "unknown": 202}
        return answered(performed.as_dict(), statuses[performed.outcome])

    async def _preview(self, request: Request) -> Response:
        user = expect_operator(request)
        fields, action_id = asked_in(request)
        prepared = await self._actions.prepare(user, request.path_params["name"], fields, action_id or "preview-only")
        return answered(prepared.as_dict())


def answered(data: object, status: int = 200) -> Response:
    """Return data as JSON. What the log has may hold lone surrogates, which UTF-8 has not: they become escapes."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=plain_data)
    try:
        body = text.encode()
    except UnicodeEncodeError:
        body = json.dumps(data, separators=(",", ":"), default=plain_data).encode()
    return Response(body, status, media_type="application/json")


def plain_data(it: object) -> object:
    """Return what JSON can express in the place of a line of the view."""
    if is_dataclass(it) and not isinstance(it, type):
        return {field.name: getattr(it, field.name) for field in fields(it)}
    if isinstance(it, Mapping):
        return dict(it)
    return str(it)


def parameters_of(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    """Return the parameters of a request. Raises BadQuery."""
    known = {it.name: it for it in endpoint.parameters}
    given: dict[str, Any] = {it.name: it.default for it in endpoint.parameters if not it.required}
    if endpoint.has_filters:
        given["filters"] = []
    for name, text in request.query_params.multi_items():
        if endpoint.has_filters and name not in known:
            given["filters"].append((name, text))  # the filters know which there are
            continue
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"expected {', '.join(known) or 'none'}"
            raise BadQuery(f"the parameter '{name[:40]}' is not known; {hint}")
        given[name] = known[name].read(text)
    for name, parameter in known.items():
        if parameter.required and given.get(name) in (None, ""):
            raise BadQuery(f"{name}: expected one ({parameter.says.rstrip('.')}), found none")
    return given


def asked_in(request: Request) -> tuple[dict[str, Any], str | None]:
    """Return the fields of an action and its id, from a body of JSON. Raises BadQuery."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise BadQuery("expected a body of application/json with `fields` and perhaps `action_id`")
    try:
        asked = json.loads(body_of(request.scope), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadQuery("expected a body of JSON with `fields` and perhaps `action_id`, found none") from error
    if (
        not isinstance(asked, dict)
        or not isinstance(asked.get("fields"), dict)
        or not asked.keys() <= {"fields", "action_id"}
    ):
        raise BadQuery("expected a JSON object with `fields` (an object) and perhaps `action_id`")
    try:
        json.dumps(asked, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadQuery("expected a body of JSON with text that UTF-8 has, found half of a surrogate pair") from error
    action_id = asked.get("action_id")
    if action_id is not None and not isinstance(action_id, str):
        raise BadQuery("action_id: expected text")
    return asked["fields"], action_id


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def document(endpoints: tuple[Endpoint, ...], cookie: str) -> dict[str, Any]:
    """Return the OpenAPI document."""
    parts: dict[str, Schema] = {
        "Problem": {
            "type": "object",
            "description": "An error: its status, a code for programs and a sentence for people.",
            "properties": {"status": {"type": "integer"}, "code": {"type": "string"}, "title": {"type": "string"}},
            "required": ["code", "status", "title"],
            "additionalProperties": False,
        }
    }
    paths: dict[str, Any] = {
        "/api/me": {"get": _operation("Whoever asks, and what that allows.", schema_of(Me, parts))},
    }
    for it in endpoints:
        paths[it.path] = {
            "get": _operation(it.says, schema_of(it.answer, parts), [*map(_parameter, it.parameters), *_filters(it)])
        }
    for action in ACTIONS.values():
        for path, says, answer in (
            (f"/api/actions/{action.name}", action.says, schema_of(PerformedAction, parts)),
            (
                f"/api/actions/{action.name}/preview",
                f"The command of {action.title}; nothing is sent.",
                schema_of(PreparedAction, parts),
            ),
        ):
            operation = _operation(says, answer)
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _asks(action)}}}
            if not path.endswith("preview"):
                for status, told in (("202", "Sent, and not decided yet."), ("409", "Refused: nothing has changed.")):
                    operation["responses"][status] = _response(told, answer)
            paths[path] = {"post": operation}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Halter console", "version": version(DISTRIBUTION)},
        "paths": paths,
        "components": {
            "schemas": parts,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": cookie},
            },
        },
        "security": [{"token": []}, {"session": []}, {}],
    }


def _operation(says: str, answer: Schema, parameters: list[Schema] | None = None) -> dict[str, Any]:
    problem = {"content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    return {
        "summary": says,
        "parameters": parameters or [],
        "responses": {"200": _response("The answer.", answer), "default": {"description": "An error.", **problem}},
    }


def _response(says: str, answer: Schema) -> dict[str, Any]:
    return {"description": says, "content": {"application/json": {"schema": answer}}}


def _filters(endpoint: Endpoint) -> list[Schema]:
    """Return the parameters of the filters of WfRuns, if an endpoint takes them."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": "Filters WfRuns, as the option of `halter list` of this name.",
            "schema": {"type": "array", "items": {"type": "string"}} if name in REPEATED else {"type": "string"},
        }
        for name in (NAMES if endpoint.has_filters else ())
    ]


def _parameter(parameter: Parameter) -> Schema:
    schema = schema_of(parameter.kind, {})
    if parameter.kind is int:
        schema |= {"minimum": 0, "maximum": parameter.most}
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.says,
        "schema": schema,
    }


def _asks(action: Action) -> Schema:
    """Return the schema of the body of an action."""
    fields = {it.name: {} if it.name == "content" else schema_of(it.kind, {}) for it in action.fields}
    said = {
        name: {**schema, "description": it.says}
        for (name, schema), it in zip(fields.items(), action.fields, strict=True)
    }
    return {
        "type": "object",
        "properties": {
            "fields": {
                "type": "object",
                "properties": said,
                "required": [it.name for it in action.fields if it.required],
                "additionalProperties": False,
            },
            "action_id": {
                "type": "string",
                "pattern": "^[A-Za-z0-9_-]{8,64}$",
                "description": "Names the action: a repeat of it sends nothing. Default: a new one.",
            },
        },
        "required": ["fields"],
        "additionalProperties": False,
    }
