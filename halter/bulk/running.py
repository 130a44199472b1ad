"""Runs a bulk job: reads its WfRuns from a view page by page, sends each its command, and counts what became of them.

So many commands are on their way at a time, and no more are sent in a second than may be. It can end at any moment:
what was sent has its effect, and the same job, run again, goes on.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection

from halter.bulk.job import Action, Job
from halter.client import Client, CommandRejected, CommandSkipped, DeadLettered, NoOutcome, Posted
from halter.history.forking import fork_point
from halter.history.live import Live
from halter.view.filters import Sort, SortBy
from halter.view.place import View
from halter.view.state import wf_runs_of
from halter.view.wf_run_lines import WfRunLine
from halter.view.wf_run_lists import manually_halted, wf_runs
from processors.codec import Codec
from processors.core.records.errors import HalterError
from processors.core.records.events import Ignored, InputKept, LogEntry, RejectionCode
from processors.core.rules.decide.rescues import rescuable
from processors.core.wf_spec.definitions import Definitions
from processors.kafka.errors import KafkaUnavailable

PAGE: Final = 100
"""WfRuns that are chosen at once."""
AT_ONCE: Final = 50
"""Commands whose outcomes are waited for together."""
BY_ID: Final = Sort(SortBy.ID)
"""The order of a job: what it does to a WfRun does not move it."""
FAILED_SHOWN: Final = 20
"""Refusals that are kept with their sentences."""


@dataclass(slots=True)
class Progress:
    """How far a job is: WfRuns that it has looked at, and what became of the commands."""

    looked_at: int = 0
    done: int = 0
    """Commands that had an effect."""
    done_before: int = 0
    """Commands of this job that a WfRun had already."""
    ignored: int = 0
    """Commands for which there was nothing to do."""
    kept: int = 0
    """Commands to WfRuns in quarantine, which keep them until their release."""
    refused: int = 0
    no_outcome: int = 0
    """Commands that Kafka has and nobody has decided yet: a partition stands still, perhaps."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """WfRun id and sentence of the first that were refused, or have no outcome."""

    @property
    def is_whole(self) -> bool:
        """True if no command was refused, and none is without an outcome."""
        return not self.refused and not self.no_outcome

    def refuse(self, wf_run_id: str, sentence: str) -> None:
        """Note that a command was refused."""
        self.refused += 1
        self._note(wf_run_id, sentence)

    def miss(self, wf_run_id: str, sentence: str) -> None:
        """Note that a command has no outcome yet."""
        self.no_outcome += 1
        self._note(wf_run_id, sentence)

    def _note(self, wf_run_id: str, sentence: str) -> None:
        if len(self.problems) < FAILED_SHOWN:
            self.problems.append((wf_run_id, sentence))


Told: TypeAlias = Callable[[Progress], None]
Check: TypeAlias = Callable[[Connection], None]


def chosen(
    view: View, job: Job, codec: Codec, definitions: Definitions, check: Check = lambda _: None
) -> Iterator[tuple[WfRunLine, list[int]]]:
    """Yield the WfRuns of a job, by id, and the threads that get its command. Each page is read at a moment of its own.

    A rescue is for the threads that the rules let us revive, as `rescuable` orders them; a resume for those that were
    stopped; all else for thread 0. If there is no such thread, thread 0 gets the command, and the engine says why not.
    `check` is called with the connection before each page, and raises if the view may not choose any more.
    """
    after: str | None = None
    while True:
        with view.read() as connection:
            check(connection)
            page = wf_runs(connection, job.filter, BY_ID, after, PAGE, now_ms=job.began_ms)
            ids = [it.wf_run_id for it in page.lines]
            threads: dict[str, list[int]] = {}
            if job.action is Action.RESUME:
                threads = manually_halted(connection, ids)
            elif job.action is Action.RESCUE:
                threads = {it.wf_run_id: rescuable(it) for it in wf_runs_of(connection, codec, definitions, ids)}
        for line in page.lines:
            yield line, threads.get(line.wf_run_id) or [0]
        after = page.after
        if after is None:
            return


def run_job(
    client: Client,
    view: View,
    job: Job,
    *,
    rate: float,
    timeout_s: float,
    at: str | None = None,
    told: Told = lambda _: None,
    progress: Progress | None = None,
    check: Check = lambda _: None,
) -> Progress:
    """Send the command of a job to each of its WfRuns, at most `rate` in a second, and wait for the outcomes.

    `at` is the moment from which forks go on. `told` is called after every some of them. `progress` is counted on, so
    that a caller has it whatever is raised. `check` is that of `chosen`. Raises what it and what sending raise; that a
    WfRun refuses its command, or that nobody decides it in time, is counted.
    """
    progress, out = Progress() if progress is None else progress, Out(timeout_s)
    pace = Pace(rate)
    try:
        for line, threads in chosen(view, job, client.codec, client.definitions(), check):
            progress.looked_at += 1
            for thread in threads:
                pace.wait()
                try:
                    out.posted.append((line.wf_run_id, _posted(client, job, line, thread, at)))
                except HalterError as error:
                    if job.action is not Action.FORK or isinstance(error, KafkaUnavailable):
                        raise
                    progress.refuse(line.wf_run_id, str(error))  # the log has no such moment, or not any more
                if len(out.posted) >= AT_ONCE:
                    out.settle(progress)
                    told(progress)
        out.settle(progress)
        told(progress)
    finally:
        progress.no_outcome += len(out.posted)
    return progress


class Pace:
    """Lets so many pass in a second, evenly."""

    def __init__(
        self, rate: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._every, self._clock, self._sleep = 1 / rate, clock, sleep
        self._next = clock()

    def wait(self) -> None:
        """Return when the next may pass. Who comes late has not saved anything up."""
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + self._every


def _posted(client: Client, job: Job, line: WfRunLine, thread: int, at: str | None) -> Posted:
    wf_run_id = line.wf_run_id
    if job.action is Action.FORK:
        assert at is not None
        point = fork_point(Live(client), wf_run_id, at, job.began_ms, None, None)
        return client.fork(point.snapshot, job.fork_id(wf_run_id), operator=job.operator, reason=job.reason)
    command_id = job.command_id(wf_run_id, line.incarnation, thread)
    asked: dict[str, Any] = {"operator": job.operator, "reason": job.reason}
    match job.action:
        case Action.STOP:
            return client.stop(wf_run_id, thread, command_id=command_id, **asked)
        case Action.RESUME:
            return client.resume(wf_run_id, thread, command_id=command_id, **asked)
        case Action.RESCUE:
            return client.rescue(wf_run_id, thread, command_id=command_id, **asked)
        case Action.DELETE:
            return client.delete(wf_run_id, line.incarnation, command_id=command_id, **asked)


class Out:
    """Commands that were sent, and whose outcomes are waited for."""

    def __init__(self, timeout_s: float) -> None:
        self.posted: list[tuple[str, Posted]] = []
        self._timeout_s = timeout_s
        self._stands_still: set[int] = set()
        """Partitions that have decided nothing in time. What is there by now is taken, and nobody waits for more."""

    def settle(self, progress: Progress) -> None:
        """Wait for the outcomes, so long in all as one may take, and count them."""
        until = time.monotonic() + self._timeout_s
        while self.posted:
            wf_run_id, posted = self.posted[0]
            still = posted.partition in self._stands_still
            try:
                _count(posted, posted.outcome(0 if still else max(until - time.monotonic(), 0)), progress)
                self._stands_still.discard(posted.partition)
            except CommandRejected as rejected:
                if rejected.code is RejectionCode.ALREADY_EXISTS:
                    progress.done_before += 1
                else:
                    progress.refuse(wf_run_id, str(rejected))
            except (CommandSkipped, DeadLettered) as without_effect:
                progress.refuse(wf_run_id, str(without_effect))
            except NoOutcome as missing:
                self._stands_still.add(posted.partition)
                progress.miss(wf_run_id, str(missing))
            del self.posted[0]


def _count(posted: Posted, entries: Sequence[LogEntry], progress: Progress) -> None:
    """Count a command that was not refused, by the events that it caused."""
    match entries[0].event:
        case Ignored():
            progress.ignored += 1
        case InputKept():
            progress.kept += 1
        case _ if not posted.is_cause_of(entries[0]):
            progress.done_before += 1
        case _:
            progress.done += 1
