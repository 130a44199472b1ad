"""`Codec`: records to bytes and back, in either framing."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, cached_property
from threading import RLock
from types import ModuleType
from typing import Any, TypeAlias

from processors.codec import decoders, encoders
from processors.codec.arguments import Arguments
from processors.codec.decoders import DecoderCompiler
from processors.codec.dropped import Dropped, has_all_fields
from processors.codec.encoders import LONGS, TEXTS, EncoderCompiler
from processors.codec.errors import Undecodable, Unencodable, UnknownRelease
from processors.codec.framing import LENGTH_MAX, Framing, SingleObject
from processors.codec.log_writer import EventWriter, write_log
from processors.codec.records import EVENTS, RECORDS, Record
from processors.codec.schemas import RecordSchema, Schemas
from processors.core.records.events import Cause, LogEntry

Reader: TypeAlias = tuple[str, Callable[[bytes, int], tuple[Any, int]], int]
"""The record's name, its decoder, and the position behind the header at which the record begins."""


class Codec:
    """Writes records with the current schemas and reads what was written with these or any released ones.

    The same record gives the same bytes, always. Safe to use from several threads.
    """

    def __init__(self, schemas: Schemas, framing: Framing, release: str | None = None) -> None:
        """`release`: write with the schemas of that release, because workers of it run beside this one.

        Raises UnknownRelease.
        """
        self.schemas = schemas
        self.framing = framing
        self.release = release
        """The release as which it writes; None: as this version."""
        self._released = self._schemas_of(release)
        self._before: dict[str, RecordSchema | None] = {}
        """Record -> its schema in the last release, if that differs from the current one; found when it is needed."""
        self._arguments = Arguments(schemas.names)
        self._encoders = EncoderCompiler(schemas.names)
        self._decoders = DecoderCompiler(schemas.names, schemas.names)
        self._write_cause = self._encoders.part(Cause.__name__)
        self._writers: dict[type, Callable[[Any], bytes]] = {LogEntry: self._write_log_entry}
        self._event_writers: dict[type, Callable[[Any, bytes, bytes, bytes], bytes]] = {}
        self._compiled_writers: dict[type, tuple[bytes, EventWriter]] = {}
        self._readers: dict[bytes, Reader] = {}
        """Header -> reader. Most headers have the full length and are found at the first try."""
        self._peeks: dict[tuple[bytes, tuple[str, ...]], tuple[Callable[[bytes, int], tuple[Any, ...]], int]] = {}
        self._compiling = RLock()

    @staticmethod
    def load(schemas: Schemas | None = None, framing: Framing | None = None, release: str | None = None) -> "Codec":
        """Return the codec of this installation. Its framing is single-object encoding unless another is given.

        Without schemas and framing of their own, all in this process who ask for it get the same one.
        """
        if schemas is None and framing is None:
            return _of_this_installation(release)
        schemas = Schemas.load() if schemas is None else schemas
        return Codec(schemas, SingleObject(schemas) if framing is None else framing, release)

    @cached_property
    def _compiled(self) -> ModuleType | None:
        """The encoders of the log that mypyc compiled. None in a checkout, and for schemas of an earlier release."""
        from processors.codec.encoder_module import compiled_encoders  # here: only who folds writes a log

        return compiled_encoders(self.schemas.names) if self.release is None else None

    def writes(self, record: str, field: str) -> bool:
        """Return True if the schema that a record is written with has a field. An earlier release's may lack it."""
        released = self._released.get(record)
        return released is None or any(it["name"] == field for it in released.schema["fields"])

    def knows(self, record: str) -> bool:
        """Return True if there is a schema to write records of this name with. An earlier release may have none."""
        return self.release is None or record in self.schemas.released(self.release)

    def prepare(self, names: Collection[str] | None = None) -> None:
        """Find the headers of these records, or of all, now, so that the registry is not asked later.

        Raises RegistryUnavailable.
        """
        for name, schema in self.schemas.records.items():
            if names is None or name in names:
                self.framing.header(self._released.get(name, schema))
                before = self._of_last_release(name)
                if before is not None:
                    self.framing.header(before)

    def prepare_to_read(self, names: Collection[str]) -> None:
        """Compile the decoders of these records now, for the current schemas. Raises RegistryUnavailable."""
        for name in names:
            header = self.framing.header(self.schemas.records[name])
            with self._compiling:
                self._readers[header] = name, self._decoders.record(name), len(header)

    def _schemas_of(self, release: str | None) -> dict[str, RecordSchema]:
        """Return the schemas of a release that differ from the current ones, by name of the record."""
        if release is None:
            return {}
        if release not in self.schemas.versions:
            known = ", ".join(self.schemas.versions) or "there is none"
            raise UnknownRelease(f"expected a released version ({known}), found {release!r}")
        return {
            name: schema
            for name, schema in self.schemas.released(release).items()
            if schema.fingerprint != self.schemas.records[name].fingerprint
        }

    def _of_last_release(self, name: str) -> RecordSchema | None:
        """Return the schema of a record in the last release, if that has another one than now.

        A record that says nothing new is written with it. None where an earlier release is written anyway.
        """
        if name not in self._before:
            self._before[name] = self._find_last_released(name)
        return self._before[name]

    def _find_last_released(self, name: str) -> RecordSchema | None:
        if self.release is not None or not self.schemas.versions or name in getattr(self.framing, "wired", ()):
            return None  # of a Schema Registry everybody gets the schema
        known = self.schemas.released_one(self.schemas.versions[-1], name)
        if known is None or known.fingerprint == self.schemas.records[name].fingerprint:
            return None
        return known if has_all_fields(self.schemas.names, known.names) else None

    def check_arguments(self, kind: type, given: Mapping[str, object]) -> None:
        """Check that a record of this class can be made of these fields, and be written. Raises UnfitValue."""
        self._arguments.check(kind.__name__, given)

    def check_record(self, record: object) -> None:
        """Check the fields of a record as `check_arguments` does. Raises UnfitValue."""
        self._arguments.check(type(record).__name__, self._arguments.of(record))

    def encode(self, record: Record) -> bytes:
        """Return the bytes of a record. Raises Unencodable, which names the record and says what is wrong with it."""
        try:
            return self._writers[type(record)](record)
        except KeyError:
            # The writer is not compiled yet, or a value is missing from a table.
            return self._encode_first(record)
        except encoders.ERRORS as error:
            raise self._unencodable(record, error) from error

    def _encode_first(self, record: Record) -> bytes:
        kind = type(record)
        if kind not in self._writers:
            if RECORDS.get(kind.__name__) is not kind:
                raise Unencodable(f"expected a record of the schemas, found {kind.__name__}")
            with self._compiling:
                self._writers[kind] = self._writer(kind.__name__, EncoderCompiler.record)
        try:
            return self._writers[kind](record)
        except encoders.ERRORS as error:
            raise self._unencodable(record, error) from error

    def _writer(
        self, name: str, compiled: Callable[[EncoderCompiler, str, bytes], Callable[..., bytes]]
    ) -> Callable[..., bytes]:
        """Return a writer for the current schema, or for that of the earlier release that this codec writes as."""
        released = self._released.get(name)
        if released is None:
            now = compiled(self._encoders, name, self.framing.header(self.schemas.records[name]))
            before = self._of_last_release(name)
            if before is None:
                return now
            old = compiled(EncoderCompiler(before.names), name, self.framing.header(before))
            whose = f"the schemas of {self.schemas.versions[-1]}"
            return Dropped(before.names, self.schemas.names, whose).only_if_needed(name, old, now)
        old = compiled(EncoderCompiler(released.names), name, self.framing.header(released))
        dropped = Dropped(released.names, self.schemas.names, f"the schemas of {self.release}")
        return dropped.refused(old)

    @staticmethod
    def _unencodable(record: Any, error: Exception) -> Unencodable:
        name = type(record.event if isinstance(record, LogEntry) else record).__name__
        whose = getattr(record, "wf_run_id", getattr(record, "name", None))
        return Unencodable(f"{name}{'' if whose is None else f' of {whose!r}'}: {error}")

    def encode_log(self, log: Sequence[LogEntry]) -> list[bytes]:
        """Return the bytes of each entry of one command, as `encode` would. Raises Unencodable.

        The entries share all fields of the header but `seq`, so these are encoded once.
        """
        writers = self._event_writers
        try:
            if self._compiled is not None:
                return write_log(log, self._compiled_writers, writers, self._compiled.write_cause)
            head, tail = self._write_head(log[0])
            return [writers[type(event := entry.event)](event, head, LONGS[entry.seq], tail) for entry in log]
        except encoders.ERRORS:
            # A writer is not compiled yet, or an entry does not fit its schema. `encode` compiles it, or raises the
            # error.
            return [self.encode(entry) for entry in log]

    def _write_log_entry(self, entry: LogEntry) -> bytes:
        head, tail = self._write_head(entry)
        event = entry.event
        writer = self._event_writers.get(type(event)) or self._event_writer(type(event))
        return writer(event, head, LONGS[entry.seq], tail)

    def _write_head(self, entry: LogEntry) -> tuple[bytes, bytes]:
        """Return the encoded fields of a LogEntry before its `seq`, and those after it."""
        head = TEXTS[entry.wf_run_id] + LONGS[entry.incarnation]
        return head, LONGS[entry.time_ms] + self._write_cause(entry.cause)

    def _event_writer(self, event: type) -> Callable[[Any, bytes, bytes, bytes], bytes]:
        if EVENTS.get(event.__name__) is not event:
            raise Unencodable(f"expected an event of the log, found {event.__name__}")
        with self._compiling:
            is_as_before = self._of_last_release(event.__name__) is None
            if self._compiled is not None and event in self._compiled.WRITERS and is_as_before:
                header = self.framing.header(self.schemas.records[event.__name__])
                self._compiled_writers[event] = header, self._compiled.WRITERS[event]
            writer = self._event_writers[event] = self._writer(event.__name__, EncoderCompiler.event)
        return writer

    def decode(self, data: bytes) -> Record:
        """Return the record that the bytes are; a record of the log as a LogEntry.

        Raises NotSingleObject, UnknownSchema or Undecodable, and nothing else, whatever the bytes are. With a Schema
        Registry that does not answer, raises RegistryUnavailable.
        """
        name, read, start = self._readers.get(data[:LENGTH_MAX]) or self._reader(data)
        try:
            record, end = read(data, start)
        except decoders.ERRORS as error:
            raise self._undecodable(name, data, error) from None
        if end != len(data):
            raise Undecodable(name, f"expected a record of {end} bytes, found {len(data)}")
        return record  # type: ignore[no-any-return]

    @staticmethod
    def _undecodable(name: str, data: bytes, error: Exception) -> Undecodable:
        if isinstance(error, UnicodeDecodeError):
            return Undecodable(name, f"expected text in UTF-8, found {error.object[error.start :][:4].hex()}")
        if isinstance(error, decoders.TOO_SHORT):
            return Undecodable(name, f"expected more than the {len(data)} bytes that there are")
        return Undecodable(name, str(error))

    def peek(self, data: bytes, name: str, fields: tuple[str, ...]) -> tuple[Any, ...]:
        """Return the values of some fields of a record. Nothing after the last of them is decoded.

        Raises as `decode` does, also if the bytes are another record. Errors in the other fields go unnoticed.
        """
        read, start = self._peeks.get((data[:LENGTH_MAX], fields)) or self._peek(data, name, fields)
        try:
            return read(data, start)
        except decoders.ERRORS as error:
            raise self._undecodable(name, data, error) from None

    def _peek(
        self, data: bytes, name: str, fields: tuple[str, ...]
    ) -> tuple[Callable[[bytes, int], tuple[Any, ...]], int]:
        start = self.framing.length_of(data)
        key = (data[:start], fields)
        if key not in self._peeks:
            schema = self.framing.schema(data)
            if schema.name != name:
                raise Undecodable(schema.name, f"expected a {name}")
            with self._compiling:
                self._peeks[key] = DecoderCompiler(schema.names, self.schemas.names).first_fields(name, fields), start
        return self._peeks[key]

    def record_name(self, data: bytes) -> str:
        """Return the name of the record that the bytes claim to be, without decoding them.

        Raises NotSingleObject or UnknownSchema.
        """
        known = self._readers.get(data[:LENGTH_MAX]) or self._readers.get(data[: self.framing.length_of(data)])
        return self.framing.schema(data).name if known is None else known[0]

    def _reader(self, data: bytes) -> Reader:
        start = self.framing.length_of(data)
        known = self._readers.get(data[:start])
        if known is not None:
            return known
        schema = self.framing.schema(data)
        with self._compiling:
            if schema is self.schemas.records.get(schema.name):
                read = self._decoders.record(schema.name)
            else:
                read = DecoderCompiler(schema.names, self.schemas.names).record(schema.name)
        reader = self._readers[data[:start]] = schema.name, read, start
        return reader


@cache
def _of_this_installation(release: str | None) -> Codec:
    """Return the codec in single-object encoding. To find and compile what one WfRun has takes it 0.1 s, once."""
    schemas = Schemas.load()
    return Codec(schemas, SingleObject(schemas), release)
