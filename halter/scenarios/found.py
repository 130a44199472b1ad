"""Shows a WfRun as plain data, in the words of a scenario document, and compares it with what the document expects.

Values of Variables stay as they are: a Timestamp is compared with its text or its milliseconds. Everything else becomes
text, numbers, lists, and mappings whose keys are the fields of the document.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, get_args

from processors.core.records.events import Event
from processors.core.records.model import (
    TERMINAL,
    ExternalEventStatus,
    Failure,
    HaltReason,
    Status,
    ThreadRun,
    WfRunExternalEvent,
    WfSpecId,
)
from processors.core.records.values import Timestamp, ValueProblem, describe, timestamp_of
from processors.core.wf_spec.expressions import equal

_HALT_REASONS = get_args(HaltReason)


@dataclass(frozen=True, slots=True)
class WfRunFound:
    """A WfRun as the engine under test shows it: its rows, and the last rows of its finished threads."""

    status: Status
    threads: Mapping[int, ThreadRun]
    """The threads in the hot state."""
    finished: Mapping[int, ThreadRun]
    external_events: Iterable[WfRunExternalEvent]
    """The ExternalEvents in the order in which they arrived."""
    incarnation: int

    def thread(self, number: int) -> ThreadRun | None:
        """Return a thread, finished or not; None if there is none of this number."""
        return self.threads.get(number) or self.finished.get(number)


def wf_run(run: WfRunFound, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a WfRun that `expect` names. Other parts are not built, so a long history costs nothing."""
    return {name: _PARTS[name](run, part) for name, part in wanted.items()}


def _threads(run: WfRunFound, wanted: Mapping[str, Any]) -> dict[str, Any]:
    named = ((number, run.thread(int(number))) for number in wanted)
    return {number: _thread(run, one, wanted[number]) for number, one in named if one is not None}


def _thread(run: WfRunFound, one: ThreadRun, wanted: Mapping[str, Any] | str) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "status": one.status.value,
        "type": one.type.value,
        "parent": one.parent,
        "spec": one.thread_spec,
        "node": one.node.node,
        "node_status": one.node_status.value,
        "halt_reasons": [str(reason) for reason in one.halt_reasons],
        "failure": None if one.failure is None else failure(one.failure),
        "output": one.output,
    }
    if "children" in wanted:
        everyone = {**run.finished, **run.threads}
        plain["children"] = sorted(number for number, child in everyone.items() if child.parent == one.number)
    return plain


def _variables(run: WfRunFound, wanted: Mapping[str, Any]) -> dict[str, Any]:
    named = ((number, run.thread(int(number))) for number in wanted)
    return {number: one.variables for number, one in named if one is not None}


def failure(one: Failure) -> dict[str, Any]:
    """Return a failure with its chain of causes as data."""
    cause = None if one.cause is None else {"thread": one.cause_thread, **failure(one.cause)}
    return {
        "name": one.name,
        "message": one.message,
        "class": one.failure_class.value,
        "content": one.content,
        "cause": cause,
    }


def event(one: Event) -> dict[str, Any]:
    """Return the fields of an event as data."""
    return {field.name: _plain(getattr(one, field.name)) for field in fields(one)}


def _plain(value: Any) -> Any:
    match value:
        case Failure():
            return failure(value)
        case Enum():
            return value.value
        case Timestamp():
            return value
        case WfSpecId():
            return str(value)
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _ if isinstance(value, _HALT_REASONS):
            return str(value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value


def _ids(status: ExternalEventStatus) -> Callable[[WfRunFound, Any], list[str]]:
    def ids(run: WfRunFound, wanted: Any) -> list[str]:  # noqa: ARG001
        return [one.external_event_id for one in run.external_events if one.status is status]

    return ids


def _outcomes(run: WfRunFound, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {
        one.external_event_id: [f"{it.thread} {it.status}" for it in one.outcomes]
        + ([f"{one.outcomes_left_out} left out"] if one.outcomes_left_out else [])
        for one in run.external_events
        if one.external_event_id in wanted and one.outcomes is not None
    }


def _tasks_out(run: WfRunFound) -> Iterator[dict[str, Any]]:
    for number in sorted(run.threads):
        one = run.threads[number]
        if one.task_out and one.status not in TERMINAL:
            task = one.node.task
            assert task is not None
            yield {
                "thread": number,
                "task": task.task_def,
                "attempt": task.attempt,
                "input": task.input,
                "started": task.started_ms is not None,
                "progress": task.progress,
            }


_PARTS: dict[str, Callable[[WfRunFound, Any], Any]] = {
    "status": lambda run, _wanted: run.status.value,
    "threads": _threads,
    "variables": _variables,
    "unclaimed": _ids(ExternalEventStatus.UNCLAIMED),
    "dropped": _ids(ExternalEventStatus.DROPPED),
    "superseded": _ids(ExternalEventStatus.SUPERSEDED),
    "outcomes": _outcomes,
    "tasks_out": lambda run, _wanted: list(_tasks_out(run)),
    "thread_count": lambda run, _wanted: len(run.threads),
}


def differences(expected: Any, found: Any, place: str = "") -> Iterator[str]:
    """Yield a sentence for each difference.

    For a mapping, only the keys that are expected are compared. A list is compared as a whole, in order.
    """
    match expected:
        case Mapping():
            if not isinstance(found, Mapping):
                yield f"{place}: expected {_shown(expected)}, found {_shown(found)}"
                return
            for key, wanted in expected.items():
                here = f"{place}.{key}" if place else str(key)
                if wanted == "absent" and key not in found and place == "threads":
                    continue
                if str(key) not in found:
                    yield f"{here}: expected {_shown(wanted)}, found nothing of that name"
                else:
                    yield from differences(wanted, found[str(key)], here)
        case list():
            if not isinstance(found, list) or len(found) != len(expected):
                yield f"{place}: expected {_shown(expected)}, found {_shown(found)}"
                return
            for index, (wanted, item) in enumerate(zip(expected, found, strict=True)):
                yield from differences(wanted, item, f"{place}[{index}]")
        case _:
            if not _same(expected, found):
                yield f"{place}: expected {_shown(expected)}, found {_shown(found)}"


def _same(expected: Any, found: Any) -> bool:
    match found:
        case Timestamp() if isinstance(expected, str):
            try:
                return timestamp_of(expected) == found
            except ValueProblem:
                return False
        case Timestamp() if type(expected) is int:
            return expected == found.epoch_ms
        case bytes() if isinstance(expected, str):
            return expected == base64.b64encode(found).decode()
        case _:
            return equal(expected, found)


def _shown(value: Any) -> str:
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {_shown(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(_shown(item) for item in value) + "]"
        case str():
            return value or "''"
        case _:
            return describe(value).removeprefix("INT ").removeprefix("BOOL ").removeprefix("DOUBLE ")
