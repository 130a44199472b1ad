"""Says in words and as data what a thread waits for, which `processors.core.rules.waiting` finds out."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, assert_never

from halter.show.log_text import failure_text
from halter.show.plain import plain
from halter.show.times import iso, span
from processors.core.records.model import Interrupted, PendingInterrupt, ThreadRun, WfRun
from processors.core.rules.waiting import (
    ForChildren,
    ForCondition,
    ForExternalEvent,
    ForHandlersBeside,
    ForOthers,
    ForReport,
    ForRetry,
    ForRoom,
    ForStillness,
    ForThreads,
    ForTime,
    FreedBy,
    Held,
    ToRun,
    Wait,
)
from processors.core.wf_spec.expression_text import expression_text

KINDS: Final[dict[type, str]] = {
    ForExternalEvent: "EXTERNAL_EVENT",
    ForReport: "TASK_REPORT",
    ForRetry: "TASK_RETRY",
    ForTime: "TIME",
    ForCondition: "CONDITION",
    ForThreads: "THREADS",
    ForRoom: "ROOM",
    ForChildren: "CHILDREN",
    ForHandlersBeside: "HANDLERS_BESIDE",
    ForOthers: "OTHERS",
    ForStillness: "STILLNESS",
    ToRun: "RUN",
    Held: "HALT_REASON",
}
"""The name of each kind of wait in JSON, under `for`."""

NAMES_MAX: Final = 4
"""Largest number of threads that are named with their ThreadSpecs. If there are more, only their numbers are."""
NAMED_MAX: Final = 12
"""Largest number of threads or ExternalEvents that a line names."""
NO_BREAK: Final = "\u00a0"
"""A space at which no line is broken. Whoever prints the words replaces it by a plain space."""


def wait_text(wait: Wait, run: WfRun, thread: ThreadRun, now_ms: int | None) -> str:
    """The words for a wait, with since when and until when; if now is given, also how long ago and in how long."""
    match wait:
        case ForExternalEvent():
            times = _times(now_ms, wait.since_ms, wait.until_ms)
            return f"waits for ExternalEvent {wait.external_event_def}{times}"
        case ForReport():
            which = f"attempt{NO_BREAK}{wait.attempt}{NO_BREAK}of{NO_BREAK}{wait.attempts}"
            return f"waits for task {wait.task_def}, {which}, {_out(wait, now_ms)}"
        case ForRetry():
            which = f"attempt{NO_BREAK}{wait.attempt}{NO_BREAK}of{NO_BREAK}{wait.attempts}"
            return f"backs off before task {wait.task_def}, {which}{_times(now_ms, None, wait.until_ms)}"
        case ForTime():
            return f"sleeps{_times(now_ms, wait.since_ms, wait.until_ms)}"
        case ForCondition():
            return f"waits until {expression_text(wait.condition)}{_times(now_ms, wait.since_ms)}"
        case ForThreads():
            which = f"{wait.strategy} of " if len(wait.threads) > 1 else ""
            return f"waits for {which}{named_threads(run, wait.threads)}{_times(now_ms, wait.since_ms)}"
        case ForRoom():
            return f"waits for room for the failure handlers of {named_threads(run, wait.threads)}"
        case ForChildren():
            return f"waits for {named_threads(run, wait.threads)} to end{_times(now_ms, wait.since_ms)}"
        case ForHandlersBeside():
            events = _listed(f"{name} {event_id}" for name, event_id in wait.external_events)
            return f"waits for the handlers of {events}{_times(now_ms, wait.since_ms)}"
        case ForOthers():
            return f"stays while threads below it concern {named_threads(run, wait.threads)}"
        case ForStillness():
            still = "stands still" if len(wait.threads) == 1 else "stand still"
            return f"{'leaves' if thread.has_lost else 'halts'} when {named_threads(run, wait.threads)} {still}"
        case ToRun():
            return "goes on" if wait.failure is None else f"fails: {failure_text(wait.failure)}"
        case Held():
            return f"held by {wait.reason}: {_freed(wait, run, thread)}"
        case _:
            assert_never(wait)


def wait_data(wait: Wait, *, times: bool = True) -> dict[str, Any]:
    """A wait as plain JSON data, with or without its times. `for` has its kind."""
    data = {"for": KINDS[type(wait)], **plain(wait, times=times)}
    if isinstance(wait, ForCondition):
        data["condition"] = expression_text(wait.condition)
    if isinstance(wait, ForHandlersBeside):
        names = ("external_event_def", "external_event_id")
        data["external_events"] = [dict(zip(names, key, strict=True)) for key in wait.external_events]
    return data


def _out(wait: ForReport, now_ms: int | None) -> str:
    """The words for an attempt that is out: whether it runs or is in the queue, as far as anybody has said so."""
    if wait.started_ms is not None:
        return f"running{_times(now_ms, wait.started_ms, wait.until_ms)}"
    if wait.start_by_ms is None:
        return f"out{_times(now_ms, wait.since_ms, wait.until_ms)}"
    by = _time(now_ms, "to start by", wait.start_by_ms)
    return f"in the queue{_times(now_ms, wait.since_ms)}, {by}"


def _freed(held: Held, run: WfRun, thread: ThreadRun) -> str:
    """The words for what takes a halt reason off."""
    option = f" --thread {thread.number}" if thread.number else ""
    match held.freed_by:
        case FreedBy.HANDLER_ENDS:
            kind = "Interrupt Handler" if isinstance(held.reason, Interrupted) else "failure handler"
            return f"until {kind} {named_threads(run, held.threads)} has ended"
        case FreedBy.STILLNESS:
            return f"{handler_text(held, run, thread)} starts when the thread stands still"
        case FreedBy.EARLIER_HANDLER_ENDS:
            ended = "has ended" if len(held.threads) == 1 else "have ended"
            return f"{handler_text(held, run, thread)} starts when {named_threads(run, held.threads)} {ended}"
        case FreedBy.OTHER_REASONS_GONE:
            return f"{handler_text(held, run, thread)} starts when nothing else holds the thread"
        case FreedBy.HOLDER_RUNS:
            return f"until {named_threads(run, held.threads)} runs again"
        case FreedBy.HOLDER_RESCUED:
            (number,) = held.threads
            rescued = f" --thread {number}" if number else ""
            return f"{named_threads(run, held.threads)} has failed; `halter rescue {run.wf_run_id}{rescued}` revives it"
        case FreedBy.RESUME:
            return f"until `halter resume {run.wf_run_id}{option}`"
        case FreedBy.NEVER:
            return "for good: nobody waits for it any more"


def handler_text(held: Held, run: WfRun, thread: ThreadRun) -> str:
    """The words for the handler that is to start, with its name if that is known."""
    names = [it.handler_spec for it in run.unstarted_failure_handlers if it.thread == thread.number]
    if isinstance(held.reason, PendingInterrupt):
        interrupts = {} if run.spec is None else run.spec_of(thread).interrupt_of
        names = [it.handler for name, it in interrupts.items() if name == held.reason.external_event_def]
    return f"handler {names[0]}" if names else "its handler"


def named_threads(run: WfRun, numbers: Sequence[int]) -> str:
    """Threads as `#3 on-cancel, #4 ship`, or if they are many as `#1 to #27, #30`."""
    if len(numbers) > NAMES_MAX:
        return _listed(_ranges(sorted(numbers)))
    threads = ((number, run.threads.get(number)) for number in numbers)
    return _listed(f"#{number}" + (f"{NO_BREAK}{it.thread_spec}" if it is not None else "") for number, it in threads)


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    first = 0
    for index, number in enumerate(numbers):
        if index + 1 == len(numbers) or numbers[index + 1] != number + 1:
            begin = numbers[first]
            yield f"#{begin}" if begin == number else f"#{begin}{NO_BREAK}to{NO_BREAK}#{number}"
            first = index + 1


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - NAMED_MAX
    return ", ".join(listed[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _times(now_ms: int | None, since_ms: int | None, until_ms: int | None = None) -> str:
    """The words ` since … (12 s), until … (in 9 min)`. A line is not broken inside either of the two."""
    parts = []
    if since_ms is not None:
        ago = "" if now_ms is None else f" ({span(max(0, now_ms - since_ms))})"
        parts.append(f"since {iso(since_ms)}{ago}")
    if until_ms is not None:
        parts.append(_time(now_ms, "until", until_ms))
    return "".join(f"{',' * bool(index)} {part.replace(' ', NO_BREAK)}" for index, part in enumerate(parts))


def _time(now_ms: int | None, word: str, time_ms: int) -> str:
    """The words `until … (in 9 min)`. A line is not broken inside."""
    left = 0 if now_ms is None else time_ms - now_ms
    away = "" if now_ms is None else f" ({f'in {span(left)}' if left >= 0 else f'{span(-left)} ago'})"
    return f"{word} {iso(time_ms)}{away}".replace(" ", NO_BREAK)
