"""Forms for what an operator may do to a WfRun or a dead letter.

They show the command, ask for it, send it, and show its outcome.

`halter.console.actions` knows the actions, their fields and the commands. A form is sent twice: the first time to see
the command that would be sent, the second time to send it. Both have the same action id, so a double submit is one
action.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from halter.client.ids import new_id
from halter.console.actions import ACTIONS, Action, Actions, action_of
from halter.console.pages.formats import Formats
from halter.console.pages.frame import may_act, page, reading
from halter.console.pages.specs_of import spec_of
from halter.console.problems import NotThere, Problem, problem_of
from halter.view import definition_lists, one_wf_run
from processors.core.records.errors import HalterError
from processors.core.records.values import VariableType

GRAVE: Final = frozenset({"quarantine", "fork"})
"""Actions whose button is red: what they do is not taken back by another."""


@dataclass(frozen=True, slots=True)
class Input:
    """A field of a form: how it is asked for, what it has now, and what there is to choose from."""

    name: str
    label: str
    kind: str
    value: str
    hint: str = ""
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """What is acted on: its name, its page and the list above it, and the field of an action that names it."""

    field: str
    name: str
    address: str
    above: str
    above_title: str


def subject_of(request: Request) -> Subject:
    """Return what the address of a form is for."""
    path = request.path_params
    if "wf_run_id" in path:
        wf_run_id = path["wf_run_id"]
        return Subject("wf_run_id", wf_run_id, f"/wf-runs/{wf_run_id}", "/wf-runs", "WfRuns")
    partition, offset = path["partition"], path["offset"]
    address = f"/dead-letters/{partition}/{offset}"
    return Subject("dead_letter", f"{partition}@{offset}", address, "/dead-letters", "Dead letters")


def routes() -> list[Route]:
    """Return the routes of the forms."""
    of_wf_run, of_dead_letter = "/wf-runs/{wf_run_id}/act", "/dead-letters/{partition:number}/{offset:number}/act"
    return [
        Route(of_wf_run, choose, methods=["GET"]),
        *(Route(f"{base}/{{action}}", form, methods=["GET"]) for base in (of_wf_run, of_dead_letter)),
        *(Route(f"{base}/{{action}}", act, methods=["POST"]) for base in (of_wf_run, of_dead_letter)),
    ]


def choose(request: Request) -> Response:
    """Show what may be done."""
    _expect_operator(request)
    return _page(request, "act.html", {"actions": [ACTIONS[it] for it in _fitting(request)], "action": None})


def form(request: Request) -> Response:
    """Show the form of an action, filled with what the address has."""
    _expect_operator(request)
    action = _asked_for(request)
    return _form(request, action, dict(request.query_params), new_id(), None)


async def act(request: Request) -> Response:
    """Show the command that an action would send; the second time, send it and show its outcome."""
    _expect_operator(request)
    action = _asked_for(request)
    async with request.form(max_fields=40) as sent:
        given = {name: value for name, value in sent.items() if isinstance(value, str)}
    step, action_id = given.pop("step", "show"), given.pop("action_id", "") or new_id()
    given.pop("csrf", None)
    subject = subject_of(request)
    asked = {name: value for name, value in given.items() if value != ""} | {subject.field: subject.name}
    actions: Actions = request.app.state.actions
    user, shared = request.state.user, {"action": action, "is_grave": action.name in GRAVE}
    try:
        if step == "send":
            done = await actions.perform(user, request.state.address, action.name, asked, action_id)
            return await run_in_threadpool(_page, request, "acted.html", shared | {"done": done.as_dict()})
        prepared = await actions.prepare(user, action.name, asked, action_id)
    except HalterError as error:
        return await run_in_threadpool(_form, request, action, given, action_id, problem_of(error))
    context = shared | {"prepared": prepared.as_dict(), "given": given, "action_id": action_id}
    return await run_in_threadpool(_page, request, "act_confirm.html", context)


def _form(
    request: Request, action: Action, given: Mapping[str, str], action_id: str, problem: Problem | None
) -> Response:
    context: dict[str, Any] = {
        "action": action,
        "inputs": _inputs(request, action, given),
        "action_id": action_id,
        "problem": problem,
        "is_grave": action.name in GRAVE,
        "record": None,
    }
    if action.name == "retry":
        place = request.path_params["partition"], request.path_params["offset"]
        try:
            context["record"] = request.app.state.readings.dead_letters.dead_letter_record(*place)
        except HalterError as error:
            context["problem"] = problem or problem_of(error)
    return _page(request, "act_form.html", context, status=200 if problem is None else problem.status)


def _inputs(request: Request, action: Action, given: Mapping[str, str]) -> list[Input]:
    """The fields of a form. An ExternalEvent is asked for in two steps: its ExternalEventDef, then its content."""
    if action.name == "retry":
        hint = 'As JSON, such as {"external_event_def": "checkout"}. Empty: the record is sent as it was.'
        return [
            Input("corrections", "Fields to correct", "long", given.get("corrections", ""), hint),
            Input("reason", "Why", "text", given.get("reason", ""), "It goes with the record, beside your name."),
        ]
    found: list[Input] = []
    with reading(request) as connection:
        seen = one_wf_run.wf_run(connection, request.path_params["wf_run_id"])
        spec = None
        if seen is not None and seen.row["wf_spec_name"]:
            spec, _ = spec_of(connection, seen.row["wf_spec_name"], seen.row["wf_spec_version"])
        defs = definition_lists.external_event_defs(connection) if action.name == "post" else []
    threads = [] if seen is None else [it for it in seen.threads if it["hot"]]
    own = sorted(spec.external_event_defs) if spec is not None else []
    chosen = given.get("external_event_def") or next(iter([*own, *defs]), "")
    for it in action.fields:
        value = given.get(it.name, "")
        match it.name:
            case "wf_run_id" | "content":
                continue
            case "thread":
                every = ("", "the first that takes it") if action.name == "post" else ("0", "#0, the whole WfRun")
                rest = [(str(t["thread"]), f"#{t['thread']} {t['thread_spec']}, {t['status']} at {t['node_name']}")
                        for t in threads if action.name == "post" or t["thread"]]  # fmt: skip
                found.append(Input(it.name, "Thread", "choice", value, choices=(every, *rest)))
            case "external_event_def":
                others = [(name, f"{name} (not of this WfSpec)") for name in defs if name not in own]
                choices = (*((name, name) for name in own), *others)
                found.append(Input(it.name, "ExternalEventDef", "choice", chosen, required=True, choices=choices))
            case "content_text":
                found.append(_content(_declared(request, chosen), value))
            case "external_event_id":
                hint = "A second event with the same id is refused. If it is left empty, it gets one of its own."
                found.append(Input(it.name, "Id of the event", "text", value, hint))
            case "reason":
                found.append(Input(it.name, "Why", "text", value, "It stands on the log beside your name."))
            case "at":
                last = value or (str(seen.row["seq"]) if seen is not None else "")
                hint = "The number of an event, -3 for three events before the last, or a time in UTC."
                found.append(Input(it.name, "After which event", "text", last, hint, required=True))
            case _ if it.kind is bool:
                found.append(Input(it.name, it.says, "check", value))
            case _:
                label = it.name.replace("_", " ").capitalize()
                found.append(Input(it.name, label, "text", value, it.says, it.required))
    return found


def _declared(request: Request, name: str) -> VariableType | None:
    if not name:
        return None
    try:
        definition = request.app.state.readings.log.external_event_def(request.path_params["wf_run_id"], name)
    except HalterError:
        return None
    return None if definition is None else definition.content_type


def _content(declared: VariableType | None, value: str) -> Input:
    hint = (
        "As JSON, or as text if the ExternalEventDef says STR." if declared is None else f"Its type is {declared.name}."
    )
    match declared:
        case VariableType.BOOL:
            return Input(
                "content_text", "Content", "choice", value, hint, choices=(("true", "true"), ("false", "false"))
            )
        case VariableType.INT | VariableType.DOUBLE:
            return Input("content_text", "Content", "number", value, hint)
        case VariableType.STR | VariableType.TIMESTAMP:
            return Input("content_text", "Content", "text", value, hint)
        case _:
            return Input("content_text", "Content", "long", value, hint)


def _fitting(request: Request) -> list[str]:
    """The actions that fit a WfRun as it is."""
    with reading(request) as connection:
        seen = one_wf_run.wf_run(connection, request.path_params["wf_run_id"])
    if seen is None:
        return ["post", "fork", "quarantine"]
    if seen.row["quarantined"]:
        return ["release", "post", "fork"]
    is_live = seen.row["status"] in ("RUNNING", "HALTED")
    held = {it["kind"] for reasons in seen.reasons.values() for it in reasons}
    fits = {
        "post": True,
        "stop": is_live,
        "resume": "MANUAL_HALT" in held,
        "rescue": any(it["status"] == "ERROR" for it in seen.threads),
        "fork": True,
        "quarantine": True,
    }
    return [name for name in ACTIONS if fits.get(name)]


def _asked_for(request: Request) -> Action:
    """Return the action that the address names. Raises NotThere if it is not one for what the address is of."""
    action, subject = action_of(request.path_params["action"]), subject_of(request)
    if subject.field not in [it.name for it in action.fields]:
        raise NotThere(f"{action.title} is not for {subject.name}")
    return action


def _expect_operator(request: Request) -> None:
    if not may_act(request):
        raise Problem(403, "READ_ONLY", "expected an operator, and a console that was started with --allow-actions")


def _page(request: Request, template: str, context: Mapping[str, Any], *, status: int = 200) -> Response:
    subject = subject_of(request)
    shared = {"f": Formats(), "subject": subject, "live": ""}
    return page(request, template, {**shared, **context}, here=subject.above, status=status)
