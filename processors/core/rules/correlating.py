"""Correlation: which WfRuns an event goes to that names a key of the business and no WfRun.

A `Correlation` is one key of one ExternalEventDef. Its partition is that of the key, so all records about it have one
order: events as they come, and the WfRuns that register and remove the key. `correlate` decides one of them: it returns
what became of it, for the log, and the Correlation afterwards. Pure, as all rules; whoever calls it posts the
ExternalEvents.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, assert_never

from processors.core.records.commands import (
    CorrelatedEvent,
    CorrelationCommand,
    CorrelationTimerFired,
    RegisterCorrelationKey,
    RemoveCorrelationKey,
)
from processors.core.records.events import Cause, CorrelationDecided, CorrelationOutcome, RejectionCode
from processors.core.records.model import CorrelatedWfRun, Correlation, KeptCorrelatedEvent, RememberedEventId
from processors.core.records.names import check_correlation_key, check_event_id, check_wf_run_id, is_name
from processors.core.records.values import TellableProblem
from processors.core.rules.context import DefinitionLookup, Limits

EVENT_BYTES_MAX: Final = 255 * 1024
"""Largest value of a record with a CorrelatedEvent. The ExternalEvent that it becomes has a WfRun's id besides."""


class Refused(Exception):
    """A record changes nothing. Becomes REJECTED, with a code, or IGNORED."""

    def __init__(self, code: RejectionCode | None, message: str) -> None:
        super().__init__(message)
        self.code = code


# (rule correlation-has-one-order)
def correlate(
    correlation: Correlation,
    command: CorrelationCommand,
    arrived: KeptCorrelatedEvent | None,
    cause: Cause,
    time_ms: int,
    definitions: DefinitionLookup,
    limits: Limits,
) -> tuple[list[CorrelationDecided], Correlation]:
    """Decide a record about a key. Return what became of it, at least one, and the Correlation afterwards.

    `arrived` is the record of a CorrelatedEvent as it would be kept. `time_ms` is the time of the record. Events that
    were posted are those of `arrived`, or of `correlation.kept`, with the same id.
    """
    decided = _Deciding(correlation, cause, time_ms, limits)
    try:
        match command:
            case CorrelatedEvent():
                assert arrived is not None
                decided.event(command, arrived, definitions)
            case RegisterCorrelationKey():
                decided.register(command)
            case RemoveCorrelationKey():
                decided.remove(command)
            case CorrelationTimerFired():
                decided.expire()
    except Refused as refused:
        outcome = CorrelationOutcome.IGNORED if refused.code is None else CorrelationOutcome.REJECTED
        event_id = command.external_event_id if isinstance(command, CorrelatedEvent) else None
        decided.note(outcome, event_id, code=refused.code, message=str(refused))
    return decided.log, decided.correlation


def follow(
    correlation: Correlation, decided: CorrelationDecided, arrived: KeptCorrelatedEvent | None, limits: Limits
) -> Correlation:
    """Return a Correlation after what the log says of it, as `correlate` left it. Decides nothing.

    `arrived` is the event that is KEPT. A POSTED event names all WfRuns that have the key, and none waits behind it. So
    who does not know how the log began knows both from there on.
    """
    it = _Deciding(correlation, decided.cause, decided.time_ms, limits)
    before, event_id = it.correlation, decided.external_event_id
    waiting = [kept for kept in before.kept if kept.external_event_id != event_id]
    match decided.outcome:
        case CorrelationOutcome.REGISTERED:
            others = [one for one in before.wf_runs if one.wf_run_id != decided.wf_runs[0].wf_run_id]
            it.correlation = replace(before, wf_runs=[*others, *decided.wf_runs])
        case CorrelationOutcome.REMOVED:
            it.correlation = replace(before, wf_runs=[one for one in before.wf_runs if one not in decided.wf_runs])
        case CorrelationOutcome.KEPT:
            assert arrived is not None
            it.correlation = replace(before, kept=[*before.kept, arrived])
        case CorrelationOutcome.EXPIRED:
            it.correlation = replace(before, kept=waiting)
        case CorrelationOutcome.POSTED:
            assert event_id is not None
            it.correlation = replace(before, wf_runs=[*decided.wf_runs], kept=waiting)
            it.remember(event_id)
        case CorrelationOutcome.REJECTED | CorrelationOutcome.IGNORED:
            pass
        case _:
            assert_never(decided.outcome)
    return it.correlation


def due_ms(correlation: Correlation, limits: Limits) -> int | None:
    """Return when something is to be done about a key, in ms since 1970; None if nothing is."""
    if correlation.kept:
        return min(it.until_ms for it in correlation.kept)
    if correlation.remembered and not correlation.wf_runs:
        return correlation.remembered[-1].at_ms + limits.remembered_ms
    return None


def is_empty(correlation: Correlation) -> bool:
    """Return True if nothing is known of a key, so that it has no row."""
    return not (correlation.wf_runs or correlation.kept or correlation.remembered)


class _Deciding:
    """One record about a key on its way through the rules."""

    def __init__(self, correlation: Correlation, cause: Cause, time_ms: int, limits: Limits) -> None:
        self._cause, self._time_ms, self._limits = cause, time_ms, limits
        self.correlation = replace(correlation, remembered=self._still_remembered(correlation.remembered))
        self.log: list[CorrelationDecided] = []

    def note(
        self,
        outcome: CorrelationOutcome,
        event_id: str | None = None,
        wf_runs: Sequence[CorrelatedWfRun] = (),
        *,
        until_ms: int | None = None,
        code: RejectionCode | None = None,
        message: str | None = None,
    ) -> None:
        """Append what became of the record to the log."""
        of = self.correlation
        key, event_def, time_ms = of.correlation_key, of.external_event_def, self._time_ms
        rest = (event_id, list(wf_runs), until_ms, code, message)
        self.log.append(CorrelationDecided(key, event_def, time_ms, self._cause, outcome, *rest))

    # (rule correlated-id-remembered)
    def _still_remembered(self, remembered: list[RememberedEventId]) -> list[RememberedEventId]:
        """Return the ids that are young enough, the newest ones if they are too many."""
        oldest_ms = self._time_ms - self._limits.remembered_ms
        return [it for it in remembered if it.at_ms > oldest_ms][-self._limits.remembered_correlated_events :]

    # (rules correlated-event-goes-to-all, correlated-event-waits)
    def event(self, command: CorrelatedEvent, arrived: KeptCorrelatedEvent, definitions: DefinitionLookup) -> None:
        """Post an event to every WfRun that has the key; keep it if none has. Raises Refused."""
        self._check_event(command, arrived, definitions)
        correlation = self.correlation
        if correlation.wf_runs:
            self.note(CorrelationOutcome.POSTED, arrived.external_event_id, correlation.wf_runs)
            self.remember(arrived.external_event_id)
            return
        limits, size = self._limits, arrived.size + sum(it.size for it in correlation.kept)
        if len(correlation.kept) >= limits.kept_correlated_events or size > limits.kept_correlated_bytes:
            raise Refused(
                RejectionCode.RESOURCE_EXHAUSTED,
                f"no WfRun has the key: expected at most {limits.kept_correlated_events} events and "
                f"{limits.kept_correlated_bytes} bytes to wait for one, found {len(correlation.kept)} that wait and "
                f"{size} bytes with this one",
            )
        self.correlation = replace(correlation, kept=[*correlation.kept, arrived])
        self.note(CorrelationOutcome.KEPT, arrived.external_event_id, until_ms=arrived.until_ms)

    # (rule correlated-event-checked)
    def _check_event(
        self, command: CorrelatedEvent, arrived: KeptCorrelatedEvent, definitions: DefinitionLookup
    ) -> None:
        """Raise Refused for an event that no WfRun could take, or that came before."""
        event_def, event_id, correlation = command.external_event_def, command.external_event_id, self.correlation
        if definitions.external_event_def(event_def) is None:
            raise Refused(RejectionCode.INVALID_ARGUMENT, f"there is no ExternalEventDef {event_def!r}")
        try:
            check_correlation_key(command.correlation_key)
            check_event_id(event_id)
        except TellableProblem as problem:
            raise Refused(RejectionCode.INVALID_ARGUMENT, str(problem)) from None
        known = {it.external_event_id for it in correlation.kept}
        known.update(it.external_event_id for it in correlation.remembered)
        if event_id in known:
            message = f"event {event_id!r} of ExternalEventDef {event_def!r} came before for this key"
            raise Refused(RejectionCode.ALREADY_EXISTS, message)
        size, most = len(arrived.value), self._limits.bytes_in_all
        if size > EVENT_BYTES_MAX:
            raise Refused(
                RejectionCode.INVALID_ARGUMENT, f"expected an event of at most {EVENT_BYTES_MAX} bytes, found {size}"
            )
        if size * len(correlation.wf_runs) > most:
            raise Refused(
                RejectionCode.RESOURCE_EXHAUSTED,
                f"expected at most {most} bytes in all, found {size} for each of {len(correlation.wf_runs)} WfRuns",
            )

    # (rules key-registered-once, kept-events-go-to-the-first)
    def register(self, command: RegisterCorrelationKey) -> None:
        """Let a WfRun have the key, and post to it what waits. Raises Refused."""
        wf_run, limits = CorrelatedWfRun(command.wf_run_id, command.incarnation), self._limits
        if not is_name(command.external_event_def):
            raise Refused(RejectionCode.INVALID_ARGUMENT, "expected the name of an ExternalEventDef")
        try:
            check_correlation_key(command.correlation_key)
            check_wf_run_id(command.wf_run_id)
        except TellableProblem as problem:
            raise Refused(RejectionCode.INVALID_ARGUMENT, str(problem)) from None
        known = next((it for it in self.correlation.wf_runs if it.wf_run_id == wf_run.wf_run_id), None)
        if known is not None and known.incarnation >= wf_run.incarnation:
            raise Refused(None, f"WfRun {wf_run.wf_run_id!r} has the key already, by incarnation {known.incarnation}")
        others = [it for it in self.correlation.wf_runs if it is not known]
        if len(others) >= limits.correlated_wf_runs:
            raise Refused(
                RejectionCode.RESOURCE_EXHAUSTED,
                f"expected at most {limits.correlated_wf_runs} WfRuns with one key: WfRun {wf_run.wf_run_id!r} does "
                "not get its events",
            )
        self.correlation = replace(self.correlation, wf_runs=[*others, wf_run])
        self.note(CorrelationOutcome.REGISTERED, wf_runs=[wf_run])
        for kept in self.correlation.kept:
            if kept.until_ms <= self._time_ms:
                self.note(CorrelationOutcome.EXPIRED, kept.external_event_id)
            else:
                self.note(CorrelationOutcome.POSTED, kept.external_event_id, [wf_run])
                self.remember(kept.external_event_id)
        self.correlation = replace(self.correlation, kept=[])

    def remove(self, command: RemoveCorrelationKey) -> None:
        """Let a WfRun have the key no longer. Raises Refused."""
        wf_run = CorrelatedWfRun(command.wf_run_id, command.incarnation)
        if wf_run not in self.correlation.wf_runs:
            raise Refused(None, f"incarnation {wf_run.incarnation} of WfRun {wf_run.wf_run_id!r} does not have the key")
        self.correlation = replace(self.correlation, wf_runs=[it for it in self.correlation.wf_runs if it != wf_run])
        self.note(CorrelationOutcome.REMOVED, wf_runs=[wf_run])

    # (rule kept-events-expire)
    def expire(self) -> None:
        """Drop what has waited as long as it may. Raises Refused."""
        over = [it for it in self.correlation.kept if it.until_ms <= self._time_ms]
        if not over:
            raise Refused(None, "nothing has waited too long")
        kept = [it for it in self.correlation.kept if it.until_ms > self._time_ms]
        self.correlation = replace(self.correlation, kept=kept)
        for expired in over:
            self.note(CorrelationOutcome.EXPIRED, expired.external_event_id)

    def remember(self, event_id: str) -> None:
        """Know an event that was posted by its id for a while."""
        remembered = self._still_remembered([*self.correlation.remembered, RememberedEventId(event_id, self._time_ms)])
        self.correlation = replace(self.correlation, remembered=remembered)
