"""Turns records of input topics into commands or dead letters. Pure: no Kafka, no clock, no state.

A record that is wrong by itself is found here, before any rule of the core sees it. A command that a rule refuses
becomes a `Rejected` event instead. A dead letter keeps key, value and headers byte for byte.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias, get_args

from processors.codec import Codec, DecodeError, UnknownSchema
from processors.core.records.commands import (
    Command,
    CorrelatedEvent,
    CorrelationCommand,
    DefinitionCommand,
    ExternalEvent,
    OperatorCommand,
    SkipRecord,
    TaskWorkerCommand,
)
from processors.core.records.events import Asked
from processors.core.records.topic_names import (
    CORRELATED_EVENTS,
    CORRELATION_COMMANDS,
    DEFINITION_COMMANDS,
    EXTERNAL_EVENTS,
    OPERATOR_COMMANDS,
    TASK_REPORTS,
    WF_COMMANDS,
)
from processors.core.records.value_checks import OversizedValue, UnfitValue
from processors.core.records.values import TIME_MS_MAX
from processors.kafka.partitioner import partition_of

VALUE_BYTES_MAX: Final = 256 * 1024
"""Size limit of the value of an input record."""

COMMAND_ID_LENGTH_MAX: Final = 256
"""Most characters of a `command_id`. It stands in the cause of every event that the command brings about."""

OPERATOR_LENGTH_MAX: Final = 256
"""Most characters of an `operator`."""

REASON_LENGTH_MAX: Final = 1_000
"""Most characters of a `reason` that an operator gives. Rows repeat it."""

DEAD_LETTER_BYTES_MAX: Final = 2 * 1024 * 1024
"""Size of the largest record that is kept whole on `dead-letters`. It is more than an input takes uncompressed."""

DEAD_LETTER_BYTES_KEPT: Final = 256 * 1024
"""Bytes of the key and of the value that are kept of a larger record."""

HEADER_PREFIX: Final = "halter."
"""Begins the names of the headers that a dead letter gets, besides those that its record had."""

MAPPING_HEADER: Final = f"{HEADER_PREFIX}mapping"
"""The header of a dead letter from a binding or a sink that has its name. Its `halter.topic` is any topic's whole name.
Dead letters of the workers do not have it; their `halter.topic` is an input, without the prefix of the installation.
"""

ORIGIN_HEADER: Final = f"{HEADER_PREFIX}origin"
"""The header beside it that says whether that is a binding or a sink: a MappingKind."""


class MappingKind(StrEnum):
    """What makes records of records, and writes dead letters as workers do."""

    BINDING = "BINDING"
    SINK = "SINK"


Headers: TypeAlias = tuple[tuple[str, bytes], ...]


class InputRecord(NamedTuple):
    """A record as it came from Kafka. `topic` is without the prefix of the installation.

    A NamedTuple, as `OutputRecord` is, because one is made for every record that is read.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """LogAppendTime, the broker's clock. The engine has no other."""
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    """Names and values; a header without a value has an empty one here."""


class DeadLetterReason(StrEnum):
    """The reason why a record could not be taken."""

    NO_VALUE = "NO_VALUE"
    """A tombstone. Only compacted topics of rows have those."""
    TOO_LARGE = "TOO_LARGE"
    WRONG_TIME = "WRONG_TIME"
    """The time is not the broker's: the topic was made with CreateTime, and a producer has dated the record."""
    EMPTY_KEY = "EMPTY_KEY"
    UNDECODABLE = "UNDECODABLE"
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"
    WRONG_RECORD = "WRONG_RECORD"
    """The record belongs on another topic."""
    KEY_MISMATCH = "KEY_MISMATCH"
    """The key is not the id or name that the record is about."""
    WRONG_PARTITION = "WRONG_PARTITION"
    """The producer does not partition by murmur2."""
    QUARANTINE_FULL = "QUARANTINE_FULL"
    """Its WfRun is in quarantine, and as many inputs are kept for it as may be."""
    SKIPPED = "SKIPPED"
    """An operator had it skipped."""
    NOT_CORRELATED = "NOT_CORRELATED"
    """No WfRun registered its key in time."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The reason why a record cannot be taken. The message says what was expected and what was found."""

    reason: DeadLetterReason
    message: str


InputCommand: TypeAlias = Command | DefinitionCommand | OperatorCommand | CorrelationCommand


class ReadInput(NamedTuple):
    """An input record and the command or dead letter that it holds. A NamedTuple, as InputRecord is."""

    record: InputRecord
    decoded: InputCommand | DeadLetter | None = None
    """None: the record is not read yet, or reading it raised. The fold then reads it, and raises the same."""
    definitions_position: int = 0
    """The position of `definitions` that the record's producer saw; 0 if it saw none."""
    may_lack_definition: bool = False
    """Whether it may name a definition that was not known when it was read."""


@dataclass(frozen=True, slots=True)
class InputTopic:
    """The records that an input topic takes, and their keys."""

    records: frozenset[str]
    key_is: str
    key_of: Callable[[Any], str]
    """Returns the key of a record, as text."""
    co_partitioned: bool
    """True if the topic has as many partitions as there are shards; otherwise it has one."""


def names(*records: type) -> frozenset[str]:
    """Return the names of the schemas of these classes."""
    return frozenset(record.__name__ for record in records)


def partition_key(partition: int) -> str:
    """Return the key of records that are about a whole partition. It has a slash, so it is no WfRun's id."""
    return f"partition/{partition}"


def operator_key(command: OperatorCommand) -> str:
    """Return a WfRun's id, or the key of the partition in which a record is to be skipped."""
    return partition_key(command.partition) if isinstance(command, SkipRecord) else command.wf_run_id


INPUT_TOPICS: Final[Mapping[str, InputTopic]] = {
    WF_COMMANDS: InputTopic(
        names(*get_args(Command)) - names(ExternalEvent, *get_args(TaskWorkerCommand)),
        "wf_run_id",
        lambda command: command.wf_run_id,
        co_partitioned=True,
    ),
    EXTERNAL_EVENTS: InputTopic(
        names(ExternalEvent), "wf_run_id", lambda command: command.wf_run_id, co_partitioned=True
    ),
    TASK_REPORTS: InputTopic(
        names(*get_args(TaskWorkerCommand)), "wf_run_id", lambda command: command.wf_run_id, co_partitioned=True
    ),
    DEFINITION_COMMANDS: InputTopic(
        names(*get_args(DefinitionCommand)), "name", lambda command: command.name, co_partitioned=False
    ),
    OPERATOR_COMMANDS: InputTopic(
        names(*get_args(OperatorCommand)), "wf_run_id (SkipRecord: partition/<n>)", operator_key, co_partitioned=True
    ),
    CORRELATED_EVENTS: InputTopic(
        names(CorrelatedEvent), "correlation_key", lambda command: command.correlation_key, co_partitioned=True
    ),
    CORRELATION_COMMANDS: InputTopic(
        names(*get_args(CorrelationCommand)) - names(CorrelatedEvent),
        "correlation_key",
        lambda command: command.correlation_key,
        co_partitioned=True,
    ),
}

_TOPIC_OF: Final[Mapping[type, str]] = {
    command: next(name for name, topic in INPUT_TOPICS.items() if command.__name__ in topic.records)
    for command in get_args(InputCommand)
}


def topic_of(command: InputCommand) -> str:
    """Return the input topic that takes a command, without the prefix of the installation."""
    return _TOPIC_OF[type(command)]


def key_of(command: InputCommand) -> str:
    """Return the key of the record that carries a command."""
    return INPUT_TOPICS[topic_of(command)].key_of(command)


CORRELATION_INPUTS: Final = (CORRELATED_EVENTS, CORRELATION_COMMANDS)
"""The inputs of every shard that are about keys. What becomes of them is not on the log of the WfRuns."""

SHARD_INPUTS: Final = tuple(
    name for name, topic in INPUT_TOPICS.items() if topic.co_partitioned and name not in CORRELATION_INPUTS
)
"""The other inputs of every shard, from the partition with its number: those that are about WfRuns."""


def wf_run_id_of(decoded: object) -> str | None:
    """Return the id of the WfRun that a command is about; None if it is about none, or is no command.

    What tells the owner of a key of a WfRun is about the key: the WfRun lives in another partition.
    """
    return None if isinstance(decoded, CorrelationCommand) else getattr(decoded, "wf_run_id", None)


def command_id_of(decoded: object) -> str | None:
    """Return the id by which its producer knows a command; None if it has none, or is no command.

    WfRuns remember the ids of what comes on `wf-commands`: the event id of a RunWfAndPost is none of those.
    """
    if isinstance(decoded, ExternalEvent):
        return decoded.external_event_id
    return getattr(decoded, "command_id", None)


def asked_in(command: InputCommand) -> Asked | None:
    """Return who asks for a command and why; None if it does not say so."""
    operator, reason = getattr(command, "operator", None), getattr(command, "reason", None)
    return Asked(operator, reason) if operator or reason else None


_LENGTHS: Final = {
    "command_id": COMMAND_ID_LENGTH_MAX,
    "operator": OPERATOR_LENGTH_MAX,
    "reason": REASON_LENGTH_MAX,
}
_BOUNDED: Final[Mapping[type, tuple[tuple[str, int], ...]]] = {
    command: tuple((it.name, _LENGTHS[it.name]) for it in fields(command) if it.name in _LENGTHS)
    for command in get_args(InputCommand)
}
"""Command -> its texts that the engine repeats, with the most characters that each may have."""


def too_long(command: InputCommand) -> str | None:
    """Return a sentence about a text of a command that has too many characters; None if there is none."""
    for name, most in _BOUNDED[type(command)]:
        text = getattr(command, name)
        if text is not None and len(text) > most:
            return f"expected a {name} of at most {most} characters, found {len(text)}"
    return None


def check_command(command: object, codec: Codec) -> None:
    """Check a command before it is sent. Raises UnfitValue.

    The fold's `read_input` would not take such a command, or would take it for another. `check_size` is for its bytes.
    """
    kind = type(command)
    if kind not in _BOUNDED:
        raise UnfitValue("command", (), f"expected a command, found {kind.__name__}")
    codec.check_record(command)
    check_made(command)  # type: ignore[arg-type]  # it is a command


def check_made(command: InputCommand) -> None:
    """Check a command whose fields fit its schema: what `check_command` checks besides. Raises UnfitValue."""
    kind = type(command)
    sentence = too_long(command)
    if sentence is not None:
        raise OversizedValue(kind.__name__, (), sentence)
    topic = INPUT_TOPICS[_TOPIC_OF[kind]]
    if not topic.key_of(command):
        raise UnfitValue(topic.key_is, (), "expected the key of a record, found an empty text")


def check_size(command: InputCommand, value: bytes) -> None:
    """Check that the bytes of a command are not too many for the fold. Raises OversizedValue."""
    if len(value) > VALUE_BYTES_MAX:
        sentence = f"expected at most {VALUE_BYTES_MAX} bytes, found {len(value)}"
        raise OversizedValue(type(command).__name__, (), sentence)


def read_input(record: InputRecord, codec: Codec, partitions: int) -> InputCommand | DeadLetter:
    """Return the command that a record holds, or a dead letter with the reason (rule unreadable-input-is-dead-letter).

    Raises nothing, whatever the bytes are; except RegistryUnavailable, if a Schema Registry does not answer. That is
    not the record's fault. `partitions` is the number of shards, and of partitions of every co-partitioned topic.
    """
    topic = INPUT_TOPICS[record.topic]
    value = record.value
    if value is None:
        return DeadLetter(DeadLetterReason.NO_VALUE, "expected a value, found none (a tombstone)")
    if len(value) > VALUE_BYTES_MAX:
        return DeadLetter(
            DeadLetterReason.TOO_LARGE, f"expected a value of at most {VALUE_BYTES_MAX} bytes, found {len(value)}"
        )
    if not 0 <= record.timestamp_ms <= TIME_MS_MAX:
        return DeadLetter(
            DeadLetterReason.WRONG_TIME,
            f"expected a time from 1970 to 9999, which is 0 to {TIME_MS_MAX} ms, found {record.timestamp_ms}",
        )
    if not record.key:
        return DeadLetter(DeadLetterReason.EMPTY_KEY, f"expected {topic.key_is} as the key of the record, found no key")
    try:
        # The name comes first: a record that does not belong here is not decoded at all.
        name = codec.record_name(value)
        if name not in topic.records:
            return DeadLetter(
                DeadLetterReason.WRONG_RECORD,
                f"expected one of {', '.join(sorted(topic.records))} on {record.topic}, found {name}",
            )
        command: Any = codec.decode(value)
    except UnknownSchema as error:
        return DeadLetter(DeadLetterReason.UNKNOWN_SCHEMA, str(error))
    except DecodeError as error:
        return DeadLetter(DeadLetterReason.UNDECODABLE, str(error))
    sentence = too_long(command)
    if sentence is not None:
        return DeadLetter(DeadLetterReason.TOO_LARGE, sentence)
    key = topic.key_of(command)
    if record.key != key.encode():
        return DeadLetter(
            DeadLetterReason.KEY_MISMATCH,
            f"expected {topic.key_is} as the key of the record, '{shortened(key)}' for this {name}, found "
            f"'{shortened(record.key.decode(errors='backslashreplace'))}'",
        )
    if isinstance(command, SkipRecord):
        # Its producer chooses the partition, which is that of the record to skip.
        if record.partition != command.partition:
            return DeadLetter(
                DeadLetterReason.WRONG_PARTITION,
                f"expected a SkipRecord for partition {command.partition} in that partition, found it in partition "
                f"{record.partition}",
            )
        return command
    partition = partition_of(record.key, partitions) if topic.co_partitioned else 0
    if record.partition != partition:
        return DeadLetter(
            DeadLetterReason.WRONG_PARTITION,
            f"expected key '{shortened(key)}' in partition {partition} (murmur2 of the key modulo "
            f"{partitions if topic.co_partitioned else 1}), found it in partition {record.partition}",
        )
    return command  # type: ignore[no-any-return]


def shortened(text: str) -> str:
    """Return a text as it stands in a sentence: at most 80 characters."""
    return text if len(text) <= 80 else text[:77] + "..."


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """A record of `dead-letters`: the record as it was, with headers that say where it was and why it is here."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def dead_letter_record(record: InputRecord, dead_letter: DeadLetter) -> DeadLetterRecord:
    """Return a record of `dead-letters` for an input that the workers cannot take."""
    return letter(record, dead_letter.reason.value, dead_letter.message)


def letter(
    record: InputRecord,
    reason: str,
    message: str,
    mapping: str | None = None,
    kind: MappingKind = MappingKind.BINDING,
) -> DeadLetterRecord:
    """Return a record of `dead-letters`: key, value and headers untouched, and headers of ours added.

    `mapping` is the name of the binding or sink that writes it, and `kind` says which of both that is.
    A record may come in compressed that is too large for any topic. Then its first bytes are kept, and headers have the
    size and SHA-256 of the whole. The whole is in the input topic until its retention ends.
    """
    added = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp_ms": str(record.timestamp_ms),
        "reason": reason,
        "message": message,
    }
    key, value, headers = record.key, record.value, record.headers
    size = len(key or b"") + len(value or b"") + sum(len(name) + len(data) for name, data in headers)
    if size > DEAD_LETTER_BYTES_MAX:
        for name, data in (("key", key), ("value", value)):
            if data is not None and len(data) > DEAD_LETTER_BYTES_KEPT:
                added |= {f"{name}_bytes": str(len(data)), f"{name}_sha256": sha256(data).hexdigest()}
        added["headers_dropped"] = str(len(headers))
        key, value = (None if data is None else data[:DEAD_LETTER_BYTES_KEPT] for data in (key, value))
        headers = ()
    ours = ((HEADER_PREFIX + name, text.encode(errors="backslashreplace")) for name, text in added.items())
    named: Headers = ()
    if mapping is not None:
        named = (MAPPING_HEADER, mapping.encode(errors="backslashreplace")), (ORIGIN_HEADER, kind.value.encode())
    return DeadLetterRecord(key, value, (*headers, *ours, *named))


def mapping_of(headers: Headers) -> str | None:
    """Return the name of the binding or sink that a dead letter is from; None if it is from a worker.

    A record may have had a header of that name before. Those of the dead letter itself are behind.
    """
    for name, value in reversed(headers):
        if name == MAPPING_HEADER:
            return value.decode(errors="backslashreplace")
        if name == f"{HEADER_PREFIX}topic":
            return None
    return None
