"""The loop: reads records, maps them, and writes what they become in one transaction with the offsets behind them.

One thread makes all calls. A batch is read and mapped first. Only then does a transaction begin, and nothing is polled
until it has ended, so no partition is taken away while it is open. If it fails, a new producer settles what became of
it, and the group is asked how far it has committed. What it has not, is still in memory, unless its partition has been
taken away meanwhile; then whoever has it now reads it again.

Errors that pass are waited for, with a line in the log; `run` raises those that need somebody to act.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Final, NoReturn

from confluent_kafka import KafkaError, KafkaException, Message

from halter.transform.errors import CannotWrite, PositionGone, SlotTaken, SourceRefused
from halter.transform.figures import Figures
from halter.transform.member import Member
from halter.transform.messages import source_record
from halter.transform.pending import Pending, Place, Taken, offsets_behind
from halter.transform.records import Output, RecordMapping, SourceRecord
from halter.transform.starts import BEGINNING_MS, Starts
from halter.transform.topics import Existence
from halter.transform.writer import Refused, Writer
from processors.codec.registry import RegistryRefused, RegistryUnavailable
from processors.fold.inputs import HEADER_PREFIX
from processors.kafka.client_errors import AWAY, ClientErrors
from processors.kafka.errors import KafkaUnavailable
from processors.kafka.fencing import FENCED
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics
from processors.runtime.group.calls import KafkaCalls, Watchdog
from processors.runtime.group.clients import Slot
from processors.runtime.group.membership import NotAMember, reason_of
from processors.runtime.group.readiness import Readiness

POLL_SECONDS: Final = 0.1
AGAIN_SECONDS: Final = 0.2
"""Time to poll between two tries to recover."""
TELL_AGAIN_SECONDS: Final = 30.0
FIGURES_SECONDS: Final = 1.0
WRITTEN_SECONDS: Final = 30.0
"""Who watches sees soon that something was written, and then no more than one line in this time."""
REFRESH_SECONDS: Final = 2.0
NO_MEMBER_SECONDS: Final = 20.0
"""Time after which a process that the group has given up, and that hears nothing from it, joins anew."""
IN_VAIN_MAX: Final = 10
"""How often a batch may be aborted for a reason that is none of a rebalance or of brokers that are away."""
NOT_WRITTEN: Final = "NOT_WRITTEN"
"""Code of the dead letter of a record whose outputs Kafka refuses."""

REASONS: Final = (f"{HEADER_PREFIX}reason", f"{HEADER_PREFIX}message")
REFUSALS: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
    }
)
"""Answers that waiting does not change."""
REBALANCES: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
    }
)
"""The group has changed since the batch was read. A poll tells what of it is still ours."""
PASSING: Final = (
    AWAY
    | REBALANCES
    | FENCED
    | {
        KafkaError._MSG_TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._WAIT_COORD,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    }
)
"""Reasons to try again for as long as it takes. A producer is fenced if its transaction took too long."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A transaction is made as soon as one of these is reached: records, their bytes and their outputs', seconds."""

    records: int = 1_000
    bytes: int = 4 * 1024 * 1024
    linger_s: float = 0.02


class Loop:
    """Runs a mapping in one process. Processes of one group share the partitions of its sources."""

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        mapping: RecordMapping,
        *,
        name: str,
        group: str,
        slot: Slot,
        since_ms: int = BEGINNING_MS,
        limits: BatchLimits = BatchLimits(),
        refresh: Callable[[], bool] | None = None,
        begins: Callable[[Collection[Place]], None] = lambda _: None,
        stopped: Event,
        log: Any,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is that of dead letters. `since_ms` says where a group begins that has never read a topic.

        `refresh` lets the mapping follow definitions, and returns True if they have changed. It is called now and then,
        and before anything becomes a dead letter. `begins` is called with partitions before they are read.
        """
        self._tracing = settings.tracing()
        if self._tracing is not None:
            from halter.transform.tracing import TracedMapping  # it imports OpenTelemetry

            mapping = TracedMapping(mapping, self._tracing, topics, name)
        self._settings, self._topics, self._mapping, self._name = settings, topics, mapping, name
        self._limits, self._refresh_, self._begins = limits, refresh, begins
        self._stopped, self._log, self._monotonic = stopped, log, monotonic
        self.figures = Figures()
        readiness = Readiness()
        self._calls = KafkaCalls(readiness)
        self._watchdog = Watchdog([self._calls.watched], readiness)
        self._pending = Pending()
        self._starts = Starts(since_ms, self._calls.once, log)
        self._member = Member(settings, group, slot, mapping.sources, self._starts, self._pending.drop, log)
        self._writer = Writer(settings, topics, f"{group}-{slot.name}", self._calls)
        self._existence = Existence(settings, self._calls, monotonic)
        self._group, self._slot = group, slot
        self._one_by_one = 0
        """So many records have to be written singly, because Kafka refuses one of them."""
        self._guilty: SourceRecord | None = None
        """That one, if it is known."""
        self._in_vain = 0
        self._first_at = self._told_at = self._refreshed_at = self._figures_at = self._written_at = float("-inf")
        self._records_told = 0
        self._fenced_since: float | None = None

    def run(self) -> None:
        """Read, map and write until told to stop. Then leave; what was read and not written is read again later.

        Raises SourceRefused, PositionGone, SlotTaken, CannotWrite and KafkaUnavailable.
        """
        self._watchdog.start()
        try:
            with self._settings.explaining(f"running '{self._name}'"):
                self._existence.expect([*self._mapping.sources, *self._mapping.destinations], self._topics)
                self._member.join()
                self._recover(None)
                while not self._stopped.is_set():
                    self._turn()
        finally:
            self.figures.joined = False
            self._member.leave()
            self._writer.discard()
            self._watchdog.stop()
            if self._tracing is not None:
                self._tracing.flush()

    def _turn(self) -> None:
        self._gather()
        self._existence.look()
        try:
            self._member_begins()
            now = self._monotonic()
            if len(self._pending) and (self._is_full or now >= self._first_at + self._limits.linger_s):
                self._commit(self._batch())
                self._told_at = float("-inf")
                self._waits(False)
            if now >= self._figures_at + FIGURES_SECONDS:
                self._figures_at = now
                self._note_figures()
                self._tell_what_was_written(now)
                self._refresh_now_and_then(now)
        except Refused as refused:
            self._isolate(refused)
        except (KafkaException, NotAMember) as failure:
            self._recover(failure)
        except (KafkaUnavailable, RegistryUnavailable) as failure:  # the mapping asks for definitions and schemas
            if isinstance(failure, RegistryRefused):
                raise
            self._told(str(failure))
            self._poll_for(AGAIN_SECONDS)

    # Reading.

    @property
    def _is_full(self) -> bool:
        return len(self._pending) >= self._limits.records or self._pending.bytes >= self._limits.bytes

    def _gather(self) -> None:
        """Read what there is, as much as goes into a batch; wait for the first record only."""
        wait = self._limits.linger_s / 2 if len(self._pending) else POLL_SECONDS
        poll = self._member.poll
        while not self._is_full:
            message = poll(wait)
            if message is None:
                return
            wait = 0.0
            self._take(message)

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._hear(error, message)
            return
        if not len(self._pending):
            self._first_at = self._monotonic()
        self._pending.add(Taken(source_record(message)))

    def _hear(self, error: KafkaError, message: Message) -> None:
        """Act on an error that the consumer reports in the place of a record."""
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            return
        if code == KafkaError._AUTO_OFFSET_RESET:
            raise self._gone(message.topic() or "", message.partition() or 0, error)
        if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
            self._existence.doubt(message.topic() or "")
            return
        self._raise_if_final(error)
        if error.fatal() or code == KafkaError._FATAL:
            if self._slot.static:  # it hides why; for a static member there is one reason
                raise self._taken(error)
            raise KafkaException(error)
        if code == KafkaError._MAX_POLL_EXCEEDED:
            self._log.warning("poll_interval_exceeded", reason=error.str())
        else:
            self._told(ClientErrors.sentence(error))

    def _gone(self, topic: str, partition: int, error: KafkaError) -> PositionGone:
        return PositionGone(
            f"{topic}[{partition}]: the group '{self._group}' has committed an offset from which on there are no "
            f"records: they were deleted before they were read, or the topic was made anew ({error.str()}). To go on "
            f"with those that are there, stop all of the group and run `kafka-consumer-groups --bootstrap-server "
            f"{self._settings.bootstrap} --group {self._group} --topic {topic}:{partition} --reset-offsets "
            "--to-earliest --execute`"
        )

    def _member_begins(self) -> None:
        """Begin to read the partitions that the group has given since. Tried again later if Kafka does not answer."""
        self.figures.joined = self._member.has_joined
        fresh = self._member.waiting
        if not fresh:
            return
        try:
            self._begins(fresh)
            self._member.begin()
        except KafkaException as exception:
            error = exception.args[0]
            self._raise_if_final(error)
            self._told(f"where to begin: {ClientErrors.sentence(error)}")

    # Writing.

    def _batch(self) -> list[Taken]:
        """Return the records of the next transaction, mapped. Dead letters among them are by the newest definitions."""
        batch, size = [], 0
        for it in self._pending.first(1 if self._one_by_one else len(self._pending)):
            if it.outputs is None:
                it.outputs = self._mapping.outputs(it.record)
            batch.append(it)
            size += it.output_bytes
            if size >= self._limits.bytes:
                break
        doubtful = [it for it in batch if self._letters(it) and it.record is not self._guilty]
        if doubtful and self._refresh_ is not None:
            self._refreshed_at = self._monotonic()
            if self._refresh_():
                for it in doubtful:
                    it.outputs = self._mapping.outputs(it.record)
        return batch

    def _letters(self, taken: Taken) -> list[Output]:
        """Return the dead letters that a record becomes."""
        return [it for it in taken.outputs or () if it.topic == self._topics.dead_letters]

    def _commit(self, batch: Sequence[Taken]) -> None:
        """Write a batch in one transaction. Raises KafkaException, NotAMember, Refused."""
        offsets = offsets_behind(batch)
        begun = self._monotonic()
        self._member.fence()  # asked first as well: writing may take its time, and be in vain
        self._writer.write([output for it in batch for output in it.outputs or ()])
        metadata = {topic: self._starts.metadata(topic) for topic, _ in offsets}
        self._writer.commit(offsets, metadata, self._member.fence())
        self._pending.settle(offsets)
        self._member.resume()
        self._first_at = self._monotonic()
        self._in_vain, self._fenced_since = 0, None
        self._one_by_one = max(0, self._one_by_one - len(batch))
        figures = self.figures
        figures.transactions += 1
        figures.transaction_seconds.observe(self._monotonic() - begun)
        figures.records += len(batch)
        figures.outputs += sum(len(it.outputs or ()) for it in batch)
        self._tell_of_dead_letters(batch)

    def _tell_of_dead_letters(self, batch: Sequence[Taken]) -> None:
        """Log the first of a batch's dead letters, and how many there are: a bad deployment may make thousands."""
        letters = [(it, letter) for it in batch for letter in self._letters(it)]
        if letters:
            self.figures.dead_letters += len(letters)
            first, letter = letters[0]
            says = {name: value.decode(errors="replace") for name, value in letter.headers if name in REASONS}
            reason, message = (says.get(name, "") for name in REASONS)
            place = first.record.place
            self._log.warning("dead_letters", count=len(letters), first=place, reason=reason, message=message)

    def _isolate(self, refused: Refused) -> None:
        """Find out which record Kafka refuses, by writing them singly. That one becomes a dead letter."""
        if self._one_by_one == 0 and len(self._pending) > 1:
            self._one_by_one = len(self._pending)
        else:
            (guilty,) = self._pending.first(1)
            self._guilty = guilty.record
            sentence = f"Kafka refuses what this record becomes: {ClientErrors.sentence(refused.error)}"
            guilty.outputs = [self._mapping.dead_letter(guilty.record, NOT_WRITTEN, sentence)]
        self._recover(KafkaException(refused.error))

    # After failures.

    def _recover(self, failure: KafkaException | NotAMember | None) -> None:
        """Come to a state in which a transaction may begin: a producer that is open, and nothing that is committed.

        None: at the start.
        """
        if failure is not None:
            self.figures.aborted += 1
            self._log.warning("transaction_aborted", reason=reason_of(failure))
            self._look_at(failure)
            self._writer.discard()
        while not self._stopped.is_set():
            try:
                self._writer.open()
                self._poll_for(0.0)  # what others have now is dropped
                if len(self._pending):
                    self._pending.settle(self._member.committed(self._pending.places))
                break
            except KafkaException as exception:
                error = exception.args[0]
                self._raise_if_final(error)
                if error.code() not in PASSING and not error.retriable():
                    self._count_in_vain(exception)
                self._told(ClientErrors.sentence(error))
            self._poll_for(AGAIN_SECONDS)
        self._member.resume()

    def _look_at(self, failure: KafkaException | NotAMember) -> None:
        """End with a failure that no further try mends, and join anew if the group has forgotten us."""
        now = self._monotonic()
        if isinstance(failure, NotAMember):
            if self._fenced_since is None:
                self._fenced_since = now
            elif now - self._fenced_since > NO_MEMBER_SECONDS:
                self._log.warning("joins_anew", group=self._group)
                self._fenced_since = None
                self._pending.drop(self._pending.places)
                self._member.leave()
                self._member.join()
            else:
                self._poll_for(AGAIN_SECONDS)
            return
        error = failure.args[0]
        self._raise_if_final(error)
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            for topic in self._mapping.destinations:
                self._existence.doubt(topic)
        elif error.code() not in PASSING and not error.retriable():
            self._count_in_vain(failure)

    def _count_in_vain(self, failure: KafkaException) -> None:
        self._in_vain += 1
        if self._in_vain > IN_VAIN_MAX:
            raise CannotWrite(
                f"'{self._name}' was aborted {self._in_vain} times without success, at last because of "
                f"{reason_of(failure)}"
            ) from failure

    def _raise_if_final(self, error: KafkaError) -> None:
        code = error.code()
        if code == KafkaError.FENCED_INSTANCE_ID:
            raise self._taken(error)
        if code in REFUSALS:
            self._refused(error)

    def _taken(self, error: KafkaError) -> SlotTaken:
        return SlotTaken(
            f"another process of the group '{self._group}' runs with the slot '{self._slot.name}': give each its own "
            f"--slot ({error.str()})"
        )

    def _refused(self, error: KafkaError) -> NoReturn:
        raise SourceRefused(
            f"'{self._name}' cannot go on at {self._settings.bootstrap}: {ClientErrors.sentence(error)}"
        )

    def _poll_for(self, seconds: float) -> None:
        """Let callbacks come. Records that come are taken like others, as long as there is room."""
        until = self._monotonic() + seconds
        while True:
            if self._is_full:
                self._member.pause()
            message = self._member.poll(max(0.0, until - self._monotonic()))
            if message is None:
                return
            self._take(message)

    def _told(self, reason: str) -> None:
        """Say that something is waited for: at once, and again every half minute."""
        self._waits(True)
        now = self._monotonic()
        if now >= self._told_at + TELL_AGAIN_SECONDS:
            self._told_at = now
            self._log.warning("waiting", reason=reason)

    def _waits(self, waits: bool) -> None:
        if self.figures.waiting and not waits:
            self._log.info("goes_on")
        self.figures.waiting = waits

    # Now and then.

    def _note_figures(self) -> None:
        self.figures.lag = self._member.lag()
        if not len(self._pending) and self.figures.waiting and self._existence.answers():
            self._waits(False)

    def _tell_what_was_written(self, now: float) -> None:
        figures = self.figures
        if figures.records > self._records_told and now >= self._written_at + WRITTEN_SECONDS:
            self._written_at, self._records_told = now, figures.records
            self._log.info("written", **figures.counts(), behind=sum(figures.lag.values()))

    def _refresh_now_and_then(self, now: float) -> None:
        if self._refresh_ is not None and now >= self._refreshed_at + REFRESH_SECONDS:
            self._refreshed_at = now
            self._refresh_()
