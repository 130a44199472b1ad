"""Reads the log for all callers of an AsyncClient who wait for it: one thread and one consumer, however many they are.

It reads the partitions in which somebody waits, and gives each entry to the Waits of its key. A caller may begin to
wait when his outcome has been read already. So the last records of each partition are kept, and where they do not reach
back far enough, the partition is read again from there. Nobody is given an entry twice.

The thread ends when nobody has waited for a while, and takes nothing along: the next caller starts another.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, Message, TopicPartition

from halter.client.errors import ClientClosed
from halter.client.reading import SILENCE_SECONDS, PartitionReader, offset_of
from halter.client.waiting import Wait
from processors.core.records.events import LogEntry
from processors.kafka.errors import KafkaUnavailable

POLL_SECONDS: Final = 0.01
"""How long the thread waits for records before it looks for new callers."""
KEPT_MAX: Final = 1_000
"""Number of records of a partition that are kept."""
IDLE_SECONDS: Final = 2.0


@dataclass(eq=False, slots=True)
class Caller:
    """Somebody who waits."""

    wait: Wait[Any]
    future: "asyncio.Future[None]"
    """Done when the Wait may have what it waits for."""


@dataclass(slots=True)
class Place:
    """A partition that is read."""

    position: int
    """The offset that is read next."""
    first: int
    """The offset from which on all records are kept."""
    kept: deque[Message] = field(default_factory=deque)
    is_at_end: bool = False
    was_at_end: bool = False
    """True once its end was reached: then the position is never far from it."""
    callers: dict[bytes, list[Caller]] = field(default_factory=dict)
    """Those who wait, by each key."""
    untold: set[Caller] = field(default_factory=set)
    """Those who were given records, or came, after its end was reached last. The others know that there is no more."""


class Watch:
    """Tells callers in an event loop when the log has something for them."""

    def __init__(
        self,
        reader: PartitionReader,
        topic: str,
        decode: Callable[[Message], LogEntry],
        note_end: Callable[[int, int], None],
    ) -> None:
        """`note_end` is told how far partitions are read: the log ends there or later."""
        self._reader, self._topic, self._decode, self._note_end = reader, topic, decode, note_end
        self._lock = threading.Lock()
        self._new: list[Caller] = []
        self._gone: list[Caller] = []
        self._met: list[tuple[Caller, BaseException | None]] = []
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def begin(self, wait: Wait[Any]) -> Caller:
        """Begin to read the log for a Wait. Raises ClientClosed.

        The caller's future is done when the Wait may have what it waits for: then nothing is read for it any more. It
        may be begun again, and goes on where it was. Before that, `leave` ends it.
        """
        caller = Caller(wait, asyncio.get_running_loop().create_future())
        with self._lock:
            if self._is_closed:
                raise ClientClosed("this AsyncClient is closed")
            self._new.append(caller)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="halter-watch", daemon=True)
                self._thread.start()
        return caller

    def leave(self, caller: Caller) -> None:
        """Read nothing for a caller any more."""
        caller.future.cancel()
        with self._lock:
            self._gone.append(caller)

    def close(self) -> None:
        """End the thread. Who still waits hears that the client is closed."""
        with self._lock:
            self._is_closed, thread = True, self._thread
        if thread is not None:
            thread.join()

    # The thread.

    def _run(self) -> None:
        partitions = Partitions(self._decode, self._tell)
        try:
            with self._reader.following(self._topic) as consumer:
                self._read(partitions, consumer)
        except BaseException as error:  # noqa: BLE001  raised where the callers are
            with self._lock:
                callers, self._new, self._thread = [*partitions.callers(), *self._new], [], None
            for caller in callers:
                self._tell(caller, error)
            self._wake()

    def _read(self, partitions: "Partitions", consumer: Consumer) -> None:
        waited_for, is_assigned = time.monotonic(), True
        while True:
            with self._lock:
                new, self._new = self._new, []
                gone, self._gone = self._gone, []
                now = time.monotonic()
                if self._is_closed:
                    raise ClientClosed("this AsyncClient is closed")
                if new or not partitions.are_idle:
                    waited_for = now
                elif now - waited_for > IDLE_SECONDS:
                    self._thread = None
                    return
            for number, place in partitions.add(new).items():
                place.position = self._reader.first_from(consumer, self._topic, number, place.position)
                is_assigned = False
            partitions.remove(gone)  # some came in the same moment
            if not is_assigned:
                places = [(number, place.position) for number, place in partitions.places.items()]
                consumer.assign([TopicPartition(self._topic, *it) for it in places])
                is_assigned = True
            records, ends = self._reader.some(consumer, POLL_SECONDS)
            partitions.take(records, {partition: offset for (_, partition), offset in ends.items()})
            if partitions.are_silent:
                raise KafkaUnavailable(self._reader.silence(self._topic))
            for number, place in partitions.places.items():
                if place.was_at_end:
                    self._note_end(number, place.position)
            self._wake()

    def _tell(self, caller: Caller, error: BaseException | None = None) -> None:
        self._met.append((caller, error))

    def _wake(self) -> None:
        """Wake the loop, once for all who are to hear something."""
        if self._met:
            met, self._met = self._met, []
            loop = met[0][0].future.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_fulfil, met)


class Partitions:
    """The partitions that the thread reads, and who waits there. Asks Kafka nothing."""

    def __init__(
        self, decode: Callable[[Message], LogEntry], tell: Callable[[Caller, BaseException | None], None]
    ) -> None:
        self._decode, self._tell = decode, tell
        self.places: dict[int, Place] = {}
        self._waiting: set[Caller] = set()
        self._heard = time.monotonic()

    @property
    def are_idle(self) -> bool:
        """True if nobody waits."""
        return not self._waiting

    @property
    def are_silent(self) -> bool:
        """True if Kafka has said neither what there is nor that there is no more, for so long that it is gone."""
        if all(place.is_at_end for place in self.places.values()):
            self._heard = time.monotonic()
        return time.monotonic() - self._heard > SILENCE_SECONDS

    def callers(self) -> list[Caller]:
        """Return those who wait."""
        return [*self._waiting]

    def add(self, new: Iterable[Caller]) -> dict[int, Place]:
        """Take callers in. Return the partitions that are to be read from other positions than they are."""
        changed = {}
        for caller in new:
            wait = caller.wait
            place = self.places.get(wait.partition)
            if place is None or wait.start < place.first:
                self._heard = time.monotonic()
                before, place = place, Place(wait.start, wait.start)
                if before is not None:
                    place.callers, place.untold = before.callers, before.untold
                changed[wait.partition] = self.places[wait.partition] = place
            self._waiting.add(caller)
            for key in wait.keys:
                place.callers.setdefault(key, []).append(caller)
            place.untold.add(caller)
            for record in place.kept:
                if record.key() in wait.keys:
                    self._give(caller, record)
            if place.is_at_end:
                self._tell_end(place)
        return changed

    def remove(self, gone: Iterable[Caller]) -> None:
        """Forget callers. Those who have been told are forgotten already."""
        for caller in gone:
            if caller in self._waiting:
                self._waiting.discard(caller)
                place = self.places[caller.wait.partition]
                place.untold.discard(caller)
                for key in caller.wait.keys:
                    place.callers[key].remove(caller)
                    if not place.callers[key]:
                        del place.callers[key]

    def take(self, records: Iterable[Message], ends: dict[int, int]) -> None:
        """Take what was read: records, and where partitions end whose end was reached."""
        for record in records:
            self._heard = time.monotonic()
            place = self.places[record.partition() or 0]
            place.position, place.is_at_end = offset_of(record) + 1, False
            place.kept.append(record)
            if len(place.kept) > KEPT_MAX:
                place.first = offset_of(place.kept.popleft()) + 1
            for caller in [*place.callers.get(record.key() or b"", ())]:
                place.untold.add(caller)
                self._give(caller, record)
        for partition, end in ends.items():
            self._heard = time.monotonic()
            place = self.places[partition]
            if end < place.position:
                continue  # records came behind it
            place.position, place.is_at_end, place.was_at_end = end, True, True
            self._tell_end(place)

    def _tell_end(self, place: Place) -> None:
        """Tell those who do not know it that there are no more records for the moment."""
        for caller in [*place.untold]:
            caller.wait.start = max(caller.wait.start, place.position)
            self._give(caller, None)
        place.untold.clear()

    def _give(self, caller: Caller, record: Message | None) -> None:
        """Give a record to a caller who has not had it. None: there are no more for the moment."""
        if caller not in self._waiting:
            return
        wait, error = caller.wait, None
        if record is not None:
            if offset_of(record) < wait.start:
                return
            wait.start = offset_of(record) + 1
        try:
            is_met = wait.take(None if record is None else self._decode(record))
        except Exception as raised:  # noqa: BLE001  raised where the caller is
            is_met, error = True, raised
        if is_met:
            self.remove([caller])
            self._tell(caller, error)


def _fulfil(met: list[tuple[Caller, BaseException | None]]) -> None:
    for caller, error in met:
        if caller.future.done():  # cancelled, or the time is over
            continue
        if error is None:
            caller.future.set_result(None)
        else:
            caller.future.set_exception(error)
