"""A WfRun as it is now, for people and for programs: what `halter show` prints.

The question it answers is why a WfRun is where it is: which node each thread stands at and since when, what holds it,
what it waits for, and which ExternalEvents came that nobody has claimed.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Final

from halter.log_text import failure_text, shown
from halter.plain import plain
from processors.core.model import ExternalEventStatus, TaskRunStatus, ThreadRun, WfRun
from processors.core.values import Timestamp, iso_of

INTERNAL: Final = frozenset({"changes", "index", "spec", "threads", "external_events", "kept_inputs", "command_ids"})

Style = Callable[[str], str]
"""Gives the word for a status its colour."""


def as_it_is(word: str) -> str:
    """No colours."""
    return word


def text(run: WfRun, style: Style = as_it_is) -> Iterator[str]:
    """Some lines."""
    yield _title(run, style)
    if run.quarantined_ms is not None:
        since = f"  {style('QUARANTINED')}  since {_time(run.quarantined_ms)}"
        yield f"{since}: {len(run.kept_inputs)} inputs are kept until `halter release {run.wf_run_id}`"
    for thread in run.threads.values():
        yield from _thread(thread, style)
    for status, words in (
        (ExternalEventStatus.UNCLAIMED, "unclaimed"),
        (ExternalEventStatus.SUPERSEDED, "superseded"),
        (ExternalEventStatus.DROPPED, "dropped"),
    ):
        events = [event for event in run.external_events.values() if event.status is status]
        if events:
            yield f"  {words}: " + ", ".join(f"{e.external_event_def} {e.external_event_id}" for e in events)


def _title(run: WfRun, style: Style) -> str:
    if run.wf_spec is None:
        return f"{run.wf_run_id}  no WfRun yet{', but ExternalEvents for it' if run.external_events else ''}"
    assert run.started_ms is not None
    ended = "" if run.ended_ms is None else f", ended {_time(run.ended_ms)}"
    status = str(run.status)
    return f"{run.wf_run_id}  {style(status)}  {run.wf_spec}, started {_time(run.started_ms)}{ended}, {run.seq} events"


def _thread(thread: ThreadRun, style: Style) -> Iterator[str]:
    kind = "" if thread.parent is None else f", {thread.type} of #{thread.parent}"
    by = "" if thread.external_event_id is None else f" by {thread.external_event_def} {thread.external_event_id}"
    # Where a thread that is over stood last says nothing.
    at = f", at {thread.node.node} since {_time(thread.node.arrived_ms)}" if thread.ended_ms is None else ""
    yield f"  #{thread.number:<3} {style(f'{thread.status:<9}')}  {thread.thread_spec}{kind}{by}{at}"
    if thread.halt_reasons:
        yield "       held by " + ", ".join(map(str, thread.halt_reasons))
    yield from _waiting(thread)
    if thread.failure is not None:
        yield f"       failed: {failure_text(thread.failure)}"
    for name, value in thread.variables.items():
        yield f"       {name} = {shown(value)}"
    if thread.output is not None:
        yield f"       returned {shown(thread.output)}"


def _waiting(thread: ThreadRun) -> Iterator[str]:
    node = thread.node
    task = node.task
    if thread.ended_ms is not None:
        return
    if task is not None and task.status is TaskRunStatus.OUT:
        yield f"       waits for attempt {task.attempt} of task {task.task_def}"
    elif task is not None and task.status is TaskRunStatus.RETRYING:
        yield f"       waits to try task {task.task_def} again"
    if node.waits is not None:
        yield "       waits for " + ", ".join(f"#{wait.thread}" for wait in node.waits)
    if node.timer is not None:
        yield f"       {node.timer.kind} at {_time(node.timer.due_ms)}"


def _time(epoch_ms: int) -> str:
    return iso_of(Timestamp(epoch_ms))


def data(run: WfRun) -> dict[str, Any]:
    """All of a WfRun, its ThreadRuns and its ExternalEvents."""
    own = {item.name: plain(getattr(run, item.name)) for item in fields(run) if item.name not in INTERNAL}
    return {
        **own,
        "status": None if run.status is None else run.status.value,
        "threads": {str(number): plain(thread) for number, thread in run.threads.items()},
        "external_events": [plain(event) for event in run.external_events.values()],
        "kept_inputs": [plain(kept) for kept in run.kept_inputs],
    }
