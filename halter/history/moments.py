"""The states of one WfRun along its log: at a seq, at a time, some events back, or one event after the other.

Pure: folds events with `evolve` and runs no rule. It keeps at most SNAPSHOTS_MAX states and folds on from the nearest,
so a long log can be stepped through in both directions. A row that no event has touched is shared by snapshots.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Final

from halter.client.errors import BeginningMissing
from halter.client.history import is_whole, lives
from halter.history.difference import Change, external_event_changes, own_changes, thread_changes
from halter.history.logged import Logged
from halter.history.source import NoSuchWfRun, Source
from halter.show.times import iso
from processors.core.records.errors import HalterError
from processors.core.records.events import LogEntry, WfRunDeleted, WfRunEnded, WfRunStarted
from processors.core.records.model import (
    Changes,
    ExternalEventKey,
    Index,
    Status,
    ThreadRun,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.rules.evolve import evolve, new_run
from processors.core.rules.indexing import index_of
from processors.core.rules.snapshots import copy_of_event, copy_of_thread
from processors.fold.log_tail import LogBroken

SNAPSHOTS_MAX: Final = 64
SNAPSHOT_DISTANCE_MIN: Final = 64
"""Fewest events between two snapshots: to fold them anew takes about a millisecond."""
CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d{1,3})?)?")
WHEN_MAX: Final = 100
"""Most characters of a moment that people have written."""
NOTHING: Final = -1
"""The index of the moment before the first event."""


class NoSuchMoment(HalterError):
    """The log of a WfRun has no such moment. Whoever asked for it takes another; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Step:
    """An event, the state after it, and what it changed. The next step changes that state: keep nothing of it."""

    index: int
    """Its place in the log of the WfRun: 0, 1, 2 …"""
    logged: Logged
    run: WfRun
    changes: list[Change]


class Moments:
    """The moments of one WfRun: one before its first event, and one after each. They are numbered by index, from -1."""

    def __init__(self, wf_run_id: str, log: Sequence[Logged]) -> None:
        """`log` begins with the first event of the WfRun (`of` sees to it)."""
        self.wf_run_id, self.log = wf_run_id, log
        self._distance = max(SNAPSHOT_DISTANCE_MIN, len(log) // SNAPSHOTS_MAX + 1)
        self._snapshots = [_Rows.of(new_run(wf_run_id))]
        """The states after 0, `_distance`, twice `_distance` … events, as far as they were needed."""

    @classmethod
    def of(cls, wf_run_id: str, log: Iterable[Logged], incarnation: int | None = None) -> "Moments":
        """Take the last WfRun of an id from its log, or that of an incarnation, with the ExternalEvents before it.

        Raises BeginningMissing if the log no longer has its first events, and NoSuchMoment.
        """
        logged = list(log)
        found = [logged[start:end] for start, end in lives(entries_of(logged)) if start < end]
        if incarnation is not None:
            found = [life for life in found if any(it.entry.incarnation == incarnation for it in life)]
        if not found:
            which = "" if incarnation is None else f" of incarnation {incarnation}"
            raise NoSuchMoment(f"expected events of WfRun '{wf_run_id}'{which} on the log, found none")
        if not is_whole(entries_of(found[-1])):
            raise BeginningMissing(wf_run_id)
        return cls(wf_run_id, found[-1])

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.log)

    @property
    def last(self) -> int:
        """The index of the newest moment."""
        return len(self.log) - 1

    @property
    def end(self) -> int:
        """The index of the last moment at which the WfRun has its threads: they leave when it ends, unless in ERROR."""
        for index in range(len(self.log) - 1, -1, -1):
            event = self.log[index].entry.event
            if isinstance(event, WfRunEnded) and event.status is not Status.ERROR:
                return index - 1
            if isinstance(event, WfRunStarted):
                break
        return self.last

    def before_deletion(self, index: int) -> int | None:
        """Return the index of the moment before a WfRun was deleted that was deleted by then; None if it was not."""
        for place in range(index, -1, -1):
            event = self.log[place].entry.event
            if isinstance(event, WfRunDeleted):
                return place - 1
            if isinstance(event, WfRunStarted):
                return None
        return None

    def state(self, index: int) -> WfRun:
        """Return the state after the event of this index. It is the caller's own."""
        snapshot = min((index + 1) // self._distance, len(self._snapshots) - 1)
        run = self._snapshots[snapshot].restored()
        for number in range(snapshot * self._distance, index + 1):
            self._fold(run, number)
            if (number + 1) == len(self._snapshots) * self._distance:
                # The changes so far are those since the snapshot before: the rows that cannot be shared with it.
                self._snapshots.append(self._snapshots[-1].later(run))
        run.changes = Changes()
        return run

    def steps(self, start: int = 0) -> Iterator[Step]:
        """Yield the events from an index on, each with the state after it and with what it changed."""
        run = self.state(start - 1)
        rows = _Rows.of(run)
        for index in range(start, len(self.log)):
            self._fold(run, index)
            yield Step(index, self.log[index], run, rows.move_to(run))
            run.changes = Changes()

    def _fold(self, run: WfRun, index: int) -> None:
        entry = self.log[index].entry
        try:
            evolve(run, entry)
        except (LookupError, ValueError, TypeError, AttributeError, AssertionError) as error:
            # `evolve` is total for what the engine wrote. A file can have anything.
            raise LogBroken(
                f"the log of WfRun '{self.wf_run_id}' cannot be replayed: event {entry.seq}, "
                f"{type(entry.event).__name__}, does not fit the state before it"
            ) from error

    def by_seq(self, seq: int) -> int:
        """Return the index of the event with this seq; for 0, of the moment before the first. Raises NoSuchMoment."""
        if seq == 0:
            return next((index - 1 for index, it in enumerate(self.log) if it.entry.seq), self.last)
        # Nearly always right: a log has one event for each seq, behind those that came before it.
        guess = len(self.log) - (self.log[-1].entry.seq - seq) - 1 if self.log and self.log[-1].entry.seq else -1
        if 0 <= guess < len(self.log) and self.log[guess].entry.seq == seq:
            return guess
        found = next((index for index, it in enumerate(self.log) if it.entry.seq == seq), None)
        if found is None:
            raise NoSuchMoment(f"WfRun '{self.wf_run_id}' has no event {seq}: {self._extent()}")
        return found

    def by_time(self, time_ms: int) -> int:
        """Return the index of the last event up to a time. Raises NoSuchMoment if all events are later."""
        for index in range(len(self.log) - 1, -1, -1):
            if self.log[index].entry.time_ms <= time_ms:
                return index
        raise NoSuchMoment(
            f"WfRun '{self.wf_run_id}' has no event up to {iso(time_ms)}: {self._extent()}; 0 is the moment before"
        )

    def back(self, events: int) -> int:
        """Return the index of the moment so many events before the newest. Raises NoSuchMoment."""
        if events > len(self.log):
            raise NoSuchMoment(f"WfRun '{self.wf_run_id}' has no moment {events} events back: {self._extent()}")
        return self.last - events

    def at(self, when: str, zone: tzinfo | None = UTC) -> int:
        """Return the index of a moment as people name it. Raises NoSuchMoment.

        `57` is the state after event 57, `-3` the one before the last three events, `12:03:11` or a time in ISO 8601
        that after the last event up to then. A time without a zone is one of `zone` (None: of this machine), a time
        without a date is on the day of the newest event.
        """
        check_moment(when)
        if when.isdecimal():
            return self.by_seq(int(when))
        if when[:1] == "-" and when[1:].isdecimal():
            return self.back(int(when[1:]))
        return self.by_time(self._time_of(when, zone))

    def _time_of(self, when: str, zone: tzinfo | None) -> int:
        """Return the time that people have written: of a time of day, that of the newest event's day."""
        return time_of(when, zone, self.log[-1].entry.time_ms if self.log else 0)

    def _extent(self) -> str:
        if not self.log:
            return "there is none"
        first, last = self.log[0].entry, self.log[-1].entry
        return f"there are {first.seq} to {last.seq}, from {iso(first.time_ms)} to {iso(last.time_ms)}"


def check_moment(when: str) -> None:
    """Raise NoSuchMoment for what no log can have: neither a seq, nor -N, nor a time."""
    if len(when) > WHEN_MAX:
        raise NoSuchMoment(f"expected a seq, -N or a time, found {len(when):,} characters")
    if not when.removeprefix("-").isdecimal():
        time_of(when, UTC)


def is_clock(text: str) -> bool:
    """Return True if a text is a time of day, without a date."""
    return CLOCK.fullmatch(text.strip()) is not None


def time_of(text: str, zone: tzinfo | None, newest_ms: int = 0, *, first: bool = False) -> int:
    """Return the time that people have written, in milliseconds. Raises NoSuchMoment.

    A time of day is on the day of `newest_ms`. The last digit counts as a whole: `12:03` is the last millisecond of
    that minute, so that what happened then is in; or the first, if a range is to begin with it.
    """
    written = text.strip().replace(",", ".")
    if is_clock(written):
        newest = datetime.fromtimestamp(newest_ms / 1000, UTC).astimezone(zone)
        written = f"{newest.date()}T{written:0>{2 + len(written) - written.index(':')}}"
    try:
        moment = datetime.fromisoformat(written)
        if moment.tzinfo is None:
            moment = moment.astimezone() if zone is None else moment.replace(tzinfo=zone)
        begin = round(moment.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise NoSuchMoment(
            "expected a seq (57), a number of events back (-3) or a time (12:03:11, 2026-01-31T12:03:11Z), found "
            f"'{text}'"
        ) from None
    return begin if first else begin + _whole_ms(written) - 1


def _whole_ms(written: str) -> int:
    """Return how long the last digit of a written time lasts."""
    _, _, clock = written.replace(" ", "T").partition("T")
    clock = re.split(r"Z|[+-]\d", clock)[0]
    digits = len(clock.partition(".")[2])
    if digits:
        return int(10 ** max(0, 3 - digits))
    parts = clock.count(":") + 1 if ":" in clock else (len(clock) + 1) // 2
    return (86_400_000, 3_600_000, 60_000, 1_000)[parts]


@dataclass(slots=True)
class _Rows:
    """The rows of a WfRun at a moment. They are copies, and those that are still the same are shared with others."""

    own: WfRun
    threads: dict[int, ThreadRun]
    external_events: dict[ExternalEventKey, WfRunExternalEvent]

    @classmethod
    def of(cls, run: WfRun) -> "_Rows":
        threads = {number: copy_of_thread(thread) for number, thread in run.threads.items()}
        events = {key: copy_of_event(event) for key, event in run.external_events.items()}
        return cls(_own(run, threads), threads, events)

    def later(self, run: WfRun) -> "_Rows":
        """Return the rows of a later moment, if `run.changes` has all that has changed since this one."""
        threads, events = dict(self.threads), dict(self.external_events)
        for number in _threads_in(run.changes):
            if number in run.threads:
                threads[number] = copy_of_thread(run.threads[number])
            else:
                threads.pop(number, None)
        for key in _events_in(run.changes):
            if key in run.external_events:
                events[key] = copy_of_event(run.external_events[key])
            else:
                events.pop(key, None)
        return _Rows(_own(run, threads), threads, events)

    def move_to(self, run: WfRun) -> list[Change]:
        """Become the rows of a later moment, as `later` returns them, and return what has changed.

        What no event has touched is not looked at, so the cost does not grow with the number of rows.
        """
        threads, events, touched = self.threads, self.external_events, run.changes
        changed: list[Change] = []
        for number in sorted(_threads_in(touched)):
            new = run.threads.get(number)
            changed += thread_changes(number, threads.get(number), new)
            if new is None:
                threads.pop(number, None)
            else:
                threads[number] = copy_of_thread(new)
        for key in _events_in(touched):
            event = run.external_events.get(key)
            changed += external_event_changes(key, events.get(key), event)
            if event is None:
                events.pop(key, None)
            else:
                events[key] = copy_of_event(event)
        own = _own(run, threads)
        changed[:0] = own_changes(self.own, own)
        self.own = own
        return changed

    def restored(self) -> WfRun:
        """Return a WfRun made of these rows, which the caller may change."""
        run = _own(self.own, {})
        run.threads = {number: copy_of_thread(self.threads[number]) for number in sorted(self.threads)}
        events = sorted(self.external_events.values(), key=lambda event: event.arrival)
        run.external_events = {event.key: copy_of_event(event) for event in events}
        run.index = index_of(run)
        return run


def _own(run: WfRun, threads: dict[int, ThreadRun]) -> WfRun:
    """Copy what a WfRun has besides threads and ExternalEvents, and the thread 0 of these threads, for its status."""
    return replace(
        run,
        accepted_interrupts=list(run.accepted_interrupts),
        unstarted_failure_handlers=list(run.unstarted_failure_handlers),
        command_ids=list(run.command_ids),
        kept_inputs=list(run.kept_inputs),
        threads={0: threads[0]} if 0 in threads else {},
        external_events={},
        changes=Changes(),
        index=Index(),
        spec=None,
    )


def _threads_in(changes: Changes) -> set[int]:
    return changes.threads | {thread.number for thread in changes.left}


def _events_in(changes: Changes) -> dict[ExternalEventKey, None]:
    return dict.fromkeys([*changes.external_events, *changes.forgotten])


def moments_of(source: Source, wf_run_id: str, incarnation: int | None = None) -> Moments:
    """Read the log of a WfRun and return its moments: of the last WfRun of the id, or of an incarnation.

    Raises NoSuchWfRun, NoSuchMoment and BeginningMissing.
    """
    log = list(source.events(wf_run_id, previous=incarnation is not None))
    if not log:
        raise NoSuchWfRun(f"there is no event of a WfRun '{wf_run_id}' {source.where}")
    try:
        return Moments.of(wf_run_id, log, incarnation)
    except BeginningMissing:
        if incarnation is not None or not any(isinstance(it.entry.event, WfRunStarted) for it in log):
            raise
    # An ExternalEvent that it took may have come long before it.
    return Moments.of(wf_run_id, source.events(wf_run_id, previous=True))


def has_beginning(source: Source, wf_run_id: str) -> bool:
    """Return True if the events of the last WfRun of an id begin with its first, and with all that it took.

    An ExternalEvent that it took may have come long before it: then only the whole log has that.
    """
    entries = entries_of(source.events(wf_run_id))
    begin, end = lives(entries)[-1]
    return is_whole(entries[begin:end])


def entries_of(log: Iterable[Logged]) -> list[LogEntry]:
    """Return events without their places."""
    return [logged.entry for logged in log]
