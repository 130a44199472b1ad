"""Confluent's wire format: a zero byte, the id of a schema in a Schema Registry (4 bytes, highest first), the record.

For installations whose consumers expect it. The registry only translates ids: a record has to be written with a schema
that this version carries, current or released, as with single-object encoding. What a registry holds beyond
that is never compiled or trusted.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

from processors.codec.errors import CodecError, NotSingleObject, UnknownSchema
from processors.codec.schemas import NAMESPACE, RecordSchema, Schemas, fingerprint_of

FORGOTTEN_AFTER: Final = 10_000
"""Unknown ids to remember: whoever invents them must neither fill the memory nor cause a call for each record."""


class RegistryUnavailable(CodecError):
    """The Schema Registry does not answer, or refuses. Nothing is wrong with the record: repair the registry, retry."""


class RegistryNotInstalled(CodecError):
    """The client of the Schema Registry is not installed: whoever set one installs `halter-kafka[registry]`."""


class Registry(Protocol):
    """What is asked of a Schema Registry. Both raise RegistryUnavailable."""

    def register(self, subject: str, schema: str) -> int:
        """The id of a schema (JSON text) under a subject; registers it if it is new."""
        ...

    def schema(self, schema_id: int) -> str | None:
        """The schema of an id, as JSON text; None if there is none."""
        ...


class WireFormat:
    """The framing. Subjects are the full names of the records, since topics hold records of several kinds."""

    MAGIC: Final = b"\0"
    length: int = 5

    def __init__(self, schemas: Schemas, registry: Registry) -> None:
        self.schemas = schemas
        self.registry = registry
        self._unknown: dict[bytes, UnknownSchema] = {}

    def header(self, schema: RecordSchema) -> bytes:
        """The zero byte and the id that the registry has for the schema. Registers it if it is new."""
        schema_id = self.registry.register(f"{NAMESPACE}.{schema.name}", json.dumps(schema.schema))
        return self.MAGIC + schema_id.to_bytes(4, "big")

    def schema(self, data: bytes) -> RecordSchema:
        """The current or released schema that the registry has under the id that the record names."""
        if not data.startswith(self.MAGIC) or len(data) < self.length:
            raise NotSingleObject(
                "expected a Schema Registry's wire format (00, then 4 bytes of schema id), found "
                + (f"bytes that begin with {data[:10].hex(' ').upper()}" if data else "no bytes")
            )
        schema_id = data[1:5]
        if schema_id in self._unknown:
            raise self._unknown[schema_id]
        found = self._known(schema_id)
        if found is None:
            if len(self._unknown) >= FORGOTTEN_AFTER:
                self._unknown.clear()
            error = self._unknown[schema_id] = UnknownSchema(
                schema_id,
                "expected the id of a schema of this version or an earlier one, found "
                f"{int.from_bytes(schema_id, 'big')} (`halter schemas list` shows them)",
            )
            raise error
        return found

    def _known(self, schema_id: bytes) -> RecordSchema | None:
        text = self.registry.schema(int.from_bytes(schema_id, "big"))
        if text is None:
            return None
        try:
            fingerprint = fingerprint_of(json.loads(text))
        except Exception:  # noqa: BLE001  whatever the registry holds that is no Avro schema is no schema of ours
            return None
        return self.schemas.find(fingerprint)


class ConfluentRegistry:
    """A Schema Registry, reached with Confluent's client."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        """`configuration`: as of `SchemaRegistryClient`; `url` at least. Raises RegistryNotInstalled."""
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient
        except ImportError as error:
            raise RegistryNotInstalled(
                f"a Schema Registry is set, and its client is not installed ({error.name} is missing): install "
                "halter-kafka[registry]"
            ) from error
        self.url = configuration.get("url")
        try:
            # A mock:// registry, for tests, is another class of the same interface, chosen by the factory.
            self.client = SchemaRegistryClient.new_client(dict(configuration))
        except (TypeError, ValueError) as error:
            raise RegistryUnavailable(f"the Schema Registry's settings are refused: {error}") from error

    def register(self, subject: str, schema: str) -> int:
        """The id of a schema under a subject."""
        from confluent_kafka.schema_registry import Schema

        try:
            return int(self.client.register_schema(subject, Schema(schema, "AVRO")))
        except Exception as error:  # the client lets its HTTP library's errors through, whichever that is
            raise RegistryUnavailable(f"cannot register {subject} at {self.url}: {error}") from error

    def schema(self, schema_id: int) -> str | None:
        """The schema of an id."""
        try:
            return self.client.get_schema(schema_id).schema_str
        except Exception as error:
            if getattr(error, "http_status_code", None) == 404:
                return None
            raise RegistryUnavailable(f"cannot ask {self.url} for schema {schema_id}: {error}") from error
