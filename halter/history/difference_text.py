"""Shows what differs between two states of a WfRun, as lines for people and as data for programs.

    #0 cart
      ~ status  RUNNING → HALTED
      + held by INTERRUPTED(4): until Interrupt Handler #4 on-item-added has ended
      ~ items[2].quantity  1 → 2
    + #4 on-item-added, INTERRUPT of #0, RUNNING at add

`+` is new, `-` is gone, `~` is another. Waits and halt reasons are told in words. The number of children of a thread
and the like, which follow from the threads, are in the data alone.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from halter.history.difference import ABSENT, EXTERNAL_EVENTS, VARIABLES, WAITS, Change, path_text
from halter.show.log_text import failure_text, shown
from halter.show.times import iso
from halter.show.waiting_text import NO_BREAK, wait_data, wait_text
from processors.core.records.model import Failure, NodeRun, TaskRun, ThreadRun, Timer, WfRun
from processors.core.rules.waiting import waits_of

NEW, GONE, OTHER, HEADING = "+", "-", "~", " "
Line = tuple[str, str, str]
"""Indentation, sign and words."""

INDENT: Final = "  "
VALUE_WIDTH_MAX: Final = 200
FOLLOWS: Final = frozenset({"accepted_interrupts", "children", "external_event_def", "external_event_id",
                            "final_status", "greatest_thread_number", "handled_children", "halts_parent",
                            "unstarted_failure_handlers"})  # fmt: skip
"""Fields that follow from what else is told."""
FOLLOWS_AT_A_NODE: Final = frozenset({"deadline", "waits"})
"""Such fields of a visit of a node: until when, and for which threads it waits."""
OF_A_VISIT: Final = "node"
SAME: Final = "nothing differs"


def lines(changes: Sequence[Change], before: WfRun, after: WfRun, *, times: bool = True) -> Iterator[Line]:
    """The lines for changes between two states: first those of the WfRun, then by thread, then by ExternalEvent.

    `times` as it was for the changes.
    """
    if not changes:
        yield "", HEADING, SAME
        return
    own = [it for it in changes if it.thread is None and it.path[0] != EXTERNAL_EVENTS]
    yield from _own(own, before, after, times=times)
    for number in sorted({it.thread for it in changes if it.thread is not None}):
        of_thread = [it for it in changes if it.thread == number]
        yield from _thread(number, of_thread, before, after, times=times)
    events = [it for it in changes if it.path[0] == EXTERNAL_EVENTS]
    if events:
        yield "", HEADING, "ExternalEvents"
    for it in events:
        yield from _external_event(it)


def _own(changes: Sequence[Change], before: WfRun, after: WfRun, *, times: bool) -> Iterator[Line]:
    for name, those in _by_field(changes, 0).items():
        if name == "wf_spec":
            yield _from_to("", "WfSpec", *(None if it.wf_spec is None else str(it.wf_spec) for it in (before, after)))
        elif name == "timer":
            yield _from_to("", "timer", *(_timer(it.timer, times=times) for it in (before, after)))
        else:
            yield from (_line("", it, path_text(it.path)) for it in those if name not in FOLLOWS)


def _thread(number: int, changes: Sequence[Change], before: WfRun, after: WfRun, *, times: bool) -> Iterator[Line]:
    old, new = before.threads.get(number), after.threads.get(number)
    if old is None or new is None:
        thread, run = (old, before) if new is None else (new, after)
        assert thread is not None
        yield "", GONE if new is None else NEW, _title(thread, run, whole=True)
        if new is not None:
            variables = changes[0].after[VARIABLES].items()
            yield from ((INDENT, NEW, f"{name} = {_shown(value)}") for name, value in variables)
            yield from ((INDENT, NEW, words) for words in _waits(run, thread).values())
        return
    yield "", HEADING, _title(new, after, whole=False)
    moved = old.node.position != new.node.position
    by_name = _by_field(changes, 2)
    yield from (_line(INDENT, it, it.place) for it in by_name.pop("status", ()))
    if moved:
        yield INDENT, OTHER, f"at {old.node.node} ({old.node.position}) → {new.node.node} ({new.node.position})"
        by_name.pop(OF_A_VISIT, None)
    if by_name.pop(WAITS, None) is not None:
        gone, come = _waits(before, old), _waits(after, new)
        yield from ((INDENT, GONE, words) for told, words in gone.items() if told not in come)
        yield from ((INDENT, NEW, words) for told, words in come.items() if told not in gone)
        by_name.pop("halt_reasons", None)  # each is among the waits, with what takes it off
    for name, those in by_name.items():
        if name == OF_A_VISIT:
            # That of the thread repeats that of its node.
            told_below = "failure" in by_name and _failure(old.failure) == _failure(old.node.failure)
            told_below = told_below and _failure(new.failure) == _failure(new.node.failure)
            visit = [it for it in those if not (told_below and it.path[3] == "failure")]
            yield from _visit(visit, old.node, new.node, times=times)
        elif name == "failure":
            yield _from_to(INDENT, "failure", _failure(old.failure), _failure(new.failure))
        else:
            yield from (_line(INDENT, it, it.place) for it in those if name not in FOLLOWS)


def _by_field(changes: Sequence[Change], step: int) -> dict[str | int, list[Change]]:
    """Return the changes by the field in which they are: a step of their paths."""
    found: dict[str | int, list[Change]] = {}
    for change in changes:
        found.setdefault(change.path[step], []).append(change)
    return found


def _visit(changes: Sequence[Change], old: NodeRun, new: NodeRun, *, times: bool) -> Iterator[Line]:
    """What differs in a visit of a node that goes on."""
    for name, those in _by_field(changes, 3).items():
        match name:
            case "timer":
                yield _from_to(INDENT, "timer", *(_timer(it.timer, times=times) for it in (old, new)))
            case "task":
                yield _task_line(old.task, new.task, times=times)
            case "failure":
                yield _from_to(INDENT, "node failed", _failure(old.failure), _failure(new.failure))
            case "arrival_failure":
                failures = [_failure(it.arrival_failure) for it in (old, new)]
                yield _from_to(INDENT, "node fails when it runs", *failures)
            case "matured_seq":
                since = [None if it.matured_seq is None else f"since event {it.matured_seq}" for it in (old, new)]
                yield _from_to(INDENT, "its time is over", *since)
            case _ if name not in FOLLOWS_AT_A_NODE:
                yield from (_line(INDENT, it, path_text(it.path[3:])) for it in those)


def _timer(timer: Timer | None, *, times: bool) -> str | None:
    if timer is None:
        return None
    return f"{timer.kind}, due {iso(timer.due_ms)}" if times else timer.kind


def _task_line(old: TaskRun | None, new: TaskRun | None, *, times: bool) -> Line:
    """What differs in the attempts of a visit. What they are given is told at the first."""
    one = new or old
    assert one is not None
    of_both = old is not None and new is not None and old.task_def == new.task_def
    words = [None if it is None else _task(it, of_both=of_both, times=times) for it in (old, new)]
    return _from_to(INDENT, f"task {one.task_def}" if of_both else "task", *words)


def _task(task: TaskRun, *, of_both: bool, times: bool) -> str:
    """The words for the attempts of a visit, as far as they have come."""
    words = [
        f"attempt {task.attempt} {task.status}" if of_both else f"{task.task_def}, attempt {task.attempt} {task.status}"
    ]
    if task.retry_at_ms is not None and times:
        words.append(f" at {iso(task.retry_at_ms)}")
    if task.started_ms is not None:
        words.append(f", running since {iso(task.started_ms)}" if times else ", running")
    elif task.start_by_ms is not None:
        words.append(f", to start by {iso(task.start_by_ms)}" if times else ", to start")
    words += [f", {name} = {shown(value)}" for name, value in ({} if of_both else task.input).items()]
    if task.result is not None:
        words += [f", {task.result}", f" {task.failure_name}" if task.failure_name else ""]
        words += [f": {task.message}" if task.message else ""]
    named = {"output": task.output, "content": task.content, "progress": task.progress}
    words += [f", {name} {shown(value)}" for name, value in named.items() if value is not None]
    return "".join(words)


def _failure(failure: Failure | None) -> str | None:
    if failure is None:
        return None
    content = "" if failure.content is None else f", content {shown(failure.content)}"
    return f"{failure_text(failure)}{content}"


def _from_to(indent: str, name: str, before: str | None, after: str | None) -> Line:
    if before is None or after is None:
        return indent, NEW if before is None else GONE, f"{name}  {before or after}"
    return indent, OTHER, f"{name}  {before} → {after}"


def _title(thread: ThreadRun, run: WfRun, *, whole: bool) -> str:
    title = f"#{thread.number} {thread.thread_spec}"
    if not whole:
        return title
    kind = "" if thread.parent is None else f", {thread.type} of #{thread.parent}"
    by = "" if thread.external_event_id is None else f" by {thread.external_event_def} {thread.external_event_id}"
    return f"{title}{kind}{by}, {run.thread_status(thread.number)} at {thread.node.node}"


def _waits(run: WfRun, thread: ThreadRun) -> dict[str, str]:
    """The words for what a thread waits for, by what tells one wait from another."""
    return {
        json.dumps(wait_data(it)): wait_text(it, run, thread, run.time_ms).replace(NO_BREAK, " ")
        for it in waits_of(run, thread)
    }


def _external_event(change: Change) -> Iterator[Line]:
    name = str(change.path[1])
    if len(change.path) == len((EXTERNAL_EVENTS, name)):
        told = change.after if change.before is ABSENT else change.before
        content = "" if told["content"] is None else f" {_shown(told['content'])}"
        yield INDENT, NEW if change.before is ABSENT else GONE, f"{name}  {told['status']}{content}"
    elif change.path[2] == "outcomes" and isinstance(change.path[-1], int):
        told = change.before if change.after is ABSENT else change.after
        words = f"{name}  {told['status']} in #{told['thread']}" if isinstance(told, dict) else name
        yield INDENT, GONE if change.after is ABSENT else NEW, words
    else:
        yield _line(INDENT, change, f"{name} {path_text(change.path[2:])}")


def _line(indent: str, change: Change, name: str) -> Line:
    if change.before is ABSENT or change.before is None:
        return indent, NEW, f"{name}  {_shown(change.after)}"
    if change.after is ABSENT or (change.after is None and change.variable is None):
        return indent, GONE, f"{name}  {_shown(change.before)}"
    return indent, OTHER, f"{name}  {_shown(change.before)} → {_shown(change.after)}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) and value.isupper() else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_WIDTH_MAX else text[: VALUE_WIDTH_MAX - 1] + "…"


def change_data(change: Change) -> dict[str, Any]:
    """A change as plain JSON data. What is absent before or after is left out."""
    told: dict[str, Any] = {"path": list(change.path)}
    if change.before is not ABSENT:
        told["before"] = change.before
    if change.after is not ABSENT:
        told["after"] = change.after
    return told
