"""Selects events of a history: of some threads, of some kinds, from one moment to another. Pure, and as they come.

The events may be followed while they happen. Then None stands among them for: no more for the moment.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final, get_args

from halter.history.moments import time_of
from halter.show.log_text import thread_of
from processors.core.records.errors import HalterError
from processors.core.records.events import Event, LogEntry
from processors.core.wf_spec.near_names import NearNames

EVENTS: Final = {event.__name__.lower(): event.__name__ for event in get_args(Event)}
"""The name of each event, by its name in small letters."""


class NoSuchEvent(HalterError):
    """No event has this name. Whoever typed it takes one of those that the message names."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a selection begins or ends. One of the three is given."""

    seq: int | None = None
    time_ms: int | None = None
    back: int | None = None
    """So many events from the newest."""

    @classmethod
    def of(cls, text: str, zone: tzinfo | None, newest_ms: int = 0, *, first: bool) -> "Bound":
        """Read a bound as people write a moment (`Moments.at`). `first`: it is where the selection begins."""
        if text.isdecimal():
            return cls(seq=int(text))
        if text[:1] == "-" and text[1:].isdecimal():
            return cls(back=int(text[1:]))
        return cls(time_ms=time_of(text, zone, newest_ms, first=first))


@dataclass(frozen=True, slots=True)
class Selection:
    """What is selected. An empty set selects all."""

    threads: frozenset[int] = frozenset()
    events: frozenset[str] = frozenset()
    start: Bound | None = None
    end: Bound | None = None

    def of(self, entries: Iterable[LogEntry | None]) -> Iterator[LogEntry | None]:
        """Yield the events that are selected."""
        wanted = {f"#{number}" for number in self.threads}
        for entry in _until(self.end, _since(self.start, entries)):
            if entry is None or (
                (not self.events or type(entry.event).__name__ in self.events)
                and (not wanted or thread_of(entry.event) in wanted)
            ):
                yield entry


def event_names(typed: Iterable[str]) -> frozenset[str]:
    """Return the names of events that people have typed, in whatever case. Raises NoSuchEvent."""
    found = set()
    for name in typed:
        known = EVENTS.get(name.lower())
        if known is None:
            meant = NearNames().meant(name, EVENTS.values()) or f"; there are {', '.join(sorted(EVENTS.values()))}"
            raise NoSuchEvent(f"expected the name of an event, found '{name}'{meant}")
        found.add(known)
    return frozenset(found)


def _since(bound: Bound | None, entries: Iterable[LogEntry | None]) -> Iterator[LogEntry | None]:
    begun = bound is None
    newest: deque[LogEntry] = deque(maxlen=None if bound is None else bound.back)
    for entry in entries:
        if begun or bound is None:
            yield entry
        elif bound.back is not None:
            if entry is not None:
                newest.append(entry)
                continue
            begun = True
            yield from newest
            yield None
        elif entry is not None:
            # A later WfRun of the id begins with 1 again, and is selected all the same once the first event is.
            begun = entry.seq >= bound.seq if bound.seq is not None else entry.time_ms >= (bound.time_ms or 0)
            if begun:
                yield entry
        else:
            yield None
    if not begun:
        yield from newest


def _until(bound: Bound | None, entries: Iterable[LogEntry | None]) -> Iterator[LogEntry | None]:
    if bound is None:
        yield from entries
        return
    held: deque[LogEntry] = deque()
    for entry in entries:
        if entry is None:
            yield None
        elif bound.back is not None:
            held.append(entry)
            if len(held) > bound.back:
                yield held.popleft()
        elif bound.seq is not None:
            if entry.seq > bound.seq:
                return
            yield entry
            if entry.seq == bound.seq > 0:
                return  # at once, and not when the next one comes: they may be followed
        else:
            assert bound.time_ms is not None
            if entry.time_ms > bound.time_ms:
                return
            yield entry
