"""Shows the state of a WfRun as text for people and as data for programs: the output of `halter show`.

It explains why a WfRun is where it is: what each thread waits for, since when and until when, what holds it, and which
ExternalEvents nobody has claimed. Lines that are longer than the terminal are wrapped.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Final

from halter.show.log_text import failure_text, shown
from halter.show.plain import plain, plain_field
from halter.show.times import iso
from halter.show.waiting_text import NO_BREAK, wait_data, wait_text
from halter.show.wrapping import printable, wrapped
from processors.core.records.errors import HalterError
from processors.core.records.model import ExternalEventStatus, Status, ThreadRun, WfRun, WfRunExternalEvent
from processors.core.rules.context import WfSpecLookup
from processors.core.rules.engine import indexed
from processors.core.rules.indexing import index_of
from processors.core.rules.waiting import Held, ToRun, waits_of

INTERNAL: Final = frozenset({"changes", "index", "spec", "threads", "external_events", "kept_inputs", "command_ids"})
INDENT: Final = " " * 7
"""Indentation of the lines about a thread, below its heading."""

WIDTH_MIN: Final = 20
"""Narrowest width that lines are wrapped to. In a narrower terminal they run over its edge."""

Style = Callable[[str], str]
"""Colours the word for a status."""


def as_it_is(word: str) -> str:
    """Return the word without a colour."""
    return word


def understood(run: WfRun, wf_specs: WfSpecLookup) -> WfRun:
    """Give a WfRun that was read or replayed its WfSpec, which says what its threads wait for. Returns the same object.

    If the WfSpec cannot be read, only what the rows say is shown.
    """
    try:
        return indexed(run, wf_specs)
    except HalterError:
        run.spec, run.index = None, index_of(run)
        return run


def text(run: WfRun, style: Style = as_it_is, *, now_ms: int | None = None, width: int | None = None) -> Iterator[str]:
    """The lines of a WfRun, wrapped to `width` if it is given. Spans of time end at `now_ms`, or now."""
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    for indent, line, status in _lines(run, now):
        for number, part in enumerate(_wrapped(line, indent, width)):
            shown_part = printable(part)  # an id may have anything in it
            yield shown_part.replace(status, style(status), 1) if status and not number else shown_part


def _wrapped(line: str, indent: str, width: int | None) -> list[str]:
    """A line, broken into lines that fit, and not at NO_BREAK."""
    if width is None:
        return [(indent + line).replace(NO_BREAK, " ")]
    parts = wrapped(line, max(width, WIDTH_MIN), indent=indent, hanging=f"{indent}  ")
    return [part.replace(NO_BREAK, " ") for part in parts]


Line = tuple[str, str, str]
"""Indentation, words, and the status in them, which gets a colour."""


def _lines(run: WfRun, now_ms: int) -> Iterator[Line]:
    yield "", _title(run), str(run.status or "")
    if run.quarantined_ms is not None:
        since = f"QUARANTINED  since {iso(run.quarantined_ms)}"
        number = len(run.kept_inputs)
        inputs = "1 input is" if number == 1 else f"{number} inputs are"
        kept = f"{inputs} kept until `halter release {run.wf_run_id}`"
        yield "  ", f"{since}: {kept}", "QUARANTINED"
    for thread in run.threads.values():
        yield from _thread(run, thread, now_ms)
    by_outcome: dict[ExternalEventStatus, list[str]] = {}
    by_thread = []
    for event in run.external_events.values():
        name = f"{event.external_event_def} {event.external_event_id}"
        if len({outcome.status for outcome in event.outcomes or ()}) > 1:
            by_thread.append(f"{name}: {_outcomes(event)}")
        else:
            by_outcome.setdefault(event.status, []).append(name)
    for status, words in (
        (ExternalEventStatus.UNCLAIMED, "unclaimed"),
        (ExternalEventStatus.SUPERSEDED, "superseded"),
        (ExternalEventStatus.DROPPED, "dropped"),
    ):
        if status in by_outcome:
            yield "  ", f"{words}: " + ", ".join(by_outcome[status]), ""
    for line in by_thread:
        yield "  ", line, ""


def _outcomes(event: WfRunExternalEvent) -> str:
    """The words for what became of an ExternalEvent in each thread."""
    threads: dict[ExternalEventStatus, list[str]] = {}
    for outcome in event.outcomes or ():
        threads.setdefault(outcome.status, []).append(f"#{outcome.thread}")
    parts = [f"{status.lower()}{NO_BREAK}in{NO_BREAK}{', '.join(numbers)}" for status, numbers in threads.items()]
    more = event.outcomes_left_out
    return "; ".join([*parts, f"and{NO_BREAK}{more}{NO_BREAK}threads{NO_BREAK}more"] if more else parts)


def _title(run: WfRun) -> str:
    kept = "" if run.timer is None else f", kept{NO_BREAK}until{NO_BREAK}{iso(run.timer.due_ms)}"
    if run.wf_spec is None:
        waiting = f", but ExternalEvents for it{kept}" if run.external_events else ""
        return f"{run.wf_run_id}  no WfRun yet{waiting}"
    assert run.started_ms is not None
    ended = "" if run.ended_ms is None else f", ended{NO_BREAK}{iso(run.ended_ms)}"
    times = f"started{NO_BREAK}{iso(run.started_ms)}{ended}{kept}"
    return f"{run.wf_run_id}  {run.status}  {run.wf_spec}, {times}, {run.seq}{NO_BREAK}events"


def _thread(run: WfRun, thread: ThreadRun, now_ms: int) -> Iterator[Line]:
    kind = "" if thread.parent is None else f", {thread.type}{NO_BREAK}of{NO_BREAK}#{thread.parent}"
    by = "" if thread.external_event_id is None else f" by {thread.external_event_def} {thread.external_event_id}"
    # The last node of a thread that is over says nothing.
    at = f", at{NO_BREAK}{thread.node.node}" if thread.ended_ms is None else ""
    head = f"#{thread.number:<3} {thread.status:<9}  ".replace(" ", NO_BREAK)
    yield "  ", f"{head}{thread.thread_spec}{kind}{by}{at}", str(thread.status)
    if thread.failure is not None:
        yield INDENT, f"failed: {failure_text(thread.failure)}", ""
    waits = waits_of(run, thread)
    for wait in waits:
        words = wait_text(wait, run, thread, now_ms)
        # A halted thread goes on to wait at its node when it runs again.
        later = isinstance(wait, ToRun) or (thread.status is Status.HALTED and not isinstance(wait, Held))
        yield INDENT, f"then {words}" if later else words, ""
    for name, value in thread.variables.items():
        yield INDENT, f"{name} = {shown(value)}", ""
    if thread.output is not None:
        yield INDENT, f"returned {shown(thread.output)}", ""


def data_with_waits(run: WfRun) -> dict[str, Any]:
    """The data of a WfRun, and what each ThreadRun waits for."""
    told = data(run)
    for number, thread in run.threads.items():
        told["threads"][str(number)]["waits_for"] = [wait_data(wait) for wait in waits_of(run, thread)]
    return told


def data(run: WfRun) -> dict[str, Any]:
    """The rows of a WfRun, its ThreadRuns and its ExternalEvents as plain JSON data."""
    own: dict[str, Any] = {}
    for item in fields(run):
        if item.name not in INTERNAL:
            own |= plain_field(item.name, getattr(run, item.name))
    return {
        **own,
        "status": None if run.status is None else run.status.value,
        "threads": {str(number): plain(thread) for number, thread in run.threads.items()},
        "external_events": [plain(event) for event in run.external_events.values()],
        "kept_inputs": [plain(kept) for kept in run.kept_inputs],
    }
