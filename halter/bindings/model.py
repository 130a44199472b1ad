"""Bindings, as their document says them: which topics become which ExternalEvents. Values only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from halter.transform.templates import Template
from processors.core.records.spec import Expression
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.static_types import Type


class FormatKind(StrEnum):
    """The form of keys or values, by its name in a document."""

    JSON = "json"
    STRING = "string"
    BYTES = "bytes"
    INTEGER = "integer"
    """Four bytes, highest first, as Kafka's IntegerSerializer writes them."""
    LONG = "long"
    """Eight bytes, as Kafka's LongSerializer writes them."""
    AVRO = "avro"
    PROTOBUF = "protobuf"


class Framing(StrEnum):
    """What stands before the bytes of a key or value."""

    BARE = "bare"
    CONFLUENT = "confluent"
    """Confluent's wire format: a zero byte and the id of a schema; for Protobuf also the indexes of the message."""
    SINGLE_OBJECT = "single-object"
    """Avro's own: C3 01 and the fingerprint of the schema."""


@dataclass(frozen=True, slots=True)
class Format:
    """How to read keys or values."""

    kind: FormatKind = FormatKind.JSON
    framing: Framing = Framing.BARE
    schema: str | None = None
    """The file of an Avro schema. Avro without one: the Schema Registry has it."""
    descriptor: str | None = None
    """The file of a set of Protobuf descriptors."""
    message: str | None = None
    """The full name of a Protobuf message. None: the only one of its file."""
    path: Path = ()
    """Its place in the document."""

    @property
    def needs_registry(self) -> bool:
        """True if schemas come from a Schema Registry."""
        return self.kind is FormatKind.AVRO and self.schema is None


@dataclass(frozen=True, slots=True)
class Start:
    """The WfRun to start if there is none."""

    wf_spec: str
    major: int | None = None
    revision: int | None = None
    inputs: Mapping[str, Template] = field(default_factory=dict)
    input_types: Mapping[str, Type] = field(default_factory=dict)
    """The types of the inputs, as far as they are known without a record."""
    path: Path = ()


@dataclass(frozen=True, slots=True)
class BoundEvent:
    """An ExternalEvent that records become. It goes to a WfRun, or to those that have registered a key for it."""

    external_event_def: str
    wf_run_id: Expression | None
    correlate: Expression | None
    """The key. Exactly one of this and `wf_run_id` is there."""
    event_id: Expression | None
    """None: the id follows from the record's place."""
    content: Template
    content_type: Type
    """The type of the content, as far as it is known without a record."""
    when: Expression | None = None
    start: Start | None = None
    number: int = 0
    """How many events before it in the document come from the same topic and are of the same ExternalEventDef."""
    path: Path = ()


class Tombstone(StrEnum):
    """What becomes of a record without a value."""

    SKIP = "skip"
    DEAD_LETTER = "dead-letter"


OfTombstone: TypeAlias = Tombstone | BoundEvent


@dataclass(frozen=True, slots=True)
class Binding:
    """What the records of one topic become."""

    name: str
    topic: str
    format: Format
    key_format: Format
    when: Expression | None
    each: Expression | None
    events: tuple[BoundEvent, ...]
    tombstone: OfTombstone = Tombstone.DEAD_LETTER
    path: Path = ()

    def all_events(self) -> Iterator[BoundEvent]:
        """Yield the events of records and that of a tombstone."""
        yield from self.events
        if isinstance(self.tombstone, BoundEvent):
            yield self.tombstone


@dataclass(frozen=True, slots=True)
class Bindings:
    """A document of bindings. Its name is that of the consumer group that runs them."""

    name: str
    bindings: tuple[Binding, ...]

    @property
    def topics(self) -> list[str]:
        """The topics that are read, each once, in the order of the document."""
        return list(dict.fromkeys(it.topic for it in self.bindings))
