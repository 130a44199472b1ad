"""Avro, by a `.avsc` file or by a Schema Registry."""

import io
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from halter.bindings.formats.framing import HEADER_LENGTH, hint_of_framing, schema_id_of
from halter.bindings.formats.problems import Decoder, FormatProblem, Undecodable, begins
from halter.bindings.formats.values import plain
from halter.bindings.model import Framing
from processors.codec.registry import ASKED_AGAIN_SECONDS, FORGOTTEN_AFTER, ConfluentRegistry
from processors.core.records.values import Value

SINGLE_OBJECT_MARK: Final = b"\xc3\x01"
SINGLE_OBJECT_LENGTH: Final = 10
SCHEMA_BYTES_MAX: Final = 4 * 1024 * 1024


def avro_by_file(file: Path, framing: Framing) -> Decoder:
    """Return a decoder for records that were written with the schema of a file. Raises FormatProblem."""
    import fastavro.schema

    schema = _schema_in(file)
    try:
        read = _reader(fastavro.parse_schema(schema))
        canonical = fastavro.schema.to_parsing_canonical_form(schema)
        fingerprint = bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
    except Exception as error:
        raise FormatProblem(("schema",), f"{file}: expected an Avro schema, found that {_said(error)}") from error

    def single_object(data: bytes) -> Value:
        if not data.startswith(SINGLE_OBJECT_MARK) or len(data) < SINGLE_OBJECT_LENGTH:
            raise Undecodable(f"expected Avro's single-object encoding (C3 01, 8 bytes), found {begins(data)}")
        found = data[2:SINGLE_OBJECT_LENGTH]
        if found != fingerprint:
            raise Undecodable(
                f"expected a record of the schema {file.name} (fingerprint {fingerprint.hex()}), found one of another "
                f"(fingerprint {found.hex()})"
            )
        return read(data, SINGLE_OBJECT_LENGTH)

    def confluent(data: bytes) -> Value:
        schema_id_of(data)
        return read(data, HEADER_LENGTH)

    def bare(data: bytes) -> Value:
        return read(data, 0)

    return {Framing.SINGLE_OBJECT: single_object, Framing.CONFLUENT: confluent, Framing.BARE: bare}[framing]


class AvroByRegistry:
    """A decoder for records in Confluent's wire format: the Schema Registry has the schema that wrote each."""

    def __init__(self, registry: ConfluentRegistry, seconds: Callable[[], float] = time.monotonic) -> None:
        """`seconds`: a clock that never goes back."""
        self._registry, self._seconds = registry, seconds
        self._readers: dict[int, Callable[[bytes, int], Value]] = {}
        self._unusable: dict[int, tuple[float, str]] = {}
        """Id -> when it was asked for, and what is wrong with it."""

    def __call__(self, data: bytes) -> Value:
        """Read a record. Raises Undecodable and RegistryUnavailable."""
        schema_id = schema_id_of(data)
        read = self._readers.get(schema_id)
        if read is None:
            read = self._readers[schema_id] = self._asked_for(schema_id)
        return read(data, HEADER_LENGTH)

    def _asked_for(self, schema_id: int) -> Callable[[bytes, int], Value]:
        """Return a reader. A producer that invents ids must neither fill the memory nor cause a call per record."""
        asked_at, sentence = self._unusable.get(schema_id, (float("-inf"), ""))
        if self._seconds() - asked_at < ASKED_AGAIN_SECONDS:
            raise Undecodable(sentence)
        try:
            return self._reader(schema_id)
        except Undecodable as error:
            if len(self._unusable) >= FORGOTTEN_AFTER:
                self._unusable.clear()
            self._unusable[schema_id] = self._seconds(), str(error)
            raise

    def _reader(self, schema_id: int) -> Callable[[bytes, int], Value]:
        found = self._registry.with_references(schema_id)
        if found is None:
            raise Undecodable(f"expected a schema of the Schema Registry, found id {schema_id}, which it does not know")
        kind, text, others = found
        if kind != "AVRO":
            raise Undecodable(f"expected an Avro schema under id {schema_id} of the Schema Registry, found {kind}")
        import fastavro

        try:
            named: dict[str, Any] = {}
            for other in others:
                fastavro.parse_schema(json.loads(other), named_schemas=named)
            return _reader(fastavro.parse_schema(json.loads(text), named_schemas=named), named)
        except Exception as error:
            raise Undecodable(f"schema {schema_id} of the Schema Registry is no Avro schema: {_said(error)}") from error


def _schema_in(file: Path) -> Any:
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise FormatProblem(("schema",), f"there is no file {file}") from error
    except OSError as error:
        raise FormatProblem(("schema",), f"{file} cannot be read: {error.strerror}") from error
    if len(content) > SCHEMA_BYTES_MAX:
        raise FormatProblem(("schema",), f"{file}: expected at most {SCHEMA_BYTES_MAX} bytes, found {len(content)}")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatProblem(("schema",), f"{file}: expected an Avro schema, found no JSON: {error}") from error


def _reader(schema: Any, others: Mapping[str, Any] | None = None) -> Callable[[bytes, int], Value]:
    """Return a reader of records of a parsed schema. `others`: parsed schemas that it names. Raises ValueError."""
    import fastavro
    import fastavro._read_py

    look = _Look(dict(others or {}))
    look.at(schema)
    if look.endless:
        raise ValueError("an array of items that take no bytes, of which a few bytes can say that there are billions")
    # The reader in C ends the process where a value nests some ten thousand levels deep.
    library = fastavro._read_py if look.is_recursive else fastavro

    def read(data: bytes, start: int) -> Value:
        source = io.BytesIO(data)
        source.seek(start)
        try:
            value = plain(library.schemaless_reader(source, schema, None))
        except Undecodable:
            raise
        except RecursionError:
            raise Undecodable("expected a value of fewer levels, found more than can be read") from None
        except Exception as error:  # noqa: BLE001  whatever the library makes of bytes that are something else
            hint = "" if start else hint_of_framing(data)
            raise Undecodable(f"expected a record of the Avro schema, found that {_said(error)}{hint}") from None
        if source.tell() != len(data):
            rest = len(data) - source.tell()
            hint = "" if start else hint_of_framing(data)
            raise Undecodable(f"expected the end of the record, found {rest} bytes more than its schema has{hint}")
        return value

    return read


class _Look:
    """Looks through a parsed schema for what makes a few bytes dangerous."""

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named
        self._open: set[str] = set()
        self._known: dict[str, bool] = {}
        self.is_recursive = False
        self.endless = False

    def at(self, schema: Any) -> bool:
        """Look at a schema. Return True if a value of it may take no bytes."""
        if isinstance(schema, list):
            for it in schema:
                self.at(it)
            return False
        if isinstance(schema, str):
            return self._of_name(schema)
        kind = schema["type"]
        if kind in ("record", "error"):
            return self._of_record(schema)
        if kind == "array":
            self.endless |= self.at(schema["items"])
            return False
        if kind == "map":
            self.at(schema["values"])
            return False
        if kind in ("enum", "fixed"):
            self._named[schema["name"]] = schema
            return bool(kind == "fixed" and schema["size"] == 0)
        return self.at(kind)

    def _of_name(self, name: str) -> bool:
        if name in self._open:
            self.is_recursive = True
            return False
        if name in self._known:
            return self._known[name]
        return self.at(self._named[name]) if name in self._named else name == "null"

    def _of_record(self, schema: Any) -> bool:
        name = schema["name"]
        self._named[name] = schema
        self._open.add(name)
        # Of all fields: each may have something dangerous inside.
        empty = [self.at(it["type"]) for it in schema["fields"]]
        self._known[name] = all(empty)
        self._open.discard(name)
        return self._known[name]


def _said(error: Exception) -> str:
    return (
        f"{type(error).__name__}: {str(error)[:200]}" if str(error) else f"it ends too early ({type(error).__name__})"
    )
