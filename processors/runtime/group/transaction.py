"""The transactional producers of a worker, and the order of calls by which a turn becomes visible at once.

A transaction takes effect only together with offsets of `wf-commands` that the group's coordinator accepts from
this member in its present generation. That is the fence: a worker that is no longer the owner cannot commit.

There are two producers, which take turns: while the broker still writes the marks of one producer's transaction, the
other's begins at once. A transaction begins only after the one before it has ended, so they have an order, and at most
one is open (ADR 16).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from processors.core.records.topic_names import WF_EVENTS
from processors.fold.contract import OutputRecord
from processors.fold.inputs import Headers
from processors.kafka.fencing import FENCED
from processors.runtime.group.calls import CALL_SECONDS, KafkaCalls, is_fatal, may_pass
from processors.runtime.group.clients import Clients, transactional_ids
from processors.runtime.group.crash_points import CrashPoint, CrashPoints
from processors.runtime.group.errors import Fenced, KafkaFailed
from processors.runtime.group.membership import Membership
from processors.runtime.group.names import Place, ShardTopics
from processors.runtime.group.waiting import Waiting

FLUSH_SECONDS: Final = 10.0
LISTED_MAX: Final = 1_000
END_SECONDS: Final = 10.0
FENCE_SECONDS: Final = 1.0

GONE: Final = FENCED | {
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.TRANSACTION_COORDINATOR_FENCED,
}

ABOUT_THE_RECORD: Final = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)
"""Errors by which `produce` refuses one record for its size or destination, in any state of the transaction."""


class Listed(dict[Headers, list[tuple[str, bytes]]]):
    """Headers -> the list that the client wants. Most records have one of a few, so the lists are kept."""

    def __missing__(self, headers: Headers) -> list[tuple[str, bytes]]:
        listed = list(headers)
        if len(self) < LISTED_MAX:
            self[headers] = listed
        return listed


class Transaction:
    """Begins, produces, and commits or aborts, all in the Kafka thread.

    A failure that an abort mends raises KafkaException. One that ends this producer raises Fenced or KafkaFailed.
    """

    def __init__(
        self, clients: Clients, names: ShardTopics, membership: Membership, calls: KafkaCalls, crash_points: CrashPoints
    ) -> None:
        self._clients, self._names, self._membership = clients, names, membership
        self._calls, self._crash_points = calls, crash_points
        self._topics: dict[str, str] = {}
        self._listed = Listed()
        self._log_ends: dict[int, int] = {}
        self._producers: dict[str, Producer] = {}
        self._id, self._other_id = transactional_ids(clients.transactional_id)
        """The id of the producer whose turn it is, and the other one."""
        self.is_open = False

    @property
    def producer(self) -> Producer:
        """The producer whose turn it is. `open` makes it."""
        assert self._id in self._producers, "the transactional producer is used before it was opened"
        return self._producers[self._id]

    def open(self) -> None:
        """Take both transactional ids. That aborts what an earlier holder of them left open."""
        for _ in range(2):
            self._take()
            self._pass_on()

    def _take(self) -> None:
        """Make the producer whose turn it is anew."""
        self._producers[self._id] = self._clients.writer(self._id)
        try:
            self._calls.until_answered(self.producer.init_transactions, CALL_SECONDS)
        except KafkaException as exception:
            raise self._ended(exception) from exception

    def _pass_on(self) -> None:
        self._id, self._other_id = self._other_id, self._id

    def end_transactions_of(self, owner: str) -> Waiting[None]:
        """Abort what a dead worker left open. If it lives after all, it can commit nothing any more.

        Each try is short: its coordinator may be away although ours is not. Raises KafkaException.
        """
        structlog.get_logger("halter.runtime").info("fencing_dead_owner", owner=owner)
        for transactional_id in transactional_ids(owner):
            yield from self._end_transaction_of(transactional_id)

    def _end_transaction_of(self, transactional_id: str) -> Waiting[None]:
        other = self._clients.writer(transactional_id)
        while True:
            try:
                self._calls.once(other.init_transactions, FENCE_SECONDS)
            except KafkaException as exception:
                if not may_pass(exception):
                    raise
                yield
            else:
                return

    def expect_membership(self) -> None:
        """Raise NotAMember if a commit would be refused for that anyway."""
        self._membership.metadata()

    def begin(self) -> None:
        """Open a transaction. The client only notes it: the broker hears of it with the first record."""
        self.is_open = True  # also if it fails: then an abort makes a new producer
        self._try(self.producer.begin_transaction)

    def produce(self, outputs: Sequence[OutputRecord]) -> None:
        """Hand records to librdkafka, which sends them in the background. They are of one shard."""
        produce, topics, listed = self.producer.produce, self._topics, self._listed
        last_of_log = next((output for output in reversed(outputs) if output.topic == WF_EVENTS), None)
        for output in outputs:
            name, partition, key, value, headers, timestamp_ms = output
            topic = topics.get(name)
            if topic is None:
                topic = topics[name] = self._names.on_cluster(name)
            # By position, because naming them takes half as long again: no callbacks, then time and headers.
            delivered = self._delivered if output is last_of_log else None
            more: tuple[Any, ...] = (None, delivered, timestamp_ms or 0, listed[headers] if headers else None)
            try:
                produce(topic, value, key, partition, *more)
            except BufferError:
                # Its queue is full. Nothing is lost by letting it run empty first.
                self._flush()
                produce(topic, value, key, partition, *more)
            except KafkaException as exception:
                if exception.args[0].code() in ABOUT_THE_RECORD:
                    raise self._about(output, topic, exception) from exception
                self._raise_if_over(exception)
                raise

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        """Note where the log of a shard ends. Called while the producer is flushed.

        The offset is unknown if the answer was lost, and the client knows by a later answer that the record is there.
        Then the fold knows an earlier end of its log, and a load reads more of it.
        """
        offset = message.offset()
        if error is None and offset is not None:
            self._log_ends[message.partition()] = offset + 1  # type: ignore[index]  # it has one

    def take_log_ends(self) -> Mapping[int, int]:
        """Return the offset behind the last record of each shard's log since the last call, where it is known."""
        ends, self._log_ends = self._log_ends, {}
        return ends

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """Make the transaction visible together with the offsets up to which its shards are folded."""
        # Asked first as well: flushing may take its time, and be in vain.
        self.expect_membership()
        # Flushed first: send_offsets with records in flight takes 90 ms (the broker backs off) instead of 3.
        self._flush()
        self._crash_points.reached(CrashPoint.AFTER_FLUSH)
        metadata = self._membership.metadata()
        partitions = [
            TopicPartition(*place, offset, self._clients.transactional_id) for place, offset in offsets.items()
        ]
        self._try(self.producer.send_offsets_to_transaction, partitions, metadata, END_SECONDS)
        self._crash_points.reached(CrashPoint.AFTER_SEND_OFFSETS)
        self._try(self.producer.commit_transaction, END_SECONDS)
        self.is_open = False
        self._pass_on()
        self._crash_points.reached(CrashPoint.AFTER_COMMIT)

    def abort(self) -> None:
        """Undo the transaction that is open, if one is. The folds that it came from must be loaded anew.

        A new producer does it: taking the transactional id anew aborts what the old one left open, or completes it if
        its commit had begun. The state that is loaded then shows which. The old producer is not asked, because after
        the death of a coordinator its abort may fail for good, and another send_offsets may hang for ever.
        """
        if self.is_open:
            self.is_open = False
            self._log_ends.clear()
            self._calls.once(self.producer.purge)
            self._take()

    def renew(self) -> None:
        """Go on with new producers after Kafka was away. As after an abort, an old one's send_offsets may hang."""
        if not self.is_open:
            self.open()

    def close(self) -> None:
        """Abort what is open, so that readers need not wait for its time-out."""
        if self.is_open:
            self.is_open = False
            self._try(self.producer.abort_transaction, CALL_SECONDS)

    def _flush(self) -> None:
        if self._try(self.producer.flush, FLUSH_SECONDS):
            raise KafkaException(
                KafkaError(KafkaError._TIMED_OUT, f"records were not written within {FLUSH_SECONDS:.0f} s")
            )

    def _try(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make a call once. A call that fails is never made again: an abort follows, which is always right."""
        try:
            return self._calls.once(call, *arguments)
        except KafkaException as exception:
            self._raise_if_over(exception)
            raise

    def _raise_if_over(self, exception: KafkaException) -> None:
        """Raise Fenced or KafkaFailed if no abort mends it."""
        if is_fatal(exception) or exception.args[0].code() in {*GONE, KafkaError._FATAL}:
            raise self._ended(exception) from exception

    def _ended(self, exception: KafkaException) -> Fenced | KafkaFailed:
        error = exception.args[0]
        if error.code() == KafkaError._FATAL:
            # `produce` says only that an error was fatal before. A transactional call says which one.
            try:
                self._calls.once(self.producer.abort_transaction, CALL_SECONDS)
            except KafkaException as reason:
                error = reason.args[0]
        me = self._id
        if error.code() in GONE:
            return Fenced(
                f"'{me}' may not write any more: another process took over, because this worker was taken for dead or "
                f"two run with the same slot; or a turn outlasted transaction.timeout.ms "
                f"({error.name()}: {error.str()})"
            )
        return KafkaFailed(f"the transactional producer '{me}' cannot go on: {error.name()}: {error.str()}")

    @staticmethod
    def _about(output: OutputRecord, topic: str, exception: KafkaException) -> KafkaFailed:
        size = len(output.key or b"") + len(output.value or b"")
        error = exception.args[0]
        return KafkaFailed(
            f"a record of {size} bytes with key {output.key!r} cannot be written to {topic}[{output.partition}]: "
            f"{error.name()}: {error.str()}"
        )
