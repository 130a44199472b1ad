"""The recording of a partition that Kafka has: its log and its input topics, each read forwards.

Holds one batch of each topic. Dead letters, and the commands of operators, are looked at only where something asks.
"""

from collections.abc import Iterable, Iterator, Sequence

from halter.client.client import Client
from halter.client.errors import TopicMissing
from halter.client.reading import FROM_THE_START
from halter.history.deciding import Row
from halter.history.recording import Inputs, Recorded
from processors.codec import DecodeError
from processors.core.records.commands import SkipRecord
from processors.core.records.errors import HalterError
from processors.core.records.topic_names import DEAD_LETTERS, DEFINITION_COMMANDS, OPERATOR_COMMANDS
from processors.fold.inputs import HEADER_PREFIX, DeadLetterReason, InputRecord
from processors.fold.outputs import rules_of
from processors.kafka.headers import headers_of


class NoInputs(HalterError):
    """The prefix has no inputs, so that nothing can be decided again. Whoever named it names that of the source."""


class RecordedInKafka:
    """What Kafka has of one partition. Implements `KeysRecording`."""

    has_all = True

    def __init__(self, client: Client, partition: int) -> None:
        self._client, self.partition, self.partitions = client, partition, client.topics.partitions
        self.begins, self.ends = client.reader.bounds(client.topics.wf_events, partition)

    @property
    def is_cut(self) -> bool:
        """True if the log does not begin with its first record any more."""
        return self.begins > 0

    def log(self) -> Iterator[Recorded]:
        """Yield the log from its beginning."""
        for message in self._client.reader.read(self._client.topics.wf_events, self.partition, FROM_THE_START):
            rules = rules_of(headers_of(message) or ())
            yield Recorded(message.offset(), message.key() or b"", message.value() or b"", rules)

    @property
    def decisions_begin(self) -> int | None:
        """The offset before which decisions about keys are gone; None if there is no topic with them."""
        try:
            return self._client.reader.bounds(self._client.topics.correlation_events, self.partition)[0]
        except TopicMissing:
            return None

    def decisions(self) -> Iterator[Recorded]:
        """Yield what was decided about keys, from the beginning."""
        for message in self._client.reader.read(self._client.topics.correlation_events, self.partition, FROM_THE_START):
            yield Recorded(message.offset(), message.key() or b"", message.value() or b"")

    def definitions(self) -> Iterable[tuple[int, Row]]:
        """Return the records of `definitions` with their offsets, in order."""
        for message in self._client.reader.read(self._client.topics.definitions, 0, FROM_THE_START):
            yield message.offset() or 0, Row(message.key() or b"", message.value())

    def inputs(self) -> Inputs:
        """Return the inputs, to be read from their beginning."""
        return _InputsInKafka(self._client, self.partition)


class _InputsInKafka:
    """Implements `Inputs`."""

    def __init__(self, client: Client, partition: int) -> None:
        self._client, self._partition = client, partition
        self._topics: dict[str, _Forwards] = {}
        self._buried: frozenset[tuple[str, int]] | None = None
        self._coming: dict[int, list[InputRecord]] | None = None

    def begins(self, topic: str) -> int:
        name = self._client.topics.prefix + topic
        try:
            return self._client.reader.bounds(name, self._of(topic))[0]
        except TopicMissing as missing:
            raise NoInputs(
                f"expected inputs on '{name}', found no such topic: if `halter replay` made this prefix, the inputs "
                "are those of its source, and it has compared the events; else run `halter topics apply`"
            ) from missing

    def _of(self, topic: str) -> int:
        return 0 if topic == DEFINITION_COMMANDS else self._partition

    def _topic(self, topic: str) -> "_Forwards":
        if topic not in self._topics:
            self._topics[topic] = _Forwards(self._client, topic, self._of(topic))
        return self._topics[topic]

    def seek(self, topic: str, offset: int) -> None:
        self._topic(topic).seek(offset)

    def take(self, topic: str, offset: int) -> tuple[Sequence[InputRecord], InputRecord | None]:
        return self._topic(topic).take(offset)

    def is_buried(self, record: InputRecord) -> bool:
        if self._buried is None:
            self._buried = frozenset(self._dead_letters())
        return (record.topic, record.offset) in self._buried

    def _dead_letters(self) -> Iterator[tuple[str, int]]:
        """Yield topics and offsets of the inputs for which a WfRun in quarantine had no room."""
        from processors.runtime.turn.arrivals import as_input

        for message in self._client.reader.read(self._client.topics.dead_letters, self._partition, FROM_THE_START):
            headers = dict(as_input(message, DEAD_LETTERS, self._partition).headers)
            if headers.get(f"{HEADER_PREFIX}reason") == DeadLetterReason.QUARANTINE_FULL.value.encode():
                yield headers[f"{HEADER_PREFIX}topic"].decode(), int(headers[f"{HEADER_PREFIX}offset"])

    def coming(self, offset: int) -> Sequence[InputRecord]:
        if self._coming is None:
            self._coming = {}
            for record in _Forwards(self._client, OPERATOR_COMMANDS, self._partition).all():
                skipped = self._operator_command_skipped_by(record)
                if skipped is not None:
                    self._coming.setdefault(skipped, []).append(record)
        return self._coming.get(offset, ())

    def _operator_command_skipped_by(self, record: InputRecord) -> int | None:
        try:
            command = self._client.codec.decode(record.value or b"")
        except DecodeError:
            return None
        is_one = isinstance(command, SkipRecord) and command.topic == OPERATOR_COMMANDS
        return command.offset if is_one and isinstance(command, SkipRecord) else None


class _Forwards:
    """A partition of an input topic, read forwards."""

    def __init__(self, client: Client, topic: str, partition: int) -> None:
        self._client, self._topic, self._partition = client, topic, partition
        self._at = 0
        """The offset from which on nothing was read yet."""
        self._records: Iterator[InputRecord] | None = None
        self._ahead: InputRecord | None = None

    def all(self) -> Iterator[InputRecord]:
        from processors.runtime.turn.arrivals import as_input  # here: most commands do not read inputs

        name = self._client.topics.prefix + self._topic
        for message in self._client.reader.read(name, self._partition, self._at):
            yield as_input(message, self._topic, self._partition)

    def seek(self, offset: int) -> None:
        """Go on at an offset."""
        if self._ahead is not None and self._ahead.offset < offset:
            self._ahead = None
        if self._ahead is None and self._at < offset:
            self._at, self._records = offset, None

    def take(self, offset: int) -> tuple[list[InputRecord], InputRecord | None]:
        """Return the record at an offset, and those before it."""
        before: list[InputRecord] = []
        while True:
            record = self._next()
            if record is None or record.offset > offset:
                self._ahead = record
                return before, None
            if record.offset == offset:
                return before, record
            before.append(record)

    def _next(self) -> InputRecord | None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            return ahead
        for _ in range(2):  # what has come since the end was found needs another reading
            if self._records is None:
                self._records = self.all()
            record = next(self._records, None)
            if record is not None:
                self._at = record.offset + 1
                return record
            self._records = None
        return None
