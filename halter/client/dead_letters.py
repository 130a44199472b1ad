"""Dead letters: reads one, and retries it once: its record goes to its topic again, as it was or corrected.

A retry writes two records in one transaction: the record itself, with a header that names the dead letter, and a note
on `dead-letters`, in the partition of the dead letter, that it was retried. Whoever retries holds the transactional id
that belongs to this dead letter alone, and then looks for such a note. So of two that retry at once exactly one does,
wherever they are, and a second retry is refused as long as the dead letter is there: the note is younger.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from halter.client.reading import offset_of
from processors.codec import CodecError, DecodeError
from processors.core.records.commands import Command
from processors.core.records.errors import HalterError
from processors.core.records.value_checks import UnfitValue
from processors.fold.inputs import (
    HEADER_PREFIX,
    INPUT_TOPICS,
    MAPPING_HEADER,
    ORIGIN_HEADER,
    Headers,
    InputCommand,
    MappingKind,
    check_command,
    key_of,
)
from processors.kafka.client_errors import lacking, lacking_id, why_given_up
from processors.kafka.fencing import FENCED
from processors.kafka.headers import headers_of
from processors.kafka.partitioner import partition_of

if TYPE_CHECKING:
    from halter.client.client import Client
    from halter.client.outcomes import Posted

RETRY_OF: Final = f"{HEADER_PREFIX}retry-of"
"""The header that names a dead letter: of the record of a retry, and of the note about it."""
RETRIED_AS: Final = f"{HEADER_PREFIX}retried-as"
"""The header of a note that has the place of the record: `external-events/3/2077`."""
WORKER: Final = "WORKER"
"""The origin of a dead letter that no binding and no sink wrote."""
OWN: Final = (RETRY_OF, f"{HEADER_PREFIX}operator", f"{HEADER_PREFIX}retry-reason")
"""The headers that a retry adds to its record."""
CALL_SECONDS: Final = 30.0
SEEN_SECONDS: Final = 60.0
"""How long to wait until transactions that are open on `dead-letters` have ended."""
UNCLEAR_SECONDS: Final = 10.0
"""How long somebody whose transaction has failed waits for that of somebody else."""
WAIT_SECONDS: Final = 0.05
FIELDS_THAT_STAY: Final = ("external_event_id",)
"""A corrected record is the same event."""


Header: TypeAlias = tuple[str, str | bytes | None]


class NoDeadLetter(HalterError):
    """There is no dead letter at a place. Whoever named it looks at the list."""


class CannotRetry(HalterError):
    """A dead letter cannot be retried, or not so. Whoever retries it does what the sentence says."""


class RetriedBefore(CannotRetry):
    """A dead letter was retried already, or somebody else retries it now. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class DeadLetterRead:
    """A dead letter as it is on `dead-letters`."""

    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    """Those of the record. What the engine has added is below."""
    reason: str
    message: str
    topic: str
    """The topic of the record: an input without the prefix of the installation. With a mapping, any topic's whole name.
    """
    source_partition: int
    source_offset: int
    mapping: str | None
    """The binding or the sink that wrote it; None: a worker did."""
    origin: str
    """WORKER, BINDING or SINK: what wrote it."""
    is_cut: bool
    """True if the record was too large, and only its beginning is here."""

    @property
    def name(self) -> str:
        """Its name in commands and headers: `3@1041`."""
        return f"{self.partition}@{self.offset}"

    @property
    def source(self) -> str:
        """The place of its record: `external-events[3]@17`."""
        return f"{self.topic}[{self.source_partition}]@{self.source_offset}"


@dataclass(frozen=True, slots=True)
class Retried:
    """A retry: where its record is now."""

    topic: str
    """Without the prefix of the installation."""
    partition: int
    offset: int
    operator: str | None = None
    reason: str | None = None

    @property
    def place(self) -> str:
        """The place as it stands in a sentence."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


def read_dead_letter(client: "Client", partition: int, offset: int) -> DeadLetterRead:
    """Read a dead letter. Raises NoDeadLetter, and what reading raises."""
    topic = client.topics.dead_letters
    if not 0 <= partition < client.topics.partitions:
        raise NoDeadLetter(f"expected a partition from 0 to {client.topics.partitions - 1}, found {partition}")
    for batch in client.reader.batches(topic, partition, offset, offset + 1):
        for message in batch:
            if offset_of(message) == offset and (letter := as_dead_letter(message)) is not None:
                return letter
    begin, end = client.reader.bounds(topic, partition)
    raise NoDeadLetter(
        f"there is no dead letter {partition}@{offset}: {topic}[{partition}] has offsets {begin} to {end - 1}"
        if begin < end
        else f"there is no dead letter {partition}@{offset}: {topic}[{partition}] is empty"
    )


def as_dead_letter(message: Message) -> DeadLetterRead | None:
    """Return a record of `dead-letters` as a dead letter; None if it is something else, such as the note of a retry."""
    headers = headers_of(message) or ()
    if is_note(headers):
        return None
    ours = [index for index, (name, _) in enumerate(headers) if name == f"{HEADER_PREFIX}topic"]
    if not ours:
        return None
    begin = ours[-1]  # the record may have been a dead letter before, and have such headers of its own
    told = {name: value.decode(errors="replace") for name, value in headers[begin:]}
    try:
        place = int(told[f"{HEADER_PREFIX}partition"]), int(told[f"{HEADER_PREFIX}offset"])
    except (KeyError, ValueError):
        return None
    mapping = told.get(MAPPING_HEADER)
    return DeadLetterRead(
        message.partition() or 0,
        offset_of(message),
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(headers[:begin]),
        told.get(f"{HEADER_PREFIX}reason", ""),
        told.get(f"{HEADER_PREFIX}message", ""),
        told[f"{HEADER_PREFIX}topic"],
        *place,
        mapping,
        WORKER if mapping is None else told.get(ORIGIN_HEADER, MappingKind.BINDING),
        f"{HEADER_PREFIX}headers_dropped" in told,
    )


def is_note(headers: Headers) -> bool:
    """Return True for the headers of a note that a dead letter was retried. No producer of records can make one."""
    names = {name for name, _ in headers}
    return RETRIED_AS in names and f"{HEADER_PREFIX}topic" not in names


def command_of(client: "Client", letter: DeadLetterRead) -> InputCommand | None:
    """Return the command that a dead letter holds; None if its bytes are none."""
    try:
        decoded: Any = client.codec.decode(letter.value or b"")
    except DecodeError:
        return None
    return decoded if type(decoded).__name__ in _TAKEN else None


_TAKEN: Final = frozenset(name for topic in INPUT_TOPICS.values() for name in topic.records)


def corrected(command: InputCommand, changes: Mapping[str, Any]) -> InputCommand:
    """Return a command with other values in some fields. Raises CannotRetry for a field that there is not."""
    names = [it.name for it in fields(command)]
    for name in changes:
        if name not in names:
            raise CannotRetry(f"{type(command).__name__} has no field '{name}': it has {', '.join(names)}")
    made = replace(command, **changes)
    _expect_same_event(command, made)
    return made


def _expect_same_event(before: InputCommand, after: InputCommand) -> None:
    """Raise CannotRetry if a corrected record is another event than the one of a dead letter."""
    for name in FIELDS_THAT_STAY:
        stays = getattr(before, name, None)
        if stays is not None and getattr(after, name, None) != stays:
            raise CannotRetry(f"{name} stays '{stays}': a retry is the same event; `halter send` posts another one")


def retry(
    client: "Client",
    letter: DeadLetterRead,
    command: InputCommand | None = None,
    value: bytes | None = None,
    *,
    operator: str | None = None,
    reason: str | None = None,
) -> Retried:
    """Send the record of a dead letter again: as it was, as a command (corrected), or with other bytes. Once.

    Raises CannotRetry, RetriedBefore, and what reading and writing raise. After an error of Kafka the record may be
    there or not: the next retry says which.
    """
    topic, key, sent, partition = record_to_send(client, letter, command, value)
    headers: list[Header] = [(name, data) for name, data in letter.headers if name not in OWN]
    headers.append((RETRY_OF, letter.name.encode()))
    who: list[Header] = [(f"{HEADER_PREFIX}{name}", text.encode()) for name, text in _asked(operator, reason) if text]
    placed: tuple[int, int] | None = None
    try:
        with _holding(client, letter) as producer:
            before = retried_as(client, letter)
            if before is not None:
                raise RetriedBefore(f"dead letter {letter.name} was retried before: {_told(before)}")
            producer.begin_transaction()
            placed = _sent(producer, client.topics.prefix + topic, partition, key, sent, [*headers, *who])
            as_ = f"{topic}/{placed[0]}/{placed[1]}".encode()
            note: list[Header] = [(RETRY_OF, letter.name.encode()), (RETRIED_AS, as_), *who]
            _sent(producer, client.topics.dead_letters, letter.partition, letter.key, None, note)
            producer.commit_transaction(CALL_SECONDS)
    except KafkaException as exception:
        return _after(exception, client, letter, topic, placed)
    return Retried(topic, *placed, operator, reason)


def retry_and_tell(
    client: "Client",
    letter: DeadLetterRead,
    command: InputCommand | None = None,
    value: bytes | None = None,
    *,
    operator: str | None = None,
    reason: str | None = None,
) -> "tuple[Retried, Posted | None]":
    """Retry as `retry` does. Return also what the outcome is asked of; None if no log of a WfRun tells it."""
    client.definitions()
    ends = [client.reader.end(client.topics.wf_events, it) for it in range(client.topics.partitions)]
    retried = retry(client, letter, command, value, operator=operator, reason=reason)
    sent = command or command_of(client, letter)
    if not isinstance(sent, Command):
        return retried, None
    return retried, client._posted(sent, retried.partition, retried.offset, ends[retried.partition])


def _after(
    exception: KafkaException, client: "Client", letter: DeadLetterRead, topic: str, placed: tuple[int, int] | None
) -> Retried:
    """Return the retry if it was committed all the same: who else takes the id may have kept us from hearing it.

    Raises RetriedBefore if it is somebody else's, or is about to be.
    """
    until = time.monotonic() + UNCLEAR_SECONDS
    while (found := retried_as(client, letter)) is None and placed is not None and time.monotonic() < until:
        time.sleep(WAIT_SECONDS)
    if found is not None and placed is not None and (found.topic, found.partition, found.offset) == (topic, *placed):
        return found
    if found is not None:
        raise RetriedBefore(f"dead letter {letter.name} was retried before: {_told(found)}") from exception
    if exception.args[0].code() in FENCED:
        raise RetriedBefore(f"somebody else retries dead letter {letter.name} now: nothing was sent") from exception
    raise client.settings.explain(exception, f"retrying dead letter {letter.name}") from exception


def _asked(operator: str | None, reason: str | None) -> tuple[tuple[str, str | None], ...]:
    return ("operator", operator), ("retry-reason", reason)


def _told(before: Retried) -> str:
    who = f" by {before.operator}" if before.operator else ""
    why = f" ({before.reason})" if before.reason else ""
    return f"its record is {before.place}{who}{why}"


def record_to_send(
    client: "Client", letter: DeadLetterRead, command: InputCommand | None = None, value: bytes | None = None
) -> tuple[str, bytes | None, bytes, int]:
    """Return topic, key, value and partition of the record that a retry sends. Raises CannotRetry."""
    if letter.mapping is not None:
        raise CannotRetry(
            f"dead letter {letter.name} is of the {letter.origin.lower()} '{letter.mapping}', and its record is "
            f"{letter.source}: write a corrected record to that topic, which is taken as a new one"
        )
    if letter.topic not in INPUT_TOPICS:
        raise CannotRetry(f"dead letter {letter.name} is of the topic '{letter.topic}', which workers do not read")
    key = letter.key
    after = command if value is None else command_of(client, replace(letter, value=value))
    if after is not None and (before := command_of(client, letter)) is not None:
        _expect_same_event(before, after)
    if command is not None:
        try:
            check_command(command, client.codec)
            value = client.codec.encode(command)
        except (UnfitValue, CodecError) as unfit:
            raise CannotRetry(f"dead letter {letter.name}, corrected: {unfit}") from unfit
        key = key_of(command).encode()
    elif value is None:
        if letter.is_cut:
            raise CannotRetry(f"dead letter {letter.name} has only the beginning of its record: give its value")
        value = letter.value
    if value is None:
        raise CannotRetry(f"dead letter {letter.name} has no value: give one")
    if not INPUT_TOPICS[letter.topic].co_partitioned:
        return letter.topic, key, value, 0
    if not key:
        raise CannotRetry(f"dead letter {letter.name} has no key, and its value no command that says it: correct it")
    return letter.topic, key, value, partition_of(key, client.topics.partitions)


@contextmanager
def _holding(client: "Client", letter: DeadLetterRead) -> Iterator[Producer]:
    """Give a producer that holds the transactional id of a dead letter: whoever held it before can commit no more."""
    own_id = f"{client.topics.group}-retry-{letter.partition}-{letter.offset}"
    producer = Producer(
        client.settings.producer(transactional_id=own_id, message_max_bytes=client.topics.message_bytes_max)
    )
    try:
        producer.init_transactions(CALL_SECONDS)
    except KafkaException as exception:
        raise KafkaException(lacking_id(own_id, exception.args[0])) from exception
    try:
        yield producer
    except RetriedBefore:
        raise
    except BaseException:
        _abort(producer)
        raise


def _abort(producer: Producer) -> None:
    try:
        producer.abort_transaction(CALL_SECONDS)
    except KafkaException:
        return  # none is open, or somebody else has ended it


def _sent(
    producer: Producer,
    topic: str,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, str | bytes | None]],
) -> tuple[int, int]:
    """Produce a record in the open transaction, and return partition and offset."""
    placed: list[tuple[int, int]] = []
    failed: list[KafkaError] = []

    def told(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed.append(error)
        else:
            placed.append((message.partition() or 0, offset_of(message)))

    try:
        producer.produce(topic, value, key, partition, on_delivery=told, headers=headers)
    except KafkaException as exception:
        failed.append(exception.args[0])
    producer.flush(CALL_SECONDS)
    if not placed:
        error = failed[0] if failed else KafkaError(KafkaError._MSG_TIMED_OUT)
        raise KafkaException(lacking("WRITE", topic, why_given_up(producer, error)))
    return placed[0]


def retried_as(client: "Client", letter: DeadLetterRead, now: Callable[[], float] = time.monotonic) -> Retried | None:
    """Return the retry of a dead letter; None if there was none.

    It reads what stands behind the dead letter, up to the end of the partition, and waits until the transactions that
    are open there have ended.
    """
    topic, partition = client.topics.dead_letters, letter.partition
    end = client.reader.high([topic], partition)[topic]
    start, until = letter.offset + 1, now() + SEEN_SECONDS
    while start < end:
        for message in client.reader.read(topic, partition, start):
            headers = headers_of(message) or ()
            if is_note(headers) and dict(headers).get(RETRY_OF) == letter.name.encode():
                return retried_in(dict(headers))
            start = offset_of(message) + 1
        if client.reader.bounds(topic, partition)[1] >= end:
            return None
        time.sleep(WAIT_SECONDS)
        if now() > until:
            raise CannotRetry(
                f"a transaction on {topic}[{partition}] stays open, so that nobody can tell whether dead letter "
                f"{letter.name} was retried: try again"
            )
    return None


def retried_in(headers: Mapping[str, bytes]) -> Retried:
    """Return the retry that a note tells of."""
    told = {name: value.decode(errors="replace") for name, value in headers.items()}
    topic, partition, offset = (["", "", *told[RETRIED_AS].rsplit("/", 2)])[-3:]
    place = [int(it) if it.isdecimal() else -1 for it in (partition, offset)]
    who = (told.get(f"{HEADER_PREFIX}{name}") for name in ("operator", "retry-reason"))
    return Retried(topic, place[0], place[1], *who)


def values_of(text: str) -> dict[str, Any]:
    """Return the fields that a JSON object has. Raises CannotRetry."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CannotRetry(f"expected a JSON object of fields, found no JSON ({error})") from None
    if not isinstance(found, dict):
        raise CannotRetry(f"expected a JSON object of fields, found {type(found).__name__}")
    return found
