"""Says in words and as data why the threads of a WfRun do not move, which `why` finds out.

    #0 main is HALTED since … because ExternalEvent item-added e2 (external-events[3]@4711) started handler #4
    on-item-added, which waits for task notify, attempt 2 of 3, out since …, until …

One sentence for each thread. It follows each hold on the shortest way to what an input can free. What a node waits for
is worded as `halter show` words it (`halter.show.waiting_text`).
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, assert_never

from halter.history.origins import Origin
from halter.history.record_text import record_text
from halter.history.why import (
    Finding,
    Freeing,
    Hold,
    PostEvent,
    Release,
    ReportTask,
    RescueThread,
    ResumeThread,
    Stage,
    Start,
    TimeCome,
    Why,
)
from halter.show.log_text import failure_text
from halter.show.plain import plain
from halter.show.times import iso, span
from halter.show.waiting_text import NO_BREAK, handler_text, named_threads, wait_data, wait_text
from processors.core.records.events import WfRunForked
from processors.core.records.model import (
    HaltedByParent,
    HandlingFailure,
    Interrupted,
    ManualHalt,
    ParentHalted,
    PendingFailure,
    PendingInterrupt,
    Status,
    WfRun,
)
from processors.core.rules.waiting import FreedBy, Held

HOLDS_MAX: Final = 4
"""Most holds of one thread that its sentence tells. The others are counted."""
EVENTS_MAX: Final = 4
"""Most ExternalEvents that a sentence names for one condition."""
LEAVES_MAX: Final = 100
"""Most leaves of one thread that JSON has."""
STEPS_MAX: Final = 6
"""Most threads that a sentence goes through on the way to a leaf. Those between the first and the last are counted."""


def sentences(told: Why, run: WfRun, now_ms: int | None) -> Iterator[tuple[int, str]]:
    """The sentence of each thread that does not move. Words that belong together are joined by NO_BREAK.

    Without `now_ms` it has the times, and not how long ago they are.
    """
    words = _Words(told, run, now_ms, tells_all=True)
    return ((number, words.sentence(finding)) for number, finding in told.findings.items())


def sentence(told: Why, run: WfRun, now_ms: int, number: int) -> str:
    """The sentence of one thread."""
    return _Words(told, run, now_ms).sentence(told.findings[number])


def stage_text(told: Why, run: WfRun) -> str:
    """The sentence about the WfRun as a whole."""
    name, since = told.wf_run_id, told.since
    by = "" if since is None else f" by {record_text(since)}"
    kept = "" if told.until_ms is None else f"; it is kept until {iso(told.until_ms)}"
    match told.stage:
        case Stage.NOTHING:
            return f"{name}: nothing is known under this id"
        case Stage.DELETED:
            at = "" if since is None else f" at {iso(since.time_ms)}"
            return f"{name} was deleted{at}{by}: its id is free"
        case Stage.NOT_STARTED:
            number = len(run.external_events)
            events = "1 ExternalEvent waits" if number == 1 else f"{number} ExternalEvents wait"
            return f"{name} was not started yet: {events} for its RunWf (`halter run`){kept}"
        case Stage.QUARANTINED:
            number = told.kept_inputs
            inputs = "1 input is kept" if number == 1 else f"{number} inputs are kept"
            return (
                f"{name} is QUARANTINED since {iso(run.quarantined_ms or 0)}{by}: {inputs}, and no timer fires, until "
                f"`halter release {name}`"
            )
        case Stage.ENDED:
            failure = "" if told.failure is None else f": {failure_text(told.failure)}"
            return f"{name} is {told.status} since {iso(run.ended_ms or 0)}{by}{failure}{kept}"
        case Stage.RUNNING:
            return f"{name} is {told.status}, started {iso(run.started_ms or 0)}{by}"


class _Words:
    """The words for the findings of one WfRun at one moment."""

    def __init__(self, told: Why, run: WfRun, now_ms: int | None, *, tells_all: bool = False) -> None:
        """`tells_all`: each thread that does not move gets its sentence."""
        self._told, self._run, self._now_ms, self._tells_all = told, run, now_ms, tells_all

    def sentence(self, finding: Finding) -> str:
        name = named_threads(self._run, (finding.thread,))
        if not finding.holds:
            return f"{name} {self._ended(finding)}"
        told: set[tuple[int, int]] = set()
        with_ways = [(hold, self._way(finding, hold)) for hold in finding.holds]
        # What can be freed comes first: of many reasons only the first are told.
        with_ways.sort(key=lambda it: it[1] is None)
        parts = [self._part(finding, hold, way, told) for hold, way in with_ways[:HOLDS_MAX]]
        if len(with_ways) > HOLDS_MAX:
            parts.append(f"and {len(with_ways) - HOLDS_MAX} things more hold it")
        if finding.status is Status.RUNNING:
            by = "" if finding.since is None else f", brought there by {record_text(finding.since)}"
            return f"{name} {'; '.join(parts)}{by}"
        comma = "" if isinstance(with_ways[0][0].wait, Held) else ","
        return f"{name} is {finding.status}{self.since(finding.since)}{comma} {'; '.join(parts)}"

    def _way(self, finding: Finding, hold: Hold) -> list[tuple[Finding, Hold | None]] | None:
        """The way from a hold to a leaf, unless it leads back to the thread itself."""
        way = self._told.way(finding.thread, hold)
        return None if way is None or any(it.thread == finding.thread for it, _ in way[1:]) else way

    def _part(
        self, finding: Finding, hold: Hold, way: list[tuple[Finding, Hold | None]] | None, told: set[tuple[int, int]]
    ) -> str:
        """The words for one hold, and for the way down to its leaf unless that was told before."""
        is_first, clause = not told, self._clause(finding, hold)
        if not isinstance(hold.wait, Held) and not (is_first and finding.status is Status.RUNNING):
            clause = f"it {clause}"
        told.add((finding.thread, id(hold)))
        if way is None:
            return clause
        leaf = (way[-1][0].thread, id(way[-1][1]))
        if len(way) > 1 and leaf in told:
            return clause
        told.add(leaf)
        return clause + self._further(way, clause)

    def _further(self, way: list[tuple[Finding, Hold | None]], said: str) -> str:
        """The words for a way to a leaf, from its second step on. `said` are the words before."""
        steps = way[1:]
        left_out = len(steps) - STEPS_MAX
        words = ""
        for number, (finding, hold) in enumerate(steps):
            if left_out > 0 and STEPS_MAX - 1 <= number < len(steps) - 1:
                continue
            if left_out > 0 and number == len(steps) - 1:
                words += f", and so on through {left_out} threads more"
            name = named_threads(self._run, (finding.thread,))
            clause = self._ended(finding, is_told=self._tells_all) if hold is None else self._clause(finding, hold)
            if hold is not None and finding.status is not Status.RUNNING and isinstance(hold.wait, Held):
                clause = f"is {finding.status}{self.since(finding.since)} {clause}"
            words += f", which {clause}" if (said + words).endswith(name) else f", and {name} {clause}"
        return words

    def _ended(self, finding: Finding, *, is_told: bool = False) -> str:
        """The words for a thread that has failed, or, between two events of one record, for one that goes on.

        `is_told`: its own sentence says why it failed.
        """
        if finding.failure is None:
            return "goes on"
        since = finding.since
        at = "" if since is None else f" at {iso(since.time_ms)} because of {record_text(since)}"
        failed = "has failed" if is_told else f"failed{at}: {failure_text(finding.failure)}"
        option = f" --thread {finding.thread}" if finding.thread else ""
        if finding.frees:
            return f"{failed}; `halter rescue {self._run.wf_run_id}{option}` runs its node again"
        reset = "" if finding.thread else f": `halter reset {self._run.wf_run_id} --at MOMENT` goes on from before that"
        return f"{failed}; for good: {finding.refused}{reset}"

    def _clause(self, finding: Finding, hold: Hold) -> str:
        """The words for one hold."""
        wait = hold.wait
        if isinstance(wait, Held):
            return self._held(finding, hold, wait)
        text = wait_text(wait, self._run, self._run.threads[finding.thread], self._now_ms)
        return text if hold.writers is None else f"{text}; {self._writers(hold)}"

    def _held(self, finding: Finding, hold: Hold, held: Held) -> str:
        run, thread = self._run, self._run.threads[finding.thread]
        name = named_threads(run, held.threads)
        by = self._record(hold.record)
        match held.reason:
            case Interrupted():
                return f"because {by} started handler {name}"
            case PendingInterrupt():
                return f"because {by} interrupts it: {self._when_it_starts(finding, hold, held)}"
            case HandlingFailure() | PendingFailure() as reason:
                failure = thread.node.failure
                what = "" if failure is None else f" ({failure_text(failure)})"
                failed = f"because node {thread.node.node} failed{what} by {by}: "
                if isinstance(reason, HandlingFailure):
                    return f"{failed}failure handler {name} handles that"
                return failed + self._when_it_starts(finding, hold, held)
            case ParentHalted():
                return f"with {name}"
            case ManualHalt():
                option = f" --thread {finding.thread}" if finding.thread else ""
                return f"because {by} stopped it, until `halter resume {run.wf_run_id}{option}`"
            case HaltedByParent(parent=number):
                return f"for good: {named_threads(run, (number,))} needs it no more since {by}"
            case _:
                assert_never(held.reason)

    def _when_it_starts(self, finding: Finding, hold: Hold, held: Held) -> str:
        """The words for a handler that is to start."""
        starts = f"{handler_text(held, self._run, self._run.threads[finding.thread])} starts when"
        match held.freed_by:
            case FreedBy.EARLIER_HANDLER_ENDS:
                ended = "has ended" if len(held.threads) == 1 else "have ended"
                return f"{starts} {named_threads(self._run, held.threads)} {ended}"
            case FreedBy.STILLNESS if hold.below:
                still = "stands still" if len(hold.below) == 1 else "stand still"
                return f"{starts} {named_threads(self._run, hold.below)} {still}"
            case FreedBy.STILLNESS:
                return f"{starts} it stands still"
            case _:
                return f"{starts} nothing else holds it"

    def _writers(self, hold: Hold) -> str:
        """The words for who may make a condition true."""
        writers = hold.writers
        assert writers is not None
        variables = ", ".join(writers.variables)
        who = [named_threads(self._run, writers.threads)] if writers.threads else []
        events = writers.external_events
        who += [f"the handler of ExternalEvent {name} in #{number}" for name, number in events[:EVENTS_MAX]]
        if (more := max(0, len(events) - EVENTS_MAX) + writers.left_out) > 0:
            who.append(f"{more} more")
        if not who:
            return f"nothing that is left writes {variables or 'it'}"
        return f"{variables} may be written by {' or '.join(who)}"

    def since(self, origin: Origin | None) -> str:
        """The words ` since … (12 s)`; none if nobody knows."""
        if origin is None:
            return ""
        ago = "" if self._now_ms is None else f" ({span(max(0, self._now_ms - origin.time_ms))})"
        words = f"since {iso(origin.time_ms)}{ago}"
        return " " + words.replace(" ", NO_BREAK)

    def _record(self, origin: Origin | None) -> str:
        if origin is None:
            return "a record that the log no longer has"
        if isinstance(fork := origin.event, WfRunForked):
            return f"a record of {fork.source_wf_run_id} up to its event {fork.source_seq}, where this fork begins,"
        return record_text(origin)


def why_data(told: Why, run: WfRun, now_ms: int) -> dict[str, Any]:
    """The findings as plain JSON data, each with its sentence and the leaves that it rests on."""
    words = _Words(told, run, now_ms)
    return {
        "wf_run_id": told.wf_run_id,
        "stage": told.stage.value,
        "status": None if told.status is None else told.status.value,
        "since": origin_data(told.since),
        "until": None if told.until_ms is None else iso(told.until_ms),
        "kept_inputs": told.kept_inputs,
        "failure": plain(told.failure),
        "frees": [freeing_data(it) for it in told.frees],
        "sentence": stage_text(told, run).replace(NO_BREAK, " "),
        "threads": {
            str(number): _finding_data(told, finding) | {"sentence": words.sentence(finding).replace(NO_BREAK, " ")}
            for number, finding in told.findings.items()
        },
    }


def _finding_data(told: Why, finding: Finding) -> dict[str, Any]:
    leaves = list(islice(told.leaves(finding.thread), LEAVES_MAX + 1))
    return {
        "thread": finding.thread,
        "thread_spec": finding.thread_spec,
        "status": finding.status.value,
        "node": finding.node,
        "since": origin_data(finding.since),
        "holds": [_hold_data(hold) for hold in finding.holds],
        "failure": plain(finding.failure),
        "frees": [freeing_data(it) for it in finding.frees],
        "cannot_be_rescued": finding.refused,
        "leaves_with": finding.leaves_with,
        "leaves": [{"thread": leaf.thread, "hold": _place(leaf, hold)} for leaf, hold in leaves[:LEAVES_MAX]],
        "has_more_leaves": len(leaves) > LEAVES_MAX,
    }


def _place(finding: Finding, hold: Hold | None) -> int | None:
    """Return the index of a hold among those of its thread."""
    return next((place for place, it in enumerate(finding.holds) if it is hold), None)


def _hold_data(hold: Hold) -> dict[str, Any]:
    return {
        "wait": wait_data(hold.wait),
        "since": origin_data(hold.since),
        "external_event": origin_data(hold.external_event),
        "frees": [freeing_data(it) for it in hold.frees],
        "at_latest": None if hold.at_latest_ms is None else iso(hold.at_latest_ms),
        "below": list(hold.below),
        "must": hold.must.value,
        "any_of": hold.any_of,
        "writers": plain(hold.writers),
        "for_good": hold.for_good,
        "beside_others": hold.beside_others,
        "stillness": hold.stillness,
    }


def origin_data(origin: Origin | None) -> dict[str, Any] | None:
    """An event and its record as plain JSON data, without the values of the event."""
    if origin is None:
        return None
    return {
        "seq": origin.seq,
        "time": iso(origin.time_ms),
        "offset": origin.offset,
        "event": type(origin.event).__name__,
        "record": record_text(origin),
        "cause": plain(origin.cause),
    }


INPUTS: Final[dict[type, str]] = {
    PostEvent: "ExternalEvent",
    ReportTask: "ReportTaskRun",
    TimeCome: "TimerFired",
    ResumeThread: "ResumeWfRun",
    RescueThread: "RescueThreadRun",
    Release: "ReleaseWfRun",
    Start: "RunWf",
}
"""The record that each input is, in JSON under `input`."""


def freeing_data(freeing: Freeing) -> dict[str, Any]:
    """An input that frees a thread as plain JSON data."""
    return {"input": INPUTS[type(freeing)], **plain(freeing)}
