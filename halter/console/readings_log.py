"""What the pages and the API show of the history of a WfRun, read from the log."""

import time
from dataclasses import replace
from datetime import UTC
from typing import Any, TypedDict

from halter.console.problems import NotThere
from halter.console.readings_kafka import KafkaReadings
from halter.history.cause_text import traced_data
from halter.history.causes import event_with, place_of
from halter.history.forking import ForkPoint, fork_point
from halter.history.live import Live
from halter.history.moments import Moments, moments_of
from halter.history.present import Present, present_of
from halter.history.source import NoSuchWfRun
from halter.history.tracing import traced
from halter.history.why import why
from halter.history.why_text import sentences, stage_text, why_data
from halter.show.history import entry_data
from halter.show.redaction import Numbered, Redactor
from halter.show.times import iso
from halter.show.wf_run_text import data_with_waits, understood
from halter.timeline import recording
from processors.core.records.events import Definition, LogEntry


class MomentAt(TypedDict):
    """A moment of a WfRun: the event after which it is, null before the first; `last` is the index of the newest."""

    index: int
    seq: int | None
    time: str | None
    last: int


class StateAt(TypedDict):
    """A WfRun as it was at a moment."""

    at: MomentAt
    state: dict[str, Any]


class HistoryPart(TypedDict):
    """Some events of a WfRun, in order. `is_whole`: the log still has its beginning."""

    wf_run_id: str
    is_whole: bool
    events: list[dict[str, Any]]
    has_more: bool


class Sentence(TypedDict):
    """Why a thread does not move."""

    thread: int
    sentence: str


class WhyAnswer(TypedDict):
    """Why a WfRun does not move."""

    wf_run_id: str
    is_whole: bool
    stage: str
    sentences: list[Sentence]
    why: dict[str, Any]


class LogReadings:
    """Reads histories for one console."""

    def __init__(self, kafka: KafkaReadings) -> None:
        """`kafka`: how the log is reached."""
        self._kafka = kafka

    def timeline(self, wf_run_id: str, *, unmask: bool = False) -> dict[str, Any]:
        """Return the data of the timeline of the last WfRun of an id (`halter.timeline.recording`).

        Raises NoSuchWfRun, OutOfReach and KafkaUnavailable, as all below.
        """
        with self._kafka.source() as source:
            log, definitions = list(source.events(wf_run_id)), source.definitions()
            where = source.where
        if not log:
            raise no_such(wf_run_id)
        if not unmask:
            shown = Redactor(definitions, Numbered()).entries(it.entry for it in log)
            log = [replace(it, entry=entry) for it, entry in zip(log, shown, strict=True)]
        return recording(wf_run_id, log, definitions, where=where, masked=not unmask)

    def state(self, wf_run_id: str, at: str | None = None, *, unmask: bool = False) -> StateAt:
        """Return a WfRun as it was after an event: `at` and `state`, as `halter state --json` prints them.

        `at` is a seq, a number of events back (`-3`), or a time in UTC; None for the last event. Raises NoSuchMoment.
        """
        with self._kafka.source() as source:
            moments = moments_of(source, wf_run_id)
            index = moments.last if at is None else moments.at(at, UTC)
            run, definitions = moments.state(index), source.definitions()
        shown = understood(run if unmask else Redactor(definitions).run(run), definitions)
        return {"at": _moment(moments, index), "state": data_with_waits(shown)}

    def history(self, wf_run_id: str, *, after: int = 0, limit: int = 200, unmask: bool = False) -> HistoryPart:
        """Return up to `limit` events of a WfRun whose seq is above `after`, and whether there are more."""
        present = self._present(wf_run_id, unmask=unmask)
        log = [it for it in present.log if it.entry.seq > after]
        return {
            "wf_run_id": wf_run_id,
            "is_whole": present.is_whole,
            "events": [entry_data(it.entry) for it in log[:limit]],
            "has_more": len(log) > limit,
        }

    def why(self, wf_run_id: str, at: str | None = None, *, unmask: bool = False) -> WhyAnswer:
        """Return why the threads of a WfRun do not move: in words for each, and as data (`halter why --json`)."""
        present = self._present(wf_run_id, at=at, unmask=unmask)
        run, told = present.run, why(present.run, present.origins)
        now_ms = run.time_ms if at is not None else time.time_ns() // 1_000_000
        return {
            "wf_run_id": wf_run_id,
            "is_whole": present.is_whole,
            "stage": stage_text(told, run),
            "sentences": [{"thread": number, "sentence": text} for number, text in sentences(told, run, now_ms)],
            "why": why_data(told, run, now_ms),
        }

    def cause(self, wf_run_id: str, seq: int, *, unmask: bool = False) -> dict[str, Any]:
        """Return the input record that caused an event, decoded, with all that it caused (`halter cause --json`)."""
        with self._kafka.source() as source:
            log = list(source.events(wf_run_id, previous=True))
            if not log:
                raise no_such(wf_run_id)
            logged = event_with(log, seq)
            if logged is None:
                raise NotThere(f"WfRun '{wf_run_id}' has no event {seq} on the log")
            found = traced(source, place_of(logged.entry.cause), wf_run_id, unmask=unmask)
        return traced_data(found)

    def fork_point(self, wf_run_id: str, at: str, now_ms: int) -> ForkPoint:
        """Find the moment to fork a WfRun at, masked values included. Raises CannotFork and NoSuchMoment."""
        with self._kafka.source() as source:
            return fork_point(source, wf_run_id, at, now_ms)

    def external_event_def(self, wf_run_id: str, name: str) -> Definition | None:
        """Return the ExternalEventDef that an event for this WfRun has to fit; None if there is none."""
        with self._kafka.reached() as source:
            if isinstance(source, Live):
                return source.client.external_event_def(wf_run_id, name)
            return source.definitions().external_event_def(name)

    def redacted(self, entries: list[LogEntry]) -> list[LogEntry]:
        """Take the masked values out of the newest events of a WfRun."""
        with self._kafka.source() as source:
            present = present_of(source, entries[0].wf_run_id, unmask=True) if entries else None
            run = None if present is None else present.run
            return Redactor(source.definitions()).entries_of(run, entries)

    def _present(self, wf_run_id: str, *, at: str | None = None, unmask: bool) -> Present:
        with self._kafka.source() as source:
            present = present_of(source, wf_run_id, at=at, unmask=unmask)
        if present is None:
            raise no_such(wf_run_id)
        return present


def no_such(wf_run_id: str) -> NoSuchWfRun:
    """Return the error that says that nothing is known of an id."""
    return NoSuchWfRun(f"there is no WfRun '{wf_run_id[:200]}': the log has no event of it; check the id", wf_run_id)


def _moment(moments: Moments, index: int) -> MomentAt:
    """Return which moment it is: `seq` and `time` of its event, null before the first."""
    if index < 0:
        return {"index": index, "seq": None, "time": None, "last": moments.last}
    entry = moments.log[index].entry
    return {"index": index, "seq": entry.seq, "time": iso(entry.time_ms), "last": moments.last}
