"""Reads single partitions: committed records only, from an offset to the present end.

Commits nothing and joins no group. Knows topics and offsets, and does not decode. The partition of a WfRun follows from
the number of partitions. So whoever reads or writes asks here first whether a topic has as many as we believe
(`PartitionReader.expect`); otherwise it would look in the wrong partition and find nothing.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from threading import Event, Thread
from typing import Final, Literal, NoReturn

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from halter.client.errors import ClientClosed, OffsetGone, PartitionsDiffer, TopicMissing
from processors.kafka.client_errors import LEADER_CHANGES, lacking
from processors.kafka.errors import KafkaSilent, KafkaUnavailable
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics, other_partitions

FROM_THE_START: Final = OFFSET_BEGINNING
SILENCE_SECONDS: Final = 30.0
"""Time after which a broker that has sent neither a record nor the end of the partition counts as gone."""

VISIBLE_SECONDS: Final = 5.0
"""Time that a transaction may take to become visible in all its partitions, once it is in one."""
REPORT_SECONDS: Final = 2.0
REQUEST_SECONDS: Final = 10.0
PREFIXES_SECONDS: Final = 1.0
PREFIXES_MAX: Final = 5
BATCH: Final = 1_000
Isolation = Literal["read_committed", "read_uncommitted"]
POLL_SECONDS: Final = 0.05
READS_MS: Final = 1
FOLLOWS_MS: Final = 10
"""How long the broker may wait with its answer that a partition has no more records. Only that answer tells where a
partition ends, so whoever reads to the end waits for it. Whoever follows a partition gets that answer again and again.
"""
QUEUE_BACKOFF_MS: Final = 10
"""Time after which a consumer whose queue is full looks again whether there is room. By default this is a second: long
before it is over, whoever reads a long partition has read all that is in the queue, and waits.
"""
MISSING: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)

BY_ITSELF: Final = (KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
"""Those that the client says by itself, also of topics that are there while it reaches no broker."""
ASKED_AGAIN: Final = (*LEADER_CHANGES, *BY_ITSELF)
"""Errors that occur while brokers come and go, of a topic that is there."""


class GivenUp(Exception):
    """Nobody waits any more for what is read. Raised only where the caller has said so, who does not see it."""


_given_up: ContextVar[Event | None] = ContextVar("given_up", default=None)


@contextmanager
def until_given_up(given_up: Event) -> Iterator[None]:
    """End all that the block reads or sends with GivenUp once the event is set: within POLL_SECONDS, or an answer."""
    token = _given_up.set(given_up)
    try:
        yield
    finally:
        _given_up.reset(token)


def expect_wanted() -> None:
    """Raise GivenUp if nobody waits any more for what this thread does."""
    given_up = _given_up.get()
    if given_up is not None and given_up.is_set():
        raise GivenUp


class PartitionReader:
    """Consumers for reading, made when needed and used again until `close`. Several threads may use it."""

    def __init__(self, settings: Settings, topics: Topics) -> None:
        self._settings, self._topics = settings, topics
        self._idle: defaultdict[tuple[int, Isolation], list[Consumer]] = defaultdict(list)
        self._is_closed = False
        self._as_expected: set[str] = set()
        self.has_answered = False
        """Whether Kafka has answered a consumer once."""
        self.answer_s = REQUEST_SECONDS
        """How long Kafka may take for its first answer."""
        self.report: Callable[[str], None] = lambda _: None
        """Called with a sentence every few seconds while a long partition is read."""
        self.warn: Callable[[str], None] = lambda _: None
        """Called with a sentence when whoever follows a partition hears nothing, because no broker is there."""

    def connect(self, isolation: Isolation) -> None:
        """Begin to connect a consumer, unless there is one, and wait for nothing. Rows take one of each isolation."""
        with self._consumer(isolation=isolation):
            pass

    def reach(self, seconds: float, deadline: float | None = None) -> None:
        """Return once Kafka answers. Raises KafkaUnavailable if it refuses us, or has not answered by then.

        `deadline` is when the seconds are over, by the monotonic clock. Default: they begin now.
        """
        with self._consumer() as consumer:
            self._settings.reach(consumer, self._topics.wf_events, seconds, deadline)
            self.has_answered = True

    def read(self, topic: str, partition: int, start: int) -> Iterator[Message]:
        """Read records from an offset, or FROM_THE_START, to the last one that is committed now."""
        for records in self.batches(topic, partition, start):
            yield from records

    def batches(
        self, topic: str, partition: int, start: int, stop: int | None = None
    ) -> Generator[list[Message], None, None]:
        """Read the same, many records at a time, at least one. With `stop`, read up to this offset."""
        with self._consumer_of(topic, f"reading {topic}[{partition}]") as consumer:
            low, end = self._watermarks(consumer, topic, partition)
            stop = end if stop is None else min(stop, end)
            if max(low, start) >= stop:
                return
            consumer.assign([TopicPartition(topic, partition, max(low, start))])
            told = time.monotonic()
            for records in self._arriving(consumer, topic, partition):
                if records is None:
                    return
                position = offset_of(records[-1]) + 1
                if time.monotonic() - told > REPORT_SECONDS:
                    told = time.monotonic()
                    self.report(f"reading {topic}[{partition}]: at {position:,} of {end:,}")
                wanted = records if position <= stop else [it for it in records if offset_of(it) < stop]
                if wanted:  # there may be marks of transactions alone before `stop`
                    yield wanted
                if position >= stop:
                    return

    def follow(self, topic: str, partition: int, start: int) -> Iterator[Message | None]:
        """Read records from an offset on, for ever. Yields None each time that there are no more for the moment."""
        with self._consumer_of(topic, f"reading {topic}[{partition}]", FOLLOWS_MS) as consumer:
            # Asking first is quick, and the client then knows the leader of the partition. If it has to find out while
            # it fetches, it takes half a second.
            low, _ = self._watermarks(consumer, topic, partition)
            consumer.assign([TopicPartition(topic, partition, max(low, start))])
            for records in self._arriving(consumer, topic, partition):
                yield from (None,) if records is None else records

    def follow_all(
        self, topic: str, starts: Mapping[int, int], key: bytes | None = None
    ) -> Generator[tuple[list[Message], dict[int, int]], None, None]:
        """Read several partitions, each from an offset on, for ever; with `key`, only records that have it.

        Beside records come the offsets up to which partitions were read meanwhile. No records: no more for the moment.
        That comes not before each partition was read to its end once.
        """
        with self._consumer_of(topic, f"reading {topic}", FOLLOWS_MS) as consumer:
            consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in starts.items()])
            heard, behind, read_to = time.monotonic(), set(starts), dict[int, int]()
            while True:
                try:
                    records, ends = self.some(consumer)
                except KafkaException as exception:
                    if exception.args[0].code() != KafkaError._AUTO_OFFSET_RESET:
                        raise
                    raise OffsetGone(f"{topic}: where it was to be read on was deleted meanwhile") from exception
                read_to |= {record.partition() or 0: offset_of(record) + 1 for record in records}
                for (_, partition), offset in ends.items():
                    read_to[partition] = max(offset, read_to.get(partition, 0))
                behind -= {partition for _, partition in ends}
                if records or ends:
                    heard = time.monotonic()
                elif behind and time.monotonic() - heard > SILENCE_SECONDS:
                    raise KafkaUnavailable(self.silence(topic))
                found = records if key is None else with_key(records, key)
                if found or not behind:
                    yield found, read_to
                    read_to = {}

    def _arriving(self, consumer: Consumer, topic: str, partition: int) -> Iterator[list[Message] | None]:
        """Records of the partition that a consumer is assigned, many at a time; None whenever there are no more."""
        heard, at_end, told = time.monotonic(), False, False
        while True:
            records, ends = self.some(consumer)
            if records or ends:
                # An end that was told before the last of these records is none any more.
                at_end = bool(ends) and (not records or max(ends.values()) > offset_of(records[-1]))
                heard, told = time.monotonic(), False
            elif not at_end and time.monotonic() - heard > SILENCE_SECONDS:
                raise KafkaUnavailable(self.silence(f"{topic}[{partition}]"))
            elif at_end and not told and self._settings.errors.all_away_s > heard:
                # It goes on by itself. Without a word, whoever watches would see a WfRun that stands still.
                told = True
                self.warn(f"{self._unheard(f'{topic}[{partition}]')}; what happens is shown when Kafka is back")
            if records:
                yield records
            if at_end:
                yield None

    @contextmanager
    def following(self, topic: str) -> Iterator[Consumer]:
        """A consumer for `some` that follows partitions of a topic. Whoever asks for it assigns them."""
        with self._consumer_of(topic, f"reading {topic}", FOLLOWS_MS) as consumer:
            yield consumer

    def first_from(self, consumer: Consumer, topic: str, partition: int, start: int) -> int:
        """Return an offset, or the first one that is left. The consumer then knows the leader, as in `follow`."""
        return max(start, self._watermarks(consumer, topic, partition)[0])

    def some(
        self, consumer: Consumer, seconds: float = POLL_SECONDS
    ) -> tuple[list[Message], dict[tuple[str, int], int]]:
        """Wait for a record, and take what is there: records, and where the partitions end whose end was reached.

        `consume` alone waits until it has a whole batch. Raises ClientClosed and GivenUp.
        """
        self._expect_open()
        expect_wanted()
        first = consumer.poll(seconds)
        messages = [] if first is None else [first, *consumer.consume(BATCH, 0)]
        if not any(map(Message.error, messages)):
            return messages, {}
        records, ends = [], {}
        for message in messages:
            topic, error = message.topic() or "", message.error()
            if error is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ends[topic, message.partition() or 0] = offset_of(message)
            else:
                self.raise_about(KafkaException(error), topic)
        return records, ends

    def silence(self, what: str) -> str:
        """A sentence about a broker that does not answer whoever reads `what`."""
        return self._unheard(what, f" in {SILENCE_SECONDS:.0f} s")

    def _unheard(self, what: str, within: str = "") -> str:
        latest = self._settings.errors.latest
        reason = "" if latest is None else f": {self._settings.errors.sentence(latest)}"
        return f"reading {what} at {self._settings.bootstrap}: no answer{within}{reason}"

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that is still there, and the lowest offset that the next record can have."""
        with self._consumer_of(topic, f"asking for offsets of {topic}") as consumer:
            return self._watermarks(consumer, topic, partition)

    def end(self, topic: str, partition: int) -> int:
        """The lowest offset that the next record can have."""
        return self.bounds(topic, partition)[1]

    def _watermarks(self, consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
        deadline = time.monotonic() + REQUEST_SECONDS
        while True:
            try:
                return consumer.get_watermark_offsets(TopicPartition(topic, partition), REQUEST_SECONDS, cached=False)
            except KafkaException as exception:
                self._expect_passing({topic: exception}, consumer, deadline)

    def _offsets(self, consumer: Consumer, asked: list[TopicPartition]) -> list[TopicPartition]:
        """What `offsets_for_times` says of partitions whose offsets are times."""
        deadline = time.monotonic() + REQUEST_SECONDS
        while True:
            try:
                found = consumer.offsets_for_times(asked, REQUEST_SECONDS)
                errors = {it.topic: KafkaException(it.error) for it in found if it.error is not None}
            except KafkaException as exception:  # it does not say of which
                found, errors = [], dict.fromkeys((it.topic for it in asked), exception)
            if not errors:
                return found
            self._expect_passing(errors, consumer, deadline)

    def _expect_passing(self, errors: Mapping[str, KafkaException], consumer: Consumer, deadline: float) -> None:
        """Raise what errors of topics mean, unless they pass before the deadline. Then it is time to ask again."""
        expect_wanted()
        for topic, error in errors.items():
            self._expect(consumer, topic)  # hears who leads now, or that there is no such topic
            if error.args[0].code() not in ASKED_AGAIN or time.monotonic() > deadline:
                self.raise_about(error, topic)
        time.sleep(POLL_SECONDS)

    def offset_at(self, topic: str, partition: int, time_ms: int) -> int:
        """The first offset whose record is not older than a time; the end if all records are older.

        Another reads meanwhile, so this takes a consumer that does not.
        """
        with self._consumer_of(topic, f"asking for offsets of {topic}", isolation="read_uncommitted") as consumer:
            (found,) = self._offsets(consumer, [TopicPartition(topic, partition, time_ms)])
        return found.offset if found.offset >= 0 else self.end(topic, partition)

    @contextmanager
    def side_by_side(self, topics: Collection[str], partition: int) -> Iterator["SideBySide"]:
        """Read a partition of several topics with one consumer, from the beginning."""
        doing = f"reading partition {partition} of {', '.join(topics)}"
        with self._consumer() as consumer, self._settings.explaining(doing, consumer):
            for topic in topics:
                if topic not in self._as_expected:
                    self._expect(consumer, topic)
            self._ends(consumer, topics, partition)  # as in `follow`
            yield SideBySide(self, consumer, topics, partition)

    def high(self, topics: Collection[str], partition: int) -> dict[str, int]:
        """The end of a partition in each topic, records of open transactions included."""
        with (
            self._consumer(isolation="read_uncommitted") as consumer,
            self._settings.explaining("asking for offsets", consumer),
        ):
            return self._ends(consumer, topics, partition)

    def _ends(self, consumer: Consumer, topics: Collection[str], partition: int) -> dict[str, int]:
        """The end of a partition in each topic, by one request: to Kafka, END is a time of which to tell the offset."""
        found = self._offsets(consumer, [TopicPartition(topic, partition, OFFSET_END) for topic in topics])
        return {it.topic: it.offset for it in found}

    def close(self) -> None:
        """Close the consumers. From now on every call that asks Kafka raises ClientClosed."""
        self._is_closed = True
        if self.has_answered:
            self._close_idle()
        else:  # the name of a broker may still be looked up, and to close waits for that
            Thread(target=self._close_idle, name="halter-close", daemon=True).start()

    def _close_idle(self) -> None:
        for idle in [*self._idle.values()]:
            with suppress(IndexError):  # another thread may have taken the last one
                while True:
                    idle.pop().close()

    def is_as_expected(self, topic: str) -> bool:
        """Return True if `expect` has found a topic to be as we believe."""
        return topic in self._as_expected

    def expect(self, topic: str, right: str = "READ") -> None:
        """Raise TopicMissing or PartitionsDiffer if a topic is not as we believe. Kafka is asked once.

        `right` is what the caller needs there: if Kafka shows us no such topic, it is named as missing.
        """
        if topic not in self._as_expected:
            with self._consumer() as consumer, self._settings.explaining(f"looking at {topic}", consumer):
                self._expect(consumer, topic, right)

    @contextmanager
    def _consumer_of(
        self, topic: str, what: str, waits_ms: int = READS_MS, isolation: Isolation = "read_committed"
    ) -> Iterator[Consumer]:
        """A consumer for a topic that is as we believe. `what` says what it is for, in sentences about errors."""
        with self._consumer(waits_ms, isolation) as consumer, self._settings.explaining(what, consumer):
            if topic not in self._as_expected:
                self._expect(consumer, topic)
            yield consumer

    def _expect(self, consumer: Consumer, topic: str, right: str = "READ") -> None:
        if not self.has_answered:
            try:
                self._settings.reach(consumer, topic, self.answer_s)
            except KafkaSilent as silent:
                told = f"{silent}; {silent.start}, or correct the address"
                raise KafkaSilent(told, on_this_machine=silent.on_this_machine) from silent
            self.has_answered = True
        deadline = time.monotonic() + REQUEST_SECONDS
        while (error := (found := consumer.list_topics(topic, REQUEST_SECONDS).topics[topic]).error) is not None:
            if error.code() not in LEADER_CHANGES or time.monotonic() > deadline:
                self.raise_about(KafkaException(error), topic, right)
            time.sleep(POLL_SECONDS)
        wanted = self._topics[topic]
        if len(found.partitions) != wanted.partitions:
            raise PartitionsDiffer(other_partitions(wanted, len(found.partitions), self._topics))
        self._as_expected.add(topic)

    @contextmanager
    def _consumer(self, waits_ms: int = READS_MS, isolation: Isolation = "read_committed") -> Iterator[Consumer]:
        self._expect_open()
        idle = self._idle[waits_ms, isolation]
        try:
            consumer = idle.pop()
        except IndexError:
            consumer = Consumer(
                self._settings.consumer(
                    group_id=self._topics.reader_group,
                    isolation_level=isolation,
                    enable_partition_eof=True,
                    fetch_wait_max_ms=waits_ms,
                    fetch_queue_backoff_ms=QUEUE_BACKOFF_MS,
                )
            )
        try:
            yield consumer
        finally:
            consumer.unassign()
            idle.append(consumer)
            if self._is_closed:  # meanwhile, by another thread
                self.close()

    def _expect_open(self) -> None:
        if self._is_closed:
            raise ClientClosed("this Client is closed")

    def raise_about(self, exception: KafkaException, topic: str, right: str = "READ") -> NoReturn:
        """Raise what an error of Kafka about a topic means, for whoever needs a right there."""
        code = exception.args[0].code()
        if code in BY_ITSELF and topic in self._as_expected:
            told = f"Kafka at {self._settings.bootstrap} does not say where '{topic}' is, which was there before"
            raise KafkaUnavailable(told) from exception
        if code in MISSING:
            raise missing(topic, self._settings, self._installations()) from exception
        raise KafkaException(lacking(right, topic, exception.args[0])) from exception

    def _installations(self) -> list[str]:
        """Return the prefixes with which there are topics of ours; none if Kafka does not tell."""
        log, commands = (
            it.removeprefix(self._topics.prefix) for it in (self._topics.wf_events, self._topics.wf_commands)
        )
        try:
            with self._consumer() as consumer:
                there = consumer.list_topics(timeout=PREFIXES_SECONDS).topics
        except KafkaException:
            return []
        prefixes = (it.removesuffix(log) for it in there if it.endswith(log))
        return sorted(it for it in prefixes if f"{it}{commands}" in there)


class SideBySide:
    """A partition of several topics, which one consumer reads: committed records, from the beginning."""

    def __init__(self, reader: PartitionReader, consumer: Consumer, topics: Collection[str], partition: int) -> None:
        self._reader, self._consumer, self._partition = reader, consumer, partition
        self._read_up_to = dict.fromkeys(topics, 0)
        self._ended_at = dict.fromkeys(topics, -1)
        self._told = time.monotonic()
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic in topics])

    def ends(self) -> dict[str, int]:
        """The ends of the partitions now, records of open transactions included."""
        return self._reader.high(self._read_up_to, self._partition)

    def has_read(self, ends: Mapping[str, int]) -> bool:
        """Say whether everything before these ends was read. Then no transaction before them is open."""
        return all(self._read_up_to[topic] >= end for topic, end in ends.items())

    def read_to(self, ends: Mapping[str, int]) -> Iterator[list[Message]]:
        """Read on until everything before these ends is read. Yields many records at a time.

        Gives up if a transaction stays open for so long that nothing of it can be visible anywhere (VISIBLE_SECONDS).
        """
        heard = time.monotonic()
        while not self.has_read(ends):
            records, ended_at = self._reader.some(self._consumer)
            if records or ended_at:
                heard = time.monotonic()
            yield records
            self._note(records, ended_at)
            silent_s = time.monotonic() - heard
            if all(self._ended_at[topic] >= offset for topic, offset in self._read_up_to.items()):
                if silent_s > VISIBLE_SECONDS:
                    return
            elif silent_s > SILENCE_SECONDS:
                what = f"partition {self._partition} of {sorted(self._read_up_to)}"
                raise KafkaUnavailable(self._reader.silence(what))
            self._report(ends)

    def _note(self, records: Sequence[Message], ended_at: Mapping[tuple[str, int], int]) -> None:
        """Note how far partitions were read, by the last record. That of others is noted when they end, at the latest.

        To look at every record would take a tenth of the time that it takes to read them.
        """
        if records:
            self._read_up_to[records[-1].topic() or ""] = offset_of(records[-1]) + 1
        for (topic, _), offset in ended_at.items():
            self._ended_at[topic] = offset
            self._read_up_to[topic] = max(self._read_up_to[topic], offset)

    def _report(self, ends: Mapping[str, int]) -> None:
        if time.monotonic() - self._told > REPORT_SECONDS:
            self._told = time.monotonic()
            topic = max(ends, key=lambda it: ends[it] - self._read_up_to[it])
            self._reader.report(
                f"reading {topic}[{self._partition}]: at {self._read_up_to[topic]:,} of {ends[topic]:,}"
            )


def offset_of(record: Message) -> int:
    """Return the offset of a record that was read: it has one."""
    return record.offset() or 0


def with_key(records: Iterable[Message], key: bytes) -> list[Message]:
    """Return the records that have this key."""
    return [it for it in records if it.key() == key]


def missing(topic: str, settings: Settings, prefixes: Sequence[str]) -> TopicMissing:
    """The error that says that a topic is missing, and what to do. `prefixes` are those of installations there."""
    sentence = f"topic '{topic}' does not exist at {settings.bootstrap}"
    apply = "`halter topics apply` creates the topics"
    if settings.prefix in prefixes:
        return TopicMissing(f"{sentence}, others of its installation do: {apply} that are missing")
    if not prefixes:
        there = f"no topics with the prefix '{settings.prefix}'" if settings.prefix else "no topics of Halter"
        return TopicMissing(f"{sentence}, and we see {there} there: {apply}")
    from processors.core.wf_spec.near_names import NearNames  # few name a prefix that is wrong

    near = NearNames().near(settings.prefix, [it for it in prefixes if it]) if settings.prefix else None
    if near is not None:
        return TopicMissing(
            f"{sentence}; did you mean the prefix '{near}' (--prefix, HALTER_PREFIX)? For a new installation, {apply}"
        )
    shown = " or ".join(f"the prefix '{it}'" if it else "no prefix" for it in prefixes[:PREFIXES_MAX])
    more = f", or one of {len(prefixes) - PREFIXES_MAX} more" if len(prefixes) > PREFIXES_MAX else ""
    return TopicMissing(
        f"{sentence}: topics of Halter have {shown}{more} there (--prefix, HALTER_PREFIX). For a new installation, "
        f"{apply}"
    )


def follow_until(
    deadline: float, reader: PartitionReader, topic: str, partition: int, start: int
) -> Iterator[Message | None]:
    """Follow a partition until a moment of the monotonic clock, and from then on to its end."""
    for message in reader.follow(topic, partition, start):
        yield message
        if message is None and time.monotonic() > deadline:
            return
