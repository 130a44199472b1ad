"""A Consumer over the simulated broker: as much of confluent_kafka's as the runtime uses.

A poll reads records from the log when it is called. A real client fetches ahead, so its records are older, never newer.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.simulation.broker import Broker
from tests.simulation.coordinators import NO_OFFSET
from tests.simulation.errors import error, timed_out
from tests.simulation.group import GroupMetadata
from tests.simulation.member import ClientMember, GroupEvent, What
from tests.simulation.partition_log import Entry, Place
from tests.simulation.process import Kind, Process

CALLBACK = Callable[[Any, list[TopicPartition]], None]
FETCH_S: Final = (0.0003, 0.006)
RETRY_S: Final = 0.02


def takes_nothing(*_: Any) -> None:
    """The default callbacks of a consumer, as far as the runtime relies on them."""


class SimulatedMessage:
    """A record, the end of a partition, or an error."""

    __slots__ = ("_entry", "_error", "_offset", "_place")

    def __init__(
        self, place: Place, offset: int | None, entry: Entry | None = None, problem: KafkaError | None = None
    ) -> None:
        self._place, self._offset, self._entry, self._error = place, offset, entry, problem

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return self._place[0]

    def partition(self) -> int:
        return self._place[1]

    def offset(self) -> int | None:
        return self._offset

    def key(self) -> bytes | None:
        return None if self._entry is None else self._entry.key

    def value(self) -> bytes | None:
        return None if self._entry is None else self._entry.value

    def headers(self) -> list[tuple[str, bytes]] | None:
        return list(self._entry.headers) if self._entry is not None and self._entry.headers else None

    def timestamp(self) -> tuple[int, int]:
        return (2, 0 if self._entry is None else self._entry.timestamp_ms)


class SimulatedConsumer:
    """A consumer that subscribes or is assigned by hand, and polls."""

    def __init__(self, process: Process, broker: Broker, conf: Mapping[str, Any]) -> None:
        self._process, self._broker, self._conf = process, broker, dict(conf)
        self._tells_ends = str(conf.get("enable.partition.eof", "false")).lower() == "true"
        self._committed = str(conf.get("isolation.level", "read_committed")) == "read_committed"
        self._positions: dict[Place, int] = {}
        self._ends_told: dict[Place, int] = {}
        self._turn = 0
        self._member: ClientMember | None = None
        self._callbacks: dict[What, CALLBACK] = {}
        self._is_waiting = self._is_closed = self._has_answered = False
        self._until_fetch = 0

    # The group.

    def subscribe(
        self,
        topics: list[str],
        on_assign: CALLBACK = takes_nothing,
        on_revoke: CALLBACK = takes_nothing,
        on_lost: CALLBACK = takes_nothing,
    ) -> None:
        self._process.pause_point("subscribe")
        self._callbacks = {What.ASSIGNED: on_assign, What.REVOKED: on_revoke, What.LOST: on_lost}
        self._topic = topics[0]
        self._member = ClientMember(self._process, self._broker, self._conf, self._topic)
        self._member.told = self._wake
        self._member.start()

    def memberid(self) -> str | None:
        self._process.pause_point("memberid")
        return (self._member.member_id if self._member is not None else "") or None

    def consumer_group_metadata(self) -> GroupMetadata:
        self._process.pause_point("consumer_group_metadata")
        nobody = GroupMetadata(str(self._conf["group.id"]), -1, "", None)
        return self._member.metadata if self._member is not None else nobody

    # Assignments.

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._process.pause_point("assign")
        for place in list(self._positions):
            self._forget(place)
        self._add(partitions)

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self._process.pause_point("incremental_assign")
        for partition in partitions:
            if (partition.topic, partition.partition) in self._positions:
                raise KafkaException(error(KafkaError._CONFLICT, f"{partition.topic} is already assigned"))
        self._add(partitions)
        self._answer(What.ASSIGNED)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self._process.pause_point("incremental_unassign")
        for partition in partitions:
            if (partition.topic, partition.partition) not in self._positions:
                raise KafkaException(error(KafkaError._INVALID_ARG, f"{partition.topic} is not assigned"))
        for partition in partitions:
            self._forget((partition.topic, partition.partition))
        self._answer(What.REVOKED)

    def _answer(self, what: What) -> None:
        """Answer the event. The client takes any such call for the answer that it waits for, whatever its purpose."""
        self._has_answered = True
        if self._member is not None:
            if what is What.ASSIGNED:
                self._member.assigned()
            else:
                self._member.unassigned()

    def pause(self, partitions: list[TopicPartition]) -> None:
        self._process.pause_point("pause")
        self._paused = getattr(self, "_paused", set()) | {(it.topic, it.partition) for it in partitions}

    def _add(self, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            place = partition.topic, partition.partition
            self._positions[place] = partition.offset
            self._broker.log(place).readers[id(self)] = self._wake

    def _forget(self, place: Place) -> None:
        del self._positions[place]
        self._ends_told.pop(place, None)
        self._broker.log(place).readers.pop(id(self), None)

    # Reading.

    def poll(self, timeout: float) -> SimulatedMessage | None:
        self._process.pause_point("poll")
        kernel = self._process.kernel
        until = kernel.now + max(0.0, timeout)
        while True:
            if self._member is not None:
                self._member.polled()
                if self._member.events:
                    problem = self._serve(self._member.events[0])
                    if problem is not None:
                        return problem
                    continue
            message = self._next()
            if message is not None or kernel.now >= until:
                return message
            self._rest(until - kernel.now)

    def consume(self, num_messages: int, timeout: float) -> list[SimulatedMessage]:
        self._process.pause_point("consume")
        found: list[SimulatedMessage] = []
        most = min(num_messages, self._process.random.choice((1, 5, 200, num_messages)))
        while len(found) < most and (message := self._next()) is not None:
            found.append(message)
        self._process.sleep(self._process.latency() if found else timeout)
        return found

    def _rest(self, seconds: float) -> None:
        self._is_waiting = True
        try:
            self._process.wait(seconds)
        finally:
            self._is_waiting = False

    def _wake(self) -> None:
        if self._is_waiting:
            self._process.kernel.after(self._process.random.uniform(*FETCH_S), self._woken)

    def _woken(self) -> None:
        if self._is_waiting:
            self._process.wake()

    def _next(self) -> SimulatedMessage | None:
        """Return the next record or end of any partition, taking turns."""
        places = list(self._positions)
        for index in range(len(places)):
            place = places[(self._turn + index) % len(places)]
            log, position = self._broker.log(place), self._positions[place]
            if self._process.kernel.now < log.away_until:
                continue
            if position < log.low or position > log.high:
                return SimulatedMessage(place, position, None, error(KafkaError._AUTO_OFFSET_RESET, "out of range"))
            end = log.last_stable if self._committed else log.high
            if self._process.kernel.now < log.lags_until:
                end = min(end, log.lags_at)
            entry = log.visible(position, committed=self._committed)
            if entry is not None and entry.offset < end:
                self._positions[place] = entry.offset + 1
                self._turn = (self._turn + index + self._process.random.choice((0, 0, 1))) % len(places)
                return SimulatedMessage(place, entry.offset, entry)
            self._positions[place] = max(position, end)
            if position <= end and self._tells_ends and self._ends_told.get(place, -1) < end:
                self._ends_told[place] = end
                return SimulatedMessage(place, end, None, error(KafkaError._PARTITION_EOF))
        return None

    def _serve(self, event: GroupEvent) -> SimulatedMessage | None:
        assert self._member is not None
        if event.what is What.ERROR:
            self._member.handled()
            is_fatal = event.code == KafkaError.FENCED_INSTANCE_ID
            code = KafkaError._FATAL if is_fatal else event.code
            return SimulatedMessage((self._topic, 0), -1, None, error(code, f"{event.code}"))
        self._member.handled()
        self._call(event.what, event.partitions)
        return None

    def _call(self, what: What, partitions: frozenset[int]) -> None:
        self._has_answered = False
        self._callbacks[what](self, [TopicPartition(self._topic, number) for number in sorted(partitions)])
        if not self._has_answered:
            self._answer(what)

    def close(self) -> None:
        # Python clears away what is left of a dead process. That is no call.
        if not self._is_closed and not self._process.is_dead:
            self._is_closed = True
            if self._member is not None:
                # Callbacks of what has already happened come first, as in a poll.
                pending = list(self._member.events)
                owned = self._member.leave()
                for event in pending:
                    if event.what is not What.ERROR:
                        self._call(event.what, event.partitions)
                if owned:
                    self._call(What.REVOKED, owned)
            for place in list(self._positions):
                self._forget(place)
            self._process.pause_point("close")

    # Questions.

    def ask_committed(self, partitions: list[TopicPartition], seconds: float) -> "Future[list[TopicPartition]]":
        """Ask `committed` in a thread of its own, which the caller does not wait for."""
        future: Future[list[TopicPartition]] = Future()
        process, group = self._process, self._broker.group(str(self._conf["group.id"]))
        struck = process.asks("committed")
        if struck is Kind.HANG:
            return future
        places = [(it.topic, it.partition) for it in partitions]

        def answer(result: list[TopicPartition]) -> None:
            if not future.done():
                future.set_result(result)

        def fail(problem: KafkaException) -> None:
            if not future.done():
                future.set_exception(problem)

        def arrived() -> None:
            if struck is Kind.REFUSED:
                process.deliver(partial(fail, KafkaException(error(KafkaError.NOT_COORDINATOR, "simulated"))))
            elif self._committed and any(group.offsets.is_pending(place) for place in places):
                # The client asks again until there is no time left.
                if not future.done():
                    process.later(RETRY_S, ask)
            else:
                told = [TopicPartition(*it, *group.offsets.committed.get(it, (NO_OFFSET, ""))) for it in places]
                process.deliver(partial(answer, told))

        def ask() -> None:
            process.send(arrived, late_s=process.write_delay(), away_until=group.away_until)

        ask()
        process.later(seconds, lambda: fail(timed_out("committed", retriable=False)))
        return future

    def list_topics(self, _topic: str, timeout: float) -> None:
        self._process.request("list_topics", lambda: None, timeout)

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        log = self._broker.log((partition.topic, partition.partition))
        return self._process.request(
            "get_watermark_offsets",
            lambda: (log.low, log.last_stable if self._committed else log.high),
            timeout,
            lambda: log.away_until,
        )
