"""What callers wait for on the log. A Wait is given the entries of a partition, one by one, by whoever reads the log.

`take` only looks at an entry, so a thread may read the log for a thousand Waits. What asks Kafka as well (`result`,
`late`, `look`) may take a while, and is called in a thread of the caller's.
"""

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from halter.client.errors import CommandRejected, CommandSkipped, NotEnded, NotYet
from halter.client.lost_outcomes import AGAIN, what_comes
from processors.core.records.events import (
    LogEntry,
    RecordSkipped,
    Rejected,
    RejectionCode,
    SkipLapsed,
    WfRunDeleted,
    WfRunEnded,
    WfRunStarted,
)
from processors.core.records.model import WfRun
from processors.core.rules.evolve import evolve
from processors.fold.inputs import partition_key
from processors.fold.log_tail import misfit

if TYPE_CHECKING:
    from halter.client.outcomes import Outcomes, Posted, PostedFork, Until

Result = TypeVar("Result")
LOOK_SECONDS: Final = 1.0
"""Time after which a caller looks why nothing has come; then it looks again after 2, 4, 8 ... seconds."""


class Wait(ABC, Generic[Result]):
    """What a caller waits for on a partition of the log."""

    @property
    def result_asks_kafka(self) -> bool:
        """False if `result` returns at once."""
        return True

    def __init__(self, outcomes: "Outcomes", partition: int, start: int, *keys: bytes) -> None:
        self._outcomes, self.partition, self.keys = outcomes, partition, keys
        self.start = start
        """The offset from which on the log is to be read for it."""
        self.begun = time.monotonic()
        self.next_look = self.begun + LOOK_SECONDS

    @abstractmethod
    def take(self, entry: LogEntry | None) -> bool:
        """Look at the next entry that has one of the keys; None: there are no more for the moment.

        Return True once `result` may have something. Whoever reads goes on otherwise.
        """

    @abstractmethod
    def result(self) -> Result | None:
        """Return what the caller waits for; None if it has to wait on. Raises what the caller is to hear."""

    @abstractmethod
    def late(self, waited_s: float) -> Result:
        """Return what the caller waits for, although the time is over. Raises the error that says why not."""

    def since_over(self, waited_s: float) -> float:
        """Return for how many seconds the time has been over, of a caller who has waited for so long."""
        return max(0.0, time.monotonic() - self.begun - waited_s)

    def look_if_due(self, timeout_s: float) -> None:
        """Look why nothing has come, if it is time to. Raises what the caller is to hear at once."""
        waited_s = time.monotonic() - self.begun
        if time.monotonic() >= self.next_look:
            self.next_look = self.begun + 2 * max(LOOK_SECONDS, waited_s)
            self._look(waited_s, timeout_s)

    @abstractmethod
    def _look(self, waited_s: float, timeout_s: float) -> None: ...


class OutcomeWait(Wait[list[LogEntry]]):
    """Waits for the entries that a record causes.

    Entries about a record that was skipped because it could not be read have the key of its partition.
    """

    def __init__(self, outcomes: "Outcomes", posted: "Posted", comes: str | None = None) -> None:
        """`comes` is a sentence about what will become of the record, if it has no outcome yet."""
        keys = posted.wf_run_id.encode(), partition_key(posted.partition).encode()
        super().__init__(outcomes, posted.partition, posted.log_end, *keys)
        self._posted, self._comes = posted, what_comes(posted.repeat_id) if comes is None else comes
        self.caused: list[LogEntry] = []
        """The entries that have been seen. All of them, once `take` has returned True."""

    def take(self, entry: LogEntry | None) -> bool:
        # The events of a record are written in one transaction, which becomes visible as a whole.
        if entry is None:
            return bool(self.caused)
        if isinstance(entry.event, SkipLapsed):
            return False  # the outcome of a skip
        if self._posted.is_cause_of(entry):
            self.caused.append(entry)
            return False
        return bool(self.caused)

    @property
    def result_asks_kafka(self) -> bool:
        return bool(self.caused) and isinstance(self.caused[0].event, Rejected)

    def result(self) -> list[LogEntry] | None:
        return self._outcomes.with_effect(self._posted, self.caused) if self.caused else None

    def late(self, waited_s: float) -> list[LogEntry]:
        if not self.caused:
            self.caused = self._outcomes.late(self._posted, waited_s, self._comes, self.since_over(waited_s))
        return self._outcomes.with_effect(self._posted, self.caused)

    def _look(self, waited_s: float, timeout_s: float) -> None:
        if not self.caused:
            self._outcomes.look(self._posted.address, waited_s, timeout_s, self._comes)


class ForkWait(OutcomeWait):
    """Waits for the outcome of a fork, or finds that of the same fork before."""

    def __init__(self, outcomes: "Outcomes", posted: "PostedFork") -> None:
        super().__init__(outcomes, posted, AGAIN)
        self._fork = posted

    def result(self) -> list[LogEntry] | None:
        try:
            return super().result()
        except CommandRejected as rejected:
            return self._first(rejected)

    def late(self, waited_s: float) -> list[LogEntry]:
        try:
            return super().late(waited_s)
        except CommandRejected as rejected:
            return self._first(rejected)

    def _first(self, rejected: CommandRejected) -> list[LogEntry]:
        if rejected.code is not RejectionCode.ALREADY_EXISTS:
            raise rejected
        first = self._outcomes.first_of(self._fork)
        if not first:
            raise rejected
        self._fork.log_end = first[0].offset
        return [placed.entry for placed in first]


class EndWait(Wait[WfRun]):
    """Waits until the WfRun of a record has ended."""

    def __init__(self, outcomes: "Outcomes", posted: "Posted") -> None:
        keys = posted.wf_run_id.encode(), partition_key(posted.partition).encode()
        super().__init__(outcomes, posted.partition, posted.log_end, *keys)
        self._posted = posted
        self._ended = self._ended_before = False
        self._first: LogEntry | None = None
        """The first entry that the record has caused."""

    def take(self, entry: LogEntry | None) -> bool:
        if entry is None:
            # The WfRun that ended may be an earlier one of the same id. `result` finds out.
            return self._ended or (self._first is not None and self._ended_before)
        if self._first is None and self._posted.is_cause_of(entry):
            self._first = entry
            # A WfRun that was there may have ended before the place from which the log is read.
            self._ended_before = not isinstance(entry.event, WfRunStarted)
        if isinstance(entry.event, WfRunEnded | WfRunDeleted):
            self._ended_before = True
            if self._first is not None:
                self._ended = True
                self._outcomes.remember(entry)
        return self._ended or isinstance(entry.event, RecordSkipped)

    def result(self) -> WfRun | None:
        if self._first is not None:
            raise_if_skipped(self._posted, self._first)
        if self._ended:
            return self._outcomes.as_it_ended(self._posted.wf_run_id)
        if self._first is not None and self._ended_before:
            if self._outcomes.has_ended(self._posted.wf_run_id):
                return self._outcomes.as_it_ended(self._posted.wf_run_id)
            self._ended_before = False
        return None

    def late(self, waited_s: float) -> WfRun:
        wf_run_id = self._posted.wf_run_id
        if self._first is None:
            comes = what_comes(self._posted.repeat_id)
            self._outcomes.late(self._posted, waited_s, comes, self.since_over(waited_s))
        if self._ended or (self._ended_before and self._outcomes.has_ended(wf_run_id)):
            return self._outcomes.as_it_ended(wf_run_id)
        raise NotEnded(
            f"WfRun '{wf_run_id}' has not ended within {waited_s:g} s; `halter show {wf_run_id}` shows what it waits "
            "for"
        )

    def _look(self, waited_s: float, timeout_s: float) -> None:
        if self._first is None:
            self._outcomes.look(self._posted.address, waited_s, timeout_s, what_comes(self._posted.repeat_id))


class StateWait(Wait[WfRun]):
    """Waits until a WfRun has ended or is deleted, or until it is as a function says, which sees each state."""

    def __init__(self, outcomes: "Outcomes", wf_run_id: str, until: "Until") -> None:
        """Read the state now."""
        self._run, position = outcomes.wf_runs.at_end(wf_run_id)
        super().__init__(outcomes, outcomes.wf_runs.partition(wf_run_id), position, wf_run_id.encode())
        self._until, self._existed, self._is_met = until, False, False
        self._see()

    def take(self, entry: LogEntry | None) -> bool:
        if not self._is_met and entry is not None and misfit(self._run, entry) is None:
            evolve(self._run, entry)
            self._see()
        return self._is_met

    def _see(self) -> None:
        run = self._run
        if callable(self._until):
            self._is_met = self._until(run)
        else:
            self._is_met = run.has_ended or (self._existed and not run.exists)
        self._existed = run.exists

    def result(self) -> WfRun | None:
        if not self._is_met:
            return None
        return self._run if callable(self._until) else self._outcomes.as_it_ended(self._run.wf_run_id)

    def late(self, waited_s: float) -> WfRun:
        if (found := self.result()) is not None:
            return found
        found_as = f"it is {self._run.status}" if self._run.exists else "nothing was started under that id"
        late = f"within {waited_s:g} s: {found_as}"
        if callable(self._until):
            raise NotYet(f"WfRun '{self._run.wf_run_id}' has not become as it was to be {late}")
        raise NotEnded(f"WfRun '{self._run.wf_run_id}' has not ended {late}")

    def _look(self, waited_s: float, timeout_s: float) -> None:
        self._outcomes.look_for_workers(f"WfRun '{self._run.wf_run_id}'", waited_s, timeout_s)


def raise_if_skipped(posted: "Posted", entry: LogEntry) -> None:
    """Raise CommandSkipped if an operator had a record skipped. `entry` is what the record has caused."""
    if isinstance(entry.event, RecordSkipped):
        raise CommandSkipped(str(posted), entry, entry.event)


def raise_if_without_effect(posted: "Posted", entry: LogEntry) -> None:
    """Raise CommandRejected or CommandSkipped if that is what became of a record."""
    if isinstance(entry.event, Rejected):
        raise CommandRejected(entry, entry.event)
    raise_if_skipped(posted, entry)
