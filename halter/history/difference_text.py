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
from halter.show.waiting_text import NO_BREAK, wait_data, wait_text
from processors.core.records.model import ThreadRun, WfRun
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
OF_A_VISIT: Final = "node"
SAME: Final = "nothing differs"


def lines(changes: Sequence[Change], before: WfRun, after: WfRun) -> Iterator[Line]:
    """The lines for changes between two states: first those of the WfRun, then by thread, then by ExternalEvent."""
    if not changes:
        yield "", HEADING, SAME
        return
    own = [it for it in changes if it.thread is None and it.path[0] != EXTERNAL_EVENTS]
    yield from (_line("", it, path_text(it.path)) for it in own if it.path[0] not in FOLLOWS)
    for number in sorted({it.thread for it in changes if it.thread is not None}):
        of_thread = [it for it in changes if it.thread == number]
        yield from _thread(number, of_thread, before, after)
    events = [it for it in changes if it.path[0] == EXTERNAL_EVENTS]
    if events:
        yield "", HEADING, "ExternalEvents"
    for it in events:
        yield from _external_event(it)


def _thread(number: int, changes: Sequence[Change], before: WfRun, after: WfRun) -> Iterator[Line]:
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
    by_name: dict[str | int, list[Change]] = {}
    for change in changes:
        by_name.setdefault(change.path[2], []).append(change)
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
        yield from (_line(INDENT, it, it.place) for it in those if name not in FOLLOWS)


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
    if change.after is ABSENT:
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
