"""Looks at the first fields of a WfRun's rows during a load: enough to arm timers and to see that the rows fit
together.

Rows are not decoded before a command touches their WfRun. Looking at the first fields of two rows takes half as long as
decoding them (5 of 10 µs), and leaves nothing in memory.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Final, NamedTuple

from processors.codec import Codec, DecodeError
from processors.core.records.model import NO_INCARNATION, TERMINAL, Status, TimerKind
from processors.core.records.topic_names import THREAD_RUNS, WF_RUN_EXTERNAL_EVENTS, WF_RUNS
from processors.core.rules.context import Limits
from processors.fold.rows import RECORD_OF
from processors.fold.stores.store import BrokenState, Row, notes_quarantine
from processors.fold.timers import WHOLE_WF_RUN, ArmedTimer

_NAME_OF: Final = {topic: record.__name__ for topic, record in RECORD_OF.items()}
"""Topic of rows -> the name of the record that its rows are."""

_STOPPING: Final = frozenset({Status.HALTING, Status.HALTED})
_OF_WF_RUN: Final = ("incarnation", "wf_spec", "timer", "final_status", "quarantined_ms")
_OF_QUARANTINE: Final = ("quarantined_ms",)
_OF_EVENT: Final = ("posted_ms", "posted_offset")
_OF_THREAD: Final = ("number", "status", "node")


class Seen(NamedTuple):
    """The findings of a glance at a WfRun's rows: its armed timers, whether it is in quarantine, and how it stands."""

    timers: list[ArmedTimer]
    quarantined: bool
    wf_spec: str = ""
    status: Status | None = None
    """Its status, as far as a glance tells; None if nothing was started under the id."""
    may_be_held: bool = False
    """True if a thread of it has a halt reason, so that the status may be another."""


class Glance:
    """Looks at the rows of one partition."""

    def __init__(self, partition: int, codec: Codec, limits: Limits | None = None) -> None:
        self._partition, self._codec = partition, codec
        self._unstarted_ms = (limits or Limits()).unstarted_ms

    def at(self, wf_run_id: str, rows: Iterable[Row]) -> Seen:
        """Look at the rows of one WfRun.

        Raises BrokenState for a row that is not what its topic holds, for ThreadRuns without a WfRun and for a WfRun
        that runs without thread 0.
        """
        incarnation, runs, started, quarantined, timers = 0, False, False, False, []
        name, ends_as, held = "", None, False
        threads, events, noted = [], [], False
        for row in rows:
            if row.topic == THREAD_RUNS:
                threads.append(self._look(row, _OF_THREAD))
            elif row.topic == WF_RUNS:
                incarnation, wf_spec, timer, final_status, quarantined_ms = self._look(row, _OF_WF_RUN)
                started, quarantined = wf_spec is not None, quarantined_ms is not None
                runs = started and final_status is None
                name, ends_as = (wf_spec.name, final_status or Status.RUNNING) if started else ("", None)
                if timer is not None:
                    timers.append(ArmedTimer(timer.due_ms, wf_run_id, WHOLE_WF_RUN, 0, timer.kind, incarnation))
            else:
                self.check(row)
                if row.topic == WF_RUN_EXTERNAL_EVENTS:
                    events.append(row)
                noted = noted or notes_quarantine(row)
        quarantined = quarantined or noted
        if events and not started:
            posted_ms, _ = max((self._look(row, _OF_EVENT) for row in events), key=itemgetter(1))
            due_ms = posted_ms + self._unstarted_ms
            timers.append(ArmedTimer(due_ms, wf_run_id, WHOLE_WF_RUN, 0, TimerKind.RETENTION, NO_INCARNATION))
        if runs != any(number == 0 for number, _, _ in threads):
            raise self.misfit(wf_run_id, runs)
        for number, status, node in threads:
            timer = node.timer
            if status in _STOPPING:
                held = True
            elif number == 0 and runs and status in TERMINAL:
                ends_as = status
            if timer is not None and status not in TERMINAL:
                timers.append(ArmedTimer(timer.due_ms, wf_run_id, number, node.position, timer.kind, incarnation))
        # In quarantine none is armed, as `fold.timers` says.
        return Seen([] if quarantined else timers, quarantined, name, ends_as, held)

    def is_quarantined(self, rows: Iterable[Row]) -> bool:
        """Return True if a WfRun is in quarantine, as far as its rows can be read."""
        return any(notes_quarantine(row) or self._says_quarantine(row) for row in rows)

    def _says_quarantine(self, row: Row) -> bool:
        if row.topic != WF_RUNS:
            return False
        try:
            (quarantined_ms,) = self._look(row, _OF_QUARANTINE)
        except BrokenState:
            return False
        return quarantined_ms is not None

    def check(self, row: Row) -> None:
        """Raise BrokenState if a row is not the record that its topic holds."""
        try:
            found = self._codec.record_name(row.value)
        except DecodeError as error:
            raise self.broken(row, error) from error
        if found != _NAME_OF.get(row.topic):
            raise self.broken(row, f"a {found} does not belong there")

    def broken(self, row: Row, why: object) -> BrokenState:
        """Return the error that names a row."""
        return BrokenState(f"{row.topic}[{self._partition}], key {row.key!r}: {why}")

    def misfit(self, wf_run_id: str, exists: bool) -> BrokenState:
        """Return the error for a WfRun that lacks a row."""
        lacks = "no row of thread 0" if exists else "ThreadRuns but no row of its own that runs"
        return BrokenState(f"partition {self._partition}: WfRun {wf_run_id!r} has {lacks}")

    def _look(self, row: Row, fields: tuple[str, ...]) -> tuple[Any, ...]:
        try:
            return self._codec.peek(row.value, _NAME_OF[row.topic], fields)
        except DecodeError as error:
            raise self.broken(row, error) from error
