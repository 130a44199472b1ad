"""Reads from Kafka what a view is made of: definitions, the log, dead letters, and the rows to begin with.

It joins no group and commits no offsets: where a view goes on, its database says. Only committed records are read.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from halter.client.client import Client
from halter.client.dead_letters import RETRY_OF, WORKER, as_dead_letter, is_note, retried_in
from halter.client.log_records import decoded, log_entry, where
from halter.client.reading import FROM_THE_START, VISIBLE_SECONDS, offset_of
from halter.view.keeping import Ends, Keeper, News, Source
from halter.view.projection import Row
from halter.view.rows import SettledRows, position_of, records_of, settled_rows
from processors.core.records.errors import HalterError
from processors.core.records.events import Definition, LogEntry
from processors.fold.inputs import MappingKind
from processors.fold.log_tail import LogTail
from processors.kafka.headers import headers_of

ANSWER_SECONDS: Final = 10.0
AT_ONCE: Final = 5_000
"""Number of records that one transaction of a view takes at most, about."""
BYTES_AT_ONCE: Final = 16 * 1024 * 1024
"""Number of bytes of such records, about: they are in memory together."""
GATHER_SECONDS: Final = 0.2
"""Time for which records are gathered into one transaction, if they keep coming."""
POLL_SECONDS: Final = 0.1
ASK_MS: Final = 1_000
"""How often Kafka is asked how far a partition goes."""
ASKING_MS: Final = 300
"""How long partitions are asked for that, one after the other, before records are read again."""
ASK_SECONDS: Final = 1.0
"""How long the leader of one partition may take to say it."""


class LogTruncated(HalterError):
    """Records of the log are gone that a view has not read. It has to be built anew."""


def source_of(client: Client) -> Source:
    """Return the installation that a client reads, by the ids that Kafka gives. Raises KafkaUnavailable."""
    topics = client.topics
    with client.reader.following(topics.wf_events) as consumer:
        cluster = consumer.list_topics(topics.wf_events, ANSWER_SECONDS).cluster_id
    return Source(topics.partitions, topics.prefix, cluster, _topic_ids(client))


def _topic_ids(client: Client) -> str | None:
    """Return the ids of the topics whose offsets a view has; None if Kafka does not tell us."""
    names = [client.topics.wf_events, client.topics.dead_letters]
    admin = AdminClient(client.settings.admin())
    try:
        asked = admin.describe_topics(TopicCollection(names), request_timeout=ANSWER_SECONDS)
        found = {name: str(answer.result().topic_id) for name, answer in asked.items()}
    except KafkaException:
        return None
    return ",".join(found[name] for name in names)


class KafkaReader:
    """What a view reads of an installation."""

    def __init__(self, client: Client, keeper: Keeper, stopped: Callable[[], bool] = lambda: False) -> None:
        """`stopped` says whether to end early."""
        self._client, self._keeper, self._stopped = client, keeper, stopped
        self._at_start: dict[tuple[str, int], int] = {}
        self._definitions_offset = 0
        self._highs: dict[tuple[str, int], int] = {}
        """Topic and partition -> its end, as far as Kafka has told."""
        self._asked: dict[int, int] = {}
        """Partition -> when Kafka was asked for its end."""

    def definitions(self, position: int = 0) -> list[tuple[int, Definition]]:
        """Return the definitions that have come since the last call, each with its time: up to a position, at least.

        The position is one that a worker has seen, so what is before it becomes visible soon.
        """
        if position and position <= self._definitions_offset:
            return []
        topic, found = self._client.topics.definitions, list[tuple[int, Definition]]()
        deadline = time.monotonic() + VISIBLE_SECONDS
        while True:
            end = self._client.reader.end(topic, 0)  # marks of transactions count as well
            for message in self._client.reader.read(topic, 0, self._definitions_offset or FROM_THE_START):
                end = max(end, offset_of(message) + 1)
                if (value := message.value()) is not None:
                    definition = decoded(self._client.codec, value, "Definition", partial(where, message))
                    assert isinstance(definition, Definition)
                    found.append((message.timestamp()[1], definition))
            self._definitions_offset = max(self._definitions_offset, end)
            if self._definitions_offset >= position or time.monotonic() > deadline:
                return found
            time.sleep(POLL_SECONDS)

    def build(self, partition: int) -> Iterator[int]:
        """Write what there is of a partition, its rows and what the log still has. Yield numbers of rows on the way."""
        client = self._client
        with settled_rows(client, partition, self._stopped) as settled:
            if not self._stopped():
                yield from self._build(partition, settled)

    def _build(self, partition: int, settled: SettledRows) -> Iterator[int]:
        client, keeper = self._client, self._keeper
        log, letters = client.topics.wf_events, client.topics.dead_letters
        positions = [position_of(client, it, partition) for it in settled.positions()]
        tails = [(LogTail(position), number) for number, position in enumerate(positions)]
        end = client.reader.end(log, partition)
        position = client.reader.bounds(log, partition)[0]
        event_ms: int | None = None
        for messages in client.reader.batches(log, partition, FROM_THE_START, end):
            entries: list[tuple[int, LogEntry]] = []
            for message in messages:
                entry = log_entry(client.codec, message)
                begins = [it for it in tails if it[0].takes(entry.cause)]
                if begins:
                    yield self._write(partition, entries)
                    entries = []
                    tails = [it for it in tails if it not in begins]
                    for _, number in begins:
                        yield from self._put_rows(partition, settled, number)
                entries.append((offset_of(message), entry))
                event_ms = entry.time_ms
            yield self._write(partition, entries)
            position = offset_of(messages[-1]) + 1
        for _, number in tails:
            yield from self._put_rows(partition, settled, number)
        first_letter = client.reader.bounds(letters, partition)[0]
        ends = Ends(max(position, end), first_letter, 0, now_ms(), event_ms)
        keeper.write(News(ends={partition: ends}))

    def _write(self, partition: int, entries: Sequence[tuple[int, LogEntry]]) -> int:
        if not entries:
            return 0
        needed = max(entry.cause.definitions_position for _, entry in entries)
        if needed > self._definitions_offset:
            self._keeper.write(News(definitions=self.definitions(needed)))
        return self._keeper.write_before_rows(partition, entries)

    def _put_rows(self, partition: int, settled: SettledRows, number: int) -> Iterator[int]:
        """Write the rows of a position. Yield numbers of rows on the way."""
        rows = ((it, records_of(self._client, of_one)) for it, of_one in settled.rows_at(number))
        for written in self._keeper.put_rows(partition, rows):
            yield written
            if self._stopped():
                return

    def expect_there(self) -> None:
        """Raise LogTruncated if records that the view has not read are gone from a topic."""
        topics = self._client.topics
        for partition, ends in self._keeper.ends.items():
            for topic, offset in ((topics.wf_events, ends.log_offset), (topics.dead_letters, ends.dead_letters_offset)):
                low, high = self._client.reader.bounds(topic, partition)
                if offset < low and topic == topics.wf_events:
                    raise LogTruncated(
                        f"{topic}[{partition}]: the view has read up to offset {offset:,}, and Kafka has deleted the "
                        f"records before {low:,}: what happened between is gone"
                    )
                if offset > high:
                    raise LogTruncated(
                        f"{topic}[{partition}]: the view has read up to offset {offset:,}, and the topic ends at "
                        f"{high:,}: it lost records, or was created again"
                    )

    def firsts(self) -> dict[int, tuple[int, int]]:
        """Return the first offset that is left of the log and of dead letters, by partition."""
        topics, bounds = self._client.topics, self._client.reader.bounds
        return {
            it: (bounds(topics.wf_events, it)[0], bounds(topics.dead_letters, it)[0]) for it in range(topics.partitions)
        }

    def news(self) -> Iterator[News]:
        """Yield what comes, for ever: once in a second at least, if need be with nothing. Raises LogTruncated."""
        topics, reader = self._client.topics, self._client.reader
        reader.expect(topics.dead_letters)
        ends = {partition: _copy(it) for partition, it in self._keeper.ends.items()}
        with reader.following(topics.wf_events) as consumer:
            starts = []
            for partition, it in ends.items():
                first, self._highs[topics.dead_letters, partition] = reader.bounds(topics.dead_letters, partition)
                it.dead_letters_offset = max(it.dead_letters_offset, first)
                self._highs[topics.wf_events, partition] = reader.end(topics.wf_events, partition)
                starts.append(TopicPartition(topics.wf_events, partition, it.log_offset))
                starts.append(TopicPartition(topics.dead_letters, partition, it.dead_letters_offset))
            self._at_start = dict(self._highs)
            consumer.assign(starts)
            while True:
                messages, read_to = self._gather(consumer)
                yield self._news_of(consumer, messages, read_to, ends)

    def _gather(self, consumer: Consumer) -> tuple[list[Message], dict[tuple[str, int], int]]:
        """Return records that came within a moment, and the ends that were reached."""
        deadline = time.monotonic() + GATHER_SECONDS
        messages, read_to = list[Message](), dict[tuple[str, int], int]()
        try:
            messages, read_to = self._client.reader.some(consumer, 1.0)
            size = sum(map(len, messages))
            while messages and len(messages) < AT_ONCE and size < BYTES_AT_ONCE and time.monotonic() < deadline:
                more, ends = self._client.reader.some(consumer, 0.02)
                messages += more
                read_to |= ends
                size += sum(map(len, more))
                if not more:
                    break
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError._AUTO_OFFSET_RESET:
                raise
            raise LogTruncated(
                f"{self._client.topics.wf_events}: records that the view has not read were deleted meanwhile"
            ) from exception
        return messages, read_to

    def _news_of(
        self,
        consumer: Consumer,
        messages: Sequence[Message],
        read_to: dict[tuple[str, int], int],
        ends: dict[int, Ends],
    ) -> News:
        """Return records as news, and move the ends that they come to."""
        news, needed = News(), 0
        log = self._client.topics.wf_events
        for message in messages:
            partition = message.partition() or 0
            it = ends[partition]
            if message.topic() == log:
                entry = log_entry(self._client.codec, message)
                news.entries.setdefault(partition, []).append((offset_of(message), entry))
                needed = max(needed, entry.cause.definitions_position)
                it.log_offset, it.event_ms = offset_of(message) + 1, entry.time_ms
            else:
                if (retry := retry_row(message)) is not None:
                    news.retries.append(retry)
                else:
                    news.dead_letters.append(dead_letter_row(message))
                it.dead_letters_offset = offset_of(message) + 1
        for (topic, partition), offset in read_to.items():
            it = ends[partition]
            if topic == log:
                it.log_offset = max(it.log_offset, offset)
            else:
                it.dead_letters_offset = max(it.dead_letters_offset, offset)
        self._ask(consumer, ends)
        for partition, it in ends.items():
            it.lag = self._lag(consumer, partition, it)
        news.ends = {partition: _copy(it) for partition, it in ends.items()}
        if needed > self._definitions_offset or not messages:
            news.definitions = self.definitions(needed)
        return news

    def has_read_what_was_there(self, ends: Mapping[int, Ends]) -> bool:
        """Say whether a view has come to where the topics ended when `news` began."""
        log = self._client.topics.wf_events
        return all(
            offset <= (ends[partition].log_offset if topic == log else ends[partition].dead_letters_offset)
            for (topic, partition), offset in self._at_start.items()
        )

    def _ask(self, consumer: Consumer, ends: Mapping[int, Ends]) -> None:
        """Ask how far partitions go of which it is not known, for a moment at most: those first that were asked last.

        One whose leader does not answer keeps its `seen_ms`.
        """
        began, topics = now_ms(), (self._client.topics.wf_events, self._client.topics.dead_letters)
        for partition, it in sorted(ends.items(), key=lambda of_one: self._asked.get(of_one[0], 0)):
            if self._asked.get(partition, 0) > began - ASK_MS or now_ms() - began > ASKING_MS:
                return
            self._asked[partition] = began
            try:
                for topic in topics:
                    asked = TopicPartition(topic, partition)
                    _, high = consumer.get_watermark_offsets(asked, ASK_SECONDS, cached=False)
                    self._highs[topic, partition] = max(high, self._highs[topic, partition])
            except KafkaException:
                continue
            it.seen_ms = now_ms()

    def _lag(self, consumer: Consumer, partition: int, ends: Ends) -> int:
        """Return how many offsets of a partition are left to read, as far as the last answer of Kafka tells."""
        topics = self._client.topics
        lag = 0
        for topic, offset in ((topics.wf_events, ends.log_offset), (topics.dead_letters, ends.dead_letters_offset)):
            _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            self._highs[topic, partition] = high = max(high, self._highs[topic, partition])
            lag += max(0, high - offset)
        return lag


def dead_letter_row(message: Message) -> Row:
    """Return the row of a record of `dead-letters`. One that nobody of us wrote is there with its place alone."""
    read = as_dead_letter(message)
    row: Row = {
        "partition": message.partition() or 0,
        "letter_offset": offset_of(message),
        "at_ms": message.timestamp()[1],
        "retries": 0,
        "last_outcome": None,
    }
    if read is None:
        told = {"reason": "UNKNOWN", "message": "", "source_topic": "", "origin": WORKER, "mapping": None}
        return {**row, **told, "source_partition": None, "source_offset": None, "wf_run_id": _text(message.key())}
    about_a_wf_run = read.origin != MappingKind.BINDING  # the key of a record of yours is no WfRun id
    return {
        **row,
        "reason": read.reason or "UNKNOWN",
        "message": read.message,
        "source_topic": read.topic,
        "source_partition": _stored(read.source_partition),
        "source_offset": _stored(read.source_offset),
        "wf_run_id": _text(read.key) if about_a_wf_run else None,
        "origin": read.origin,
        "mapping": read.mapping,
    }


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode(errors="replace")


def retry_row(message: Message) -> Row | None:
    """Return which dead letter was retried, and as what, if a record of `dead-letters` is a note that says so."""
    found = headers_of(message) or ()
    if not is_note(found):
        return None
    headers = dict(found)
    partition, _, offset = headers.get(RETRY_OF, b"").decode(errors="replace").partition("@")
    retried = retried_in(headers)
    told = retried.place + (f" by {retried.operator}" if retried.operator else "")
    return {"partition": _number(partition), "letter_offset": _number(offset), "last_outcome": told}


def _number(text: str) -> int | None:
    return _stored(int(text)) if text.isdecimal() and len(text) <= 20 else None


def _stored(number: int) -> int | None:
    """Return a number that a database can store; None for one that only a forged header has."""
    return number if 0 <= number < 2**63 else None


def now_ms() -> int:
    """Return the time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _copy(ends: Ends) -> Ends:
    return Ends(ends.log_offset, ends.dead_letters_offset, ends.lag, ends.seen_ms, ends.event_ms)
