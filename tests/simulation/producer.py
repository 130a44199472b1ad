"""A transactional Producer over the simulated broker: as much of confluent_kafka's as the runtime uses.

Records are sent in the background, round after round: partitions that are new to the transaction are announced to its
coordinator, then each partition gets its records in a request of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, Final, NoReturn

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.simulation.broker import Broker
from tests.simulation.consumer import SimulatedMessage
from tests.simulation.coordinators import NO_ERROR
from tests.simulation.errors import error, timed_out
from tests.simulation.group import GroupMetadata
from tests.simulation.partition_log import Headers, Place
from tests.simulation.process import Process

CONCURRENT_S: Final = 0.02
LINGER_S: Final = 0.0005
REPORTS_WITH_OFFSET: Final = 7
"""After so many delivery reports with an offset comes one without, as after an answer that was lost."""
Record = tuple[bytes | None, bytes | None, Headers, int | None]
Report = Callable[[KafkaError | None, SimulatedMessage], None]

FENCED: Final = frozenset({KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


class State(StrEnum):
    """The states of the client's transaction."""

    NEW = "new"
    READY = "ready"
    IN = "in a transaction"
    ABORTABLE = "abortable"
    COMMITTING = "committing"
    ABORTING = "aborting"
    FATAL = "fatal"


class SimulatedProducer:
    """One transactional id, taken by `init_transactions`."""

    def __init__(self, process: Process, broker: Broker, conf: Mapping[str, Any]) -> None:
        self._process, self._broker = process, broker
        self._id = str(conf["transactional.id"])
        self._timeout_s = int(conf.get("transaction.timeout.ms", 60_000)) / 1_000
        self._state = State.NEW
        self._producer, self._epoch = -1, -1
        self._error: KafkaError | None = None
        self._queue: list[tuple[Place, Record, Report | None]] = []
        self._reports: list[Callable[[], None]] = []
        """Delivery reports that the next flush makes."""
        self._reported = 0
        self._in_flight = 0
        self._is_sending = False
        self._announced: set[Place] = set()
        self._is_known = False
        """True once the coordinator has heard of the transaction."""
        self._is_waiting = False
        self._is_untold = False
        """True if the background thread met a fatal error that no call has raised yet."""

    def init_transactions(self, timeout: float) -> None:
        if self._state is not State.NEW:
            self._wrong_state("init_transactions")
        until = self._process.kernel.now + timeout
        while True:
            code, producer, epoch = self._process.request(
                "init_transactions",
                lambda: self._broker.transactions.init(self._id, self._timeout_s),
                until - self._process.kernel.now,
                self._away,
            )
            if code == NO_ERROR:
                self._producer, self._epoch, self._state = producer, epoch, State.READY
                return
            self._again(until, "init_transactions")

    def begin_transaction(self) -> None:
        self._process.pause_point("begin_transaction")
        self._raise_if_over()
        if self._state is not State.READY:
            self._wrong_state("begin_transaction")
        self._state = State.IN
        self._error, self._is_known = None, False
        self._announced.clear()

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        callback: None = None,  # noqa: ARG002  nobody asks for it, on_delivery is the same
        on_delivery: Report | None = None,
        timestamp: int = 0,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> None:
        self._process.pause_point("produce")
        if self._state is State.FATAL:
            raise KafkaException(error(KafkaError._FATAL, "a fatal error happened before"))
        if self._state is not State.IN:
            raise KafkaException(error(KafkaError._STATE, f"the transaction is {self._state}"))
        record = key, value, tuple(headers or ()), timestamp or None
        self._queue.append(((topic, partition), record, on_delivery))
        if not self._is_sending:
            self._is_sending = True
            self._process.later(LINGER_S, self._send)

    def flush(self, timeout: float) -> int:
        self._process.pause_point("flush")
        until = self._process.kernel.now + timeout
        while (left := len(self._queue) + self._in_flight) and (now := self._process.kernel.now) < until:
            self._rest(until - now)
        reports, self._reports = self._reports, []
        for report in reports:
            report()
        if self._is_untold:
            self._raise_if_over()
        return left

    def purge(self) -> None:
        self._process.pause_point("purge")
        self._queue.clear()
        self._reports.clear()
        self._in_flight = 0

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: GroupMetadata, timeout: float
    ) -> None:
        self._raise_if_over()
        if self._state is not State.IN:
            self._wrong_state("send_offsets_to_transaction")
        until = self._process.kernel.now + timeout
        name = group_metadata.group
        self._until_not_concurrent(
            "send_offsets_to_transaction",
            lambda: self._broker.transactions.add(self._id, self._producer, self._epoch, set(), {name}),
            until,
            self._away,
        )
        self._is_known = True
        group = self._broker.group(name)
        offsets = {(it.topic, it.partition): (it.offset, it.metadata or "") for it in positions}
        code = self._process.request(
            "txn_offset_commit",
            lambda: group.commit_in_transaction(self._producer, self._epoch, group_metadata, offsets),
            until - self._process.kernel.now,
            lambda: group.away_until,
        )
        if code != NO_ERROR:
            self._failed(code)
            self._raise_if_over()

    def commit_transaction(self, timeout: float) -> None:
        self._end("commit_transaction", timeout, State.COMMITTING, commit=True)

    def abort_transaction(self, timeout: float) -> None:
        if self._state is State.FATAL:
            self._raise_if_over()
        self._queue.clear()
        self._end("abort_transaction", timeout, State.ABORTING, commit=False)

    def _end(self, name: str, timeout: float, state: State, *, commit: bool) -> None:
        until = self._process.kernel.now + timeout
        if commit:
            self._raise_if_over()
        if self._state not in {State.IN, state} and not (self._state is State.ABORTABLE and not commit):
            self._wrong_state(name)
        if self.flush(timeout):
            raise timed_out(name)
        if commit:
            self._raise_if_over()
        self._state = state
        if self._is_known:
            self._until_not_concurrent(
                name,
                lambda: self._broker.transactions.end(self._id, self._producer, self._epoch, commit=commit),
                until,
                self._away,
            )
        self._state = State.READY

    # In the background.

    def _send(self) -> None:
        """Send one round: everything that has come since the last."""
        queue, self._queue = self._queue, []
        if not queue or self._state in {State.FATAL, State.ABORTABLE}:
            self._is_sending = False
            self._woken()
            return
        batches: dict[Place, list[tuple[Record, Report | None]]] = {}
        for place, record, report in queue:
            batches.setdefault(place, []).append((record, report))
        self._in_flight += len(queue)
        new = set(batches) - self._announced
        if new:
            self._announce(new, lambda: self._write(batches))
        else:
            self._write(batches)

    def _announce(self, places: set[Place], then: Callable[[], None]) -> None:
        def arrived() -> None:
            code = self._broker.transactions.add(self._id, self._producer, self._epoch, places, set())
            self._process.deliver(lambda: answered(code))

        def answered(code: int) -> None:
            if code == KafkaError.CONCURRENT_TRANSACTIONS:
                self._process.later(CONCURRENT_S, lambda: self._announce(places, then))
            elif code == NO_ERROR:
                self._announced |= places
                self._is_known = True
                then()
            else:
                self._failed(code)
                self._is_untold = self._state is State.FATAL
                self._round_over()

        self._process.send(arrived, away_until=self._away())

    def _write(self, batches: Mapping[Place, list[tuple[Record, Report | None]]]) -> None:
        left = len(batches)

        def arrived(place: Place, records: list[tuple[Record, Report | None]]) -> None:
            code = self._broker.write(place, [record for record, _ in records], (self._producer, self._epoch))
            first = self._broker.log(place).high - len(records) if code == NO_ERROR else 0
            self._process.deliver(lambda: answered(code, place, first, records), self._process.answer_delay())

        def answered(code: int, place: Place, first: int, records: list[tuple[Record, Report | None]]) -> None:
            nonlocal left
            left -= 1
            self._in_flight = max(0, self._in_flight - len(records))
            if code != NO_ERROR:
                self._failed(code)
                self._is_untold = self._state is State.FATAL
            else:
                self._note_reports(place, first, [report for _, report in records])
            if left == 0:
                self._round_over()

        for place, records in batches.items():
            self._process.send(
                partial(arrived, place, records),
                late_s=self._process.write_delay(),
                away_until=self._broker.log(place).away_until,
            )

    def _note_reports(self, place: Place, first: int, reports: Sequence[Report | None]) -> None:
        for offset, report in enumerate(reports, first):
            if report is not None:
                self._reported += 1
                known = None if self._reported % (REPORTS_WITH_OFFSET + 1) == 0 else offset
                self._reports.append(partial(report, None, SimulatedMessage(place, known)))

    def _round_over(self) -> None:
        if self._state in {State.FATAL, State.ABORTABLE}:
            self._in_flight = 0
        self._send()

    def _woken(self) -> None:
        if self._is_waiting:
            self._process.wake()

    def _rest(self, seconds: float) -> None:
        self._is_waiting = True
        try:
            self._process.wait(seconds)
        finally:
            self._is_waiting = False

    # What goes wrong.

    def _away(self) -> float:
        return self._broker.transactions_away_until

    def _again(self, until: float, name: str) -> None:
        if self._process.kernel.now + CONCURRENT_S > until:
            self._process.sleep(until - self._process.kernel.now)
            raise timed_out(name)
        self._process.sleep(CONCURRENT_S)

    def _until_not_concurrent(
        self, name: str, request: Callable[[], int], until: float, away: Callable[[], float]
    ) -> None:
        while True:
            code = self._process.request(name, request, until - self._process.kernel.now, away)
            if code == NO_ERROR:
                return
            if code != KafkaError.CONCURRENT_TRANSACTIONS:
                self._failed(code)
                self._raise_if_over()
            self._again(until, name)

    def _failed(self, code: int) -> None:
        """Note an error of the transaction, which the next call raises."""
        if self._state is State.FATAL:
            return
        if code in FENCED or code == KafkaError.INVALID_PRODUCER_ID_MAPPING:
            self._state = State.FATAL
            self._error = error(KafkaError._FENCED, "a newer instance of this producer exists", fatal=True)
        else:
            self._state = State.ABORTABLE
            self._error = error(code, "the transaction has to be aborted", abort=True)

    def _raise_if_over(self) -> None:
        if self._state in {State.FATAL, State.ABORTABLE}:
            assert self._error is not None
            self._is_untold = False
            raise KafkaException(self._error)

    def _wrong_state(self, name: str) -> NoReturn:
        raise KafkaException(error(KafkaError._STATE, f"{name} is not possible: {self._state}"))
