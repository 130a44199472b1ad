"""Reads the events of a WfRun from the log, without all the records that lie between them.

Kafka finds records by their time, and not by their key. Between two events of a WfRun there may be a million others.
The state of the WfRun names times at which something happened to it, and its events name those at which timers are due.
Where the next event is far, this leaps to the next of these times.

The times are hints, and the numbers of the events are the proof. If the event behind a leap has the number that comes
next, nothing was left out. Otherwise what was leapt over is read before the event is given out.
"""

from collections.abc import Iterator
from contextlib import closing
from heapq import heappop, heappush
from typing import Final, NamedTuple

from confluent_kafka import Message

from halter.client.log_records import log_entry
from halter.client.reading import PartitionReader, offset_of, with_key
from processors.codec import Codec
from processors.core.records.events import Event, LogEntry, TaskAttemptEnded, TimerArmed
from processors.core.records.model import NO_INCARNATION, WfRun
from processors.fold.outputs import rules_of
from processors.kafka.headers import headers_of

FAR: Final = 10_000
"""Records without an event of the WfRun, after which it is time to look for a leap. To leap costs as much as these."""


class Placed(NamedTuple):
    """An event, its offset, and the version of the rules that decided it; None if its record does not say it."""

    offset: int
    entry: LogEntry
    rules: int | None


class EventsOfWfRun:
    """Reads the log for one key, in one partition."""

    def __init__(self, reader: PartitionReader, codec: Codec, topic: str, partition: int, key: bytes) -> None:
        self._reader, self._codec = reader, codec
        self._topic, self._partition, self._key = topic, partition, key

    def since(self, start: int, stop: int | None = None) -> Iterator[Placed]:
        """Yield all events from an offset on, up to the present end of the log or the offset `stop`."""
        for records in self._reader.batches(self._topic, self._partition, start, stop):
            yield from self._events(records)

    def follow(self, start: int) -> Iterator[Placed | None]:
        """Yield all events from an offset on, and go on for ever with what comes. None: no more for the moment."""
        for record in self._reader.follow(self._topic, self._partition, start):
            yield from [None] if record is None else self._events([record])

    def of(self, run: WfRun, start: int) -> Iterator[Placed]:
        """Yield the events from an offset up to the newest of this WfRun, which was read from the log.

        Those of other WfRuns of the id are left out.
        """
        seq = 0
        before: list[Placed] = []  # came for the id since its last WfRun: this one's, if no other is started first
        for left_out, placed in self._leaping(run, start):
            entry = None if placed is None else placed.entry
            if entry is None or (entry.incarnation, entry.seq) != (run.incarnation, seq + 1):
                for offsets in left_out:
                    yield from self.since(offsets.start, offsets.stop)
            if placed is None or entry is None:
                yield from before
                return
            if entry.incarnation == NO_INCARNATION and not seq:
                before.append(placed)
            elif entry.incarnation in (NO_INCARNATION, run.incarnation):
                yield from before
                before.clear()
                yield placed
            else:
                before.clear()
            if entry.incarnation == run.incarnation:
                seq = entry.seq
                if seq >= run.seq:
                    return

    def _leaping(self, run: WfRun, start: int) -> Iterator[tuple[list[range], Placed | None]]:
        """Yield events, each with the offsets that were left out before it; None behind the last.

        Nothing is left out before the first event of the WfRun: what came before has no numbers.
        """
        times, left_out, begun = times_of(run), list[range](), False
        position: int | None = start
        while position is not None:
            quiet, since, position = 0, position, None
            with closing(self._reader.batches(self._topic, self._partition, since)) as batches:
                for records in batches:
                    quiet += len(records)
                    for placed in self._events(records):
                        yield left_out, placed
                        quiet, left_out, begun = 0, [], begun or placed.entry.incarnation == run.incarnation
                        if (due_ms := due_after(placed.entry.event)) is not None:
                            heappush(times, due_ms)
                    if begun and quiet >= FAR:
                        quiet, position = 0, self._leap(times, records[-1])
                        if position is not None:
                            left_out.append(range(offset_of(records[-1]) + 1, position))
                            break
        yield left_out, None

    def _leap(self, times: list[int], last: Message) -> int | None:
        """Return the offset at which the next of these times begins; None if it is not far from the last record.

        `times` is a heap. Times that have passed are taken from it.
        """
        while times and times[0] < last.timestamp()[1]:
            heappop(times)
        if not times:
            return None
        offset, here = self._reader.offset_at(self._topic, self._partition, times[0]), offset_of(last)
        if offset <= here:
            heappop(times)  # a record before this one has a later time
        return offset if offset > here + FAR else None

    def _events(self, records: list[Message]) -> Iterator[Placed]:
        for record in with_key(records, self._key):
            yield Placed(offset_of(record), log_entry(self._codec, record), rules_of(headers_of(record) or ()))


def times_of(run: WfRun) -> list[int]:
    """Return the times, ascending, at which something happened to a WfRun, as far as its state tells."""
    times = {run.time_ms}
    for thread in run.threads.values():
        times |= {thread.started_ms, thread.node.arrived_ms}
        task = thread.node.task
        if task is not None and task.started_ms is not None:
            times.add(task.started_ms)
    for event in run.external_events.values():
        times.add(event.posted_ms)
    return sorted(times)


def due_after(event: Event) -> int | None:
    """Return the time at which a timer is due that an event sets."""
    match event:
        case TimerArmed():
            return event.timer.due_ms
        case TaskAttemptEnded():
            return event.retry_at_ms
        case _:
            return None
