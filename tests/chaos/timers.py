"""Checks that each task attempt is requested once, and that each timer took effect once, not early, and was armed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tests.chaos.avro import decode
from tests.chaos.findings import Finding, Kind
from tests.chaos.outcomes import Block
from tests.chaos.tape import TASK_REQUESTS, Entry, Tape

WHOLE_WF_RUN = -1


class Attempt(NamedTuple):
    """A task attempt, as its report would name it."""

    wf_run_id: str
    incarnation: int
    thread: int
    position: int
    attempt: int


class ArmedTimer(NamedTuple):
    """A timer, as its TimerFired names it."""

    wf_run_id: str
    incarnation: int
    thread: int
    position: int
    kind: str
    due_ms: int


def attempt_of(fields: dict[str, Any]) -> Attempt:
    return Attempt(*(fields[name] for name in Attempt._fields))


def check_requests(tape: Tape, log: Iterable[Entry]) -> Iterator[Finding]:
    """Compare the requests on the log with those on the queue."""
    wanted = Counter(attempt_of(entry.fields) for entry in log if entry.name == "TaskAttemptRequested")
    found: Counter[Attempt] = Counter()
    for address, record in tape.of(TASK_REQUESTS):
        name, fields = decode(record.value or b"")
        attempt = attempt_of(fields)
        found[attempt] += 1
        if name != "TaskRequest" or attempt not in wanted:
            yield Finding(Kind.TASK, f"{address}: {attempt} was not requested on the log")
    for attempt in wanted.keys() | found.keys():
        if wanted[attempt] > 1:
            yield Finding(Kind.TASK, f"{attempt} is requested {wanted[attempt]} times on the log")
        if found[attempt] != 1:
            yield Finding(Kind.TASK, f"{attempt} is on {TASK_REQUESTS} {found[attempt]} times")


def armed_by(entry: Entry) -> ArmedTimer | None:
    """Return the timer that an event arms."""
    it = entry.fields

    def timer(kind: str, due_ms: int, thread: int | None = None, position: int | None = None) -> ArmedTimer:
        thread = it["thread"] if thread is None else thread
        position = it["position"] if position is None else position
        return ArmedTimer(it["wf_run_id"], it["incarnation"], thread, position, kind, due_ms)

    match entry.name:
        case "TimerArmed":
            return timer(it["timer"]["kind"], it["timer"]["due_ms"])
        case "TaskAttemptRequested" | "TaskAttemptStarted":
            return timer("TASK_TIMEOUT", it["deadline_ms"])
        case "TaskAttemptEnded" if it["retry_at_ms"] is not None:
            return timer("TASK_BACKOFF", it["retry_at_ms"])
        case "WfRunEnded":
            return timer("RETENTION", it["delete_at_ms"], WHOLE_WF_RUN, 0)
        case _:
            return None


def check_timers(tape: Tape, blocks: Iterable[Block]) -> Iterator[Finding]:
    """Check every TimerFired and what became of it."""
    armed: set[ArmedTimer] = set()
    refused, times_ms = {}, {}
    for block in blocks:
        refused[block.cause] = block.refused
        times_ms[block.cause] = block.entries[0].fields["time_ms"]
        armed.update(timer for entry in block.entries if (timer := armed_by(entry)) is not None)
    effective: Counter[ArmedTimer] = Counter()
    for address, record in tape.of("wf-commands"):
        try:
            name, fields = decode(record.value or b"")
        except Exception:  # noqa: BLE001  garbage is a dead letter, and no timer
            continue
        if name != "TimerFired":
            continue
        timer = ArmedTimer(*(fields[name] for name in ArmedTimer._fields))
        if timer not in armed:
            yield Finding(Kind.TIMER, f"{address}: {timer} was never armed")
        if refused.get(address, True):
            continue
        effective[timer] += 1
        # By the time of the WfRun: a record of another input, folded before, may have moved it past this record's time.
        if times_ms[address] < timer.due_ms:
            early_ms = timer.due_ms - times_ms[address]
            yield Finding(Kind.TIMER, f"{address}: {timer} took effect {early_ms} ms before its time")
    for timer, times in effective.items():
        if times > 1:
            yield Finding(Kind.TIMER, f"{timer} took effect {times} times")
