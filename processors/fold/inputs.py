"""What makes a record of an input topic a command, or a dead letter. Pure: no Kafka, no clock, no state.

Everything that is wrong with a record by itself is found here, before any rule of the core sees it; what a rule
has against a command is a `Rejected` event instead. A dead letter keeps key, value and headers byte for byte.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias, get_args

from processors.codec import Codec, DecodeError, UnknownSchema
from processors.core.records.commands import (
    Command,
    DefinitionCommand,
    ExternalEvent,
    OperatorCommand,
    ReportTaskRun,
    SkipRecord,
)
from processors.core.records.topic_names import (
    DEFINITION_COMMANDS,
    EXTERNAL_EVENTS,
    OPERATOR_COMMANDS,
    TASK_REPORTS,
    WF_COMMANDS,
)
from processors.core.records.values import OversizedValue, UnfitValue
from processors.kafka.partitioner import partition_of

VALUE_BYTES_MAX: Final = 256 * 1024
"""The largest value that an input record may have."""

COMMAND_ID_LENGTH_MAX: Final = 256
"""Characters of a `command_id`: it stands in the cause of every event that the command brings about."""

OPERATOR_LENGTH_MAX: Final = 256
"""Characters of an `operator`."""

REASON_LENGTH_MAX: Final = 1_000
"""Characters of a `reason` that an operator gives: rows repeat it."""

TIME_MS_MAX: Final = 253_402_300_799_999
"""The latest time that an input record may have: the end of the year 9999. Deadlines a thousand years on still fit."""

DEAD_LETTER_BYTES_MAX: Final = 2 * 1024 * 1024
"""The largest record that is kept whole on `dead-letters`: above whatever an input takes uncompressed."""

DEAD_LETTER_BYTES_KEPT: Final = 256 * 1024
"""How much of key and value is kept of a larger one."""

HEADER_PREFIX: Final = "halter."
"""Begins the names of the headers that a dead letter gets, beside those its record had."""

Headers: TypeAlias = tuple[tuple[str, bytes], ...]


class InputRecord(NamedTuple):
    """A record as it came from Kafka. `topic` is without the prefix of the installation.

    A NamedTuple, as `OutputRecord` is: one is made for every record that is read.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """LogAppendTime: the broker's clock, which is the only one there is."""
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    """A header without a value has an empty one here."""


class DeadLetterReason(StrEnum):
    """Why a record could not be taken."""

    NO_VALUE = "NO_VALUE"
    """A tombstone; only tables have those."""
    TOO_LARGE = "TOO_LARGE"
    WRONG_TIME = "WRONG_TIME"
    """Not the broker's clock: the topic was made with CreateTime, and a producer has dated the record."""
    EMPTY_KEY = "EMPTY_KEY"
    UNDECODABLE = "UNDECODABLE"
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"
    WRONG_RECORD = "WRONG_RECORD"
    """Another topic's record."""
    KEY_MISMATCH = "KEY_MISMATCH"
    """The key is not what the record is about."""
    WRONG_PARTITION = "WRONG_PARTITION"
    """The producer partitions otherwise than murmur2."""
    QUARANTINE_FULL = "QUARANTINE_FULL"
    """Its WfRun is in quarantine, and as much is kept for it as may be."""
    SKIPPED = "SKIPPED"
    """An operator had it passed over."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot be taken, and why. The message says what was expected and what was found."""

    reason: DeadLetterReason
    message: str


InputCommand: TypeAlias = Command | DefinitionCommand | OperatorCommand


@dataclass(frozen=True, slots=True)
class InputTopic:
    """What an input topic takes."""

    records: frozenset[str]
    key_is: str
    key_of: Callable[[Any], str]
    """From a record to its key, as text."""
    co_partitioned: bool
    """False: it has one partition."""


def names(*records: type) -> frozenset[str]:
    """Names of the schemas of these classes."""
    return frozenset(record.__name__ for record in records)


def partition_key(partition: int) -> str:
    """The key of what is about a whole partition. No id of a WfRun has a slash, so none is the same."""
    return f"partition/{partition}"


def operator_key(command: OperatorCommand) -> str:
    """A WfRun's id, or the key of the partition in which a record is to be skipped."""
    return partition_key(command.partition) if isinstance(command, SkipRecord) else command.wf_run_id


INPUT_TOPICS: Final[Mapping[str, InputTopic]] = {
    WF_COMMANDS: InputTopic(
        names(*get_args(Command)) - names(ExternalEvent, ReportTaskRun),
        "wf_run_id",
        lambda command: command.wf_run_id,
        co_partitioned=True,
    ),
    EXTERNAL_EVENTS: InputTopic(
        names(ExternalEvent), "wf_run_id", lambda command: command.wf_run_id, co_partitioned=True
    ),
    TASK_REPORTS: InputTopic(names(ReportTaskRun), "wf_run_id", lambda command: command.wf_run_id, co_partitioned=True),
    DEFINITION_COMMANDS: InputTopic(
        names(*get_args(DefinitionCommand)), "name", lambda command: command.name, co_partitioned=False
    ),
    OPERATOR_COMMANDS: InputTopic(
        names(*get_args(OperatorCommand)), "wf_run_id (SkipRecord: partition/<n>)", operator_key, co_partitioned=True
    ),
}

_TOPIC_OF: Final[Mapping[type, str]] = {
    command: next(name for name, topic in INPUT_TOPICS.items() if command.__name__ in topic.records)
    for command in get_args(InputCommand)
}


def topic_of(command: InputCommand) -> str:
    """The input topic that takes a command, without the prefix of the installation."""
    return _TOPIC_OF[type(command)]


def key_of(command: InputCommand) -> str:
    """The key of the record that carries a command."""
    return INPUT_TOPICS[topic_of(command)].key_of(command)


_LENGTHS: Final = {
    "command_id": COMMAND_ID_LENGTH_MAX,
    "operator": OPERATOR_LENGTH_MAX,
    "reason": REASON_LENGTH_MAX,
}
_BOUNDED: Final[Mapping[type, tuple[tuple[str, int], ...]]] = {
    command: tuple((it.name, _LENGTHS[it.name]) for it in fields(command) if it.name in _LENGTHS)
    for command in get_args(InputCommand)
}
"""The texts of a command that engine and operators repeat, and how many characters each may have."""


def too_long(command: InputCommand) -> str | None:
    """A sentence about a text of a command that has too many characters; None if there is none."""
    for name, most in _BOUNDED[type(command)]:
        text = getattr(command, name)
        if text is not None and len(text) > most:
            return f"expected a {name} of at most {most} characters, found {len(text)}"
    return None


def check_command(command: object, codec: Codec) -> None:
    """Raises UnfitValue for what `read_input` would not take, and for what it would take for something else.

    Asked before a command is sent; how large it is as bytes is seen when there are some.
    """
    kind = type(command)
    if kind not in _BOUNDED:
        raise UnfitValue("command", (), f"expected a command, found {kind.__name__}")
    codec.check_record(command)
    sentence = too_long(command)  # type: ignore[arg-type]  # it is one
    if sentence is not None:
        raise OversizedValue(kind.__name__, (), sentence)
    topic = INPUT_TOPICS[_TOPIC_OF[kind]]
    if not topic.key_of(command):
        raise UnfitValue(topic.key_is, (), "expected the key of a record, found an empty text")


# (rule unreadable-input-is-dead-letter)
def read_input(record: InputRecord, codec: Codec, partitions: int) -> InputCommand | DeadLetter:
    """Return the command that a record holds, or why it holds none. Raises nothing, whatever its bytes are.

    (With a Schema Registry that does not answer, RegistryUnavailable: that is not the record's fault.)

    `partitions`: how many shards there are, which is the number of partitions of every co-partitioned topic.
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
        # By its name first: what does not belong here is not decoded at all.
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
        # Its producer chooses the partition: the one of the record to skip.
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
    """A text for a sentence."""
    return text if len(text) <= 80 else text[:77] + "..."


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """What goes to `dead-letters`: the record as it was, and headers that say where it was and why it is there."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def dead_letter_record(record: InputRecord, dead_letter: DeadLetter) -> DeadLetterRecord:
    """Return a record of `dead-letters`: key, value and headers untouched, with headers of ours added.

    Compressed, a record may come in that no topic takes back. Of such a one the first bytes are kept, and size and
    SHA-256 of the whole stand in headers: it is still in the input topic, until its retention ends.
    """
    added = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp_ms": str(record.timestamp_ms),
        "reason": dead_letter.reason.value,
        "message": dead_letter.message,
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
    return DeadLetterRecord(key, value, (*headers, *ours))
