"""Follows the log: the events of one WfRun or of all, from a moment on, as they are written.

Decodes records and knows where each stands. Who waits for the next one, and how, is the caller's affair: `Follow` waits
in its thread, `halter.client.async_following` in another.
"""

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from types import TracebackType
from typing import Literal, NamedTuple, Self, TypeAlias

from confluent_kafka import Message

from halter.client.errors import InvalidArgument, OffsetGone
from halter.client.log_records import log_entry
from halter.client.reading import PartitionReader, offset_of
from halter.client.wf_run_reader import WfRunReader
from processors.codec import Codec
from processors.core.records.events import Event, LogEntry
from processors.kafka.topics import Topics

Since: TypeAlias = Literal["now", "beginning"] | datetime | int | Mapping[int, int]
"""From where the log is followed.

Only what comes; all that the log has (of one WfRun: from its beginning); a time, aware of its zone; an offset of the
partition of one WfRun; an offset for each partition, as `positions` has them.
"""


@dataclass(frozen=True, slots=True)
class Followed:
    """An event of the log, and its place on `wf-events`."""

    partition: int
    offset: int
    entry: LogEntry

    @property
    def wf_run_id(self) -> str:
        """The WfRun that it is about."""
        return self.entry.wf_run_id

    @property
    def event(self) -> Event:
        """What happened: one of the classes of `halter.events`."""
        return self.entry.event


class Batch(NamedTuple):
    """Events, and the offsets up to which partitions were read with them: behind these events, or further."""

    events: list[Followed]
    read_to: Mapping[int, int]


class Follower:
    """Reads on, a batch at a time. Threads may take turns with it."""

    def __init__(
        self,
        reader: PartitionReader,
        topics: Topics,
        codec: Codec,
        wf_runs: WfRunReader,
        wf_run_id: str | None,
        since: Since,
    ) -> None:
        """`wf_run_id`: None for all WfRuns. Raises InvalidArgument; OffsetGone if the log no longer has an offset."""
        self._reader, self._codec, self._wf_runs = reader, codec, wf_runs
        self._topic, self._wf_run_id = topics.wf_events, wf_run_id
        self._lock = Lock()
        self.is_closed = False
        if wf_run_id is None:
            partitions = range(topics.partitions)
        else:
            given: object = wf_run_id
            if not isinstance(given, str) or not given:
                raise InvalidArgument(f"follow: expected the id of a WfRun, or None for all, found {given!r}")
            partitions = range(number := wf_runs.partition(wf_run_id), number + 1)
        self.positions = self._starts(since, partitions)
        """For each partition that is followed, the offset up to which there is nothing that the caller has not taken.

        It goes on with what is read past as well, so that it is still there when little happens to the WfRun.
        """
        if wf_run_id is not None and since == "beginning":
            self._batches = self._from_its_beginning(wf_run_id)
        else:
            self._batches = self._all_since(dict(self.positions))

    def _starts(self, since: Since, partitions: range) -> dict[int, int]:
        """Return the offset of each partition from which on it is followed."""
        bounds = {partition: self._reader.bounds(self._topic, partition) for partition in partitions}
        match since:
            case "now":
                return {partition: end for partition, (_, end) in bounds.items()}
            case "beginning":
                return {partition: begin for partition, (begin, _) in bounds.items()}
            case datetime():
                if since.tzinfo is None:
                    raise InvalidArgument(f"since: expected a time that has a zone, found {since.isoformat()}")
                time_ms = max(0, int(since.timestamp() * 1000))
                return {partition: self._reader.offset_at(self._topic, partition, time_ms) for partition in partitions}
            case int() if not isinstance(since, bool):
                if self._wf_run_id is None:
                    raise InvalidArgument("since: expected an offset for each partition, found one for all WfRuns")
                starts: Mapping[int, int] = dict.fromkeys(partitions, since)
            case Mapping():
                missing = [partition for partition in partitions if not isinstance(since.get(partition), int)]
                if missing:
                    raise InvalidArgument(f"since: expected an offset for each partition, found none for {missing}")
                starts = {partition: since[partition] for partition in partitions}
            case _:
                raise InvalidArgument(f"since: expected 'now', 'beginning', a time or offsets, found {since!r}"[:200])
        for partition, offset in starts.items():
            begin, end = bounds[partition]
            if not begin <= offset <= end:
                raise OffsetGone(
                    f"{self._topic}[{partition}] has the offsets {begin} to {end}, and was to be followed from "
                    f"{offset}: " + ("what was there is deleted" if offset < begin else "was the topic made anew?")
                )
        return dict(starts)

    def _all_since(self, starts: Mapping[int, int]) -> Generator[Batch, None, None]:
        key = None if self._wf_run_id is None else self._wf_run_id.encode()
        for records, read_to in self._reader.follow_all(self._topic, starts, key):
            yield Batch([self._followed(it) for it in records], read_to)

    def _followed(self, record: Message) -> Followed:
        return Followed(record.partition() or 0, offset_of(record), log_entry(self._codec, record))

    def _from_its_beginning(self, wf_run_id: str) -> Generator[Batch, None, None]:
        partition = self._wf_runs.partition(wf_run_id)
        # What comes after this moment may not be in the state by which events are found.
        position = self._reader.end(self._topic, partition)
        for placed in self._wf_runs.events(wf_run_id):
            position = max(position, placed.offset + 1)
            yield Batch([Followed(partition, placed.offset, placed.entry)], {})
        # Whoever waits no longer than this may go on here.
        self.positions[partition] = position
        yield from self._all_since({partition: position})

    def next_batch(self) -> Batch | None:
        """Wait for events: for those that are on the log already, and then for a moment.

        Return those that have come; None if it is closed, as it is after an error.
        """
        with self._lock:
            batch = next(self._batches, None)
            self.is_closed = batch is None
            return batch

    def taken(self, followed: Followed) -> None:
        """Note that an event was handed to the caller."""
        self.positions[followed.partition] = followed.offset + 1

    def passed(self, batch: Batch) -> None:
        """Note that all events of a batch were handed to the caller."""
        self.positions |= batch.read_to

    def close(self) -> None:
        """Let go of Kafka, once `next_batch` has returned."""
        with self._lock:
            self.is_closed = True
            self._batches.close()


class Patience:
    """Tells when nothing has come for too long."""

    def __init__(self, timeout_s: float | None) -> None:
        """`timeout_s`: None for ever."""
        is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
        if timeout_s is not None and not (is_number and timeout_s >= 0):
            raise InvalidArgument(f"timeout_s: expected seconds, or None for ever, found {timeout_s!r}")
        self._timeout_s, self._since = timeout_s, time.monotonic()

    def begin(self) -> None:
        """Something has come, or the caller begins to wait."""
        self._since = time.monotonic()

    @property
    def is_over(self) -> bool:
        """True if it is time to give up."""
        return self._timeout_s is not None and time.monotonic() - self._since >= self._timeout_s


class Follow(Iterator[Followed]):
    """An iterator over the events of the log as they come. `close` it in the end, or use it in `with`."""

    def __init__(self, follower: Follower, timeout_s: float | None) -> None:
        """It ends when no event has come for `timeout_s` seconds."""
        self._follower, self._patience = follower, Patience(timeout_s)
        self._batch, self._ready = Batch([], {}), iter(list[Followed]())

    @property
    def positions(self) -> dict[int, int]:
        """The offset of each partition behind the events that were taken, and behind what was read past since.

        `follow(since=...)` goes on there.
        """
        return dict(self._follower.positions)

    def __next__(self) -> Followed:
        self._patience.begin()
        while (followed := next(self._ready, None)) is None:
            self._follower.passed(self._batch)
            batch = self._follower.next_batch()
            if batch is None:
                raise StopIteration
            self._batch, self._ready = batch, iter(batch.events)
            if not batch.events and self._patience.is_over:
                self._follower.passed(batch)
                self.close()
                raise StopIteration
        self._follower.taken(followed)
        return followed

    def close(self) -> None:
        """Let go of Kafka. A second time does nothing."""
        self._follower.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
