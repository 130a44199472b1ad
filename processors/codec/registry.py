"""Confluent's wire format: a zero byte, the id of a schema in a Schema Registry (4 bytes, highest first), the record.

It is for installations whose consumers expect it. The registry only translates ids: a record must be written with a
schema that this version carries, current or released, as with single-object encoding. No other schema of a registry is
compiled or trusted.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from processors.codec.errors import CodecError, NotSingleObject, UnknownSchema
from processors.codec.framing import WIRE_MAGIC
from processors.codec.schemas import NAMESPACE, RecordSchema, Schemas, fingerprint_of
from processors.extras import needing

FORGOTTEN_AFTER: Final = 10_000
"""Number of unknown ids to remember. A producer that invents ids must neither fill the memory nor cause a call per
record.
"""
ASKED_AGAIN_SECONDS: Final = 30.0
"""Time after which an unknown id is asked for again: a registry that is a copy may hear of an id late."""
DEFAULTS: Final[Mapping[str, Any]] = {"timeout": 5.0, "max.retries": 1, "retries.wait.ms": 200}
"""The caller waits and asks again by itself, so the client must not retry for minutes."""
NUMBERS: Final[Mapping[str, type]] = {
    "timeout": float,
    "max.retries": int,
    "retries.wait.ms": int,
    "retries.max.wait.ms": int,
    "cache.capacity": int,
    "cache.latest.ttl.sec": float,
}
"""The settings of the client that are not text."""
IDS: Final = range(2**32)
REFERENCES_DEPTH_MAX: Final = 32
"""How far references of schemas to each other are followed: they might form a circle."""
NO_SUCH_SCHEMA: Final = frozenset({40401, 40402, 40403})
"""A registry's codes for no such subject, version or schema. Any other 404 has another meaning, or is no registry's."""
WHAT_TO_DO: Final[Mapping[int, str]] = {
    401: "it refuses the credentials; correct schema.registry.basic.auth.user.info or schema.registry.bearer.auth.*",
    403: "this user may not do that; have somebody run `halter schemas register` who may, and set "
    "HALTER_REGISTER_SCHEMAS=false",
    404: "there is something else at that address; correct schema.registry.url",
    409: "it finds the schema incompatible with what it has under that subject; look who else registers there, and "
    "set the subject's compatibility to one that allows it",
    422: "it does not take the schema",
}
"""HTTP status -> what to do. These answers do not change by themselves."""


class RegistryUnavailable(CodecError):
    """The Schema Registry does not answer, or refuses. Nothing is wrong with the record: repair the registry, retry."""


class RegistryRefused(RegistryUnavailable):
    """The Schema Registry answers and refuses. Somebody has to change rights, or its schemas."""


class RegistrySettings(CodecError):
    """The client of the Schema Registry does not take its settings. Whoever set them corrects them."""


class Registry(Protocol):
    """A Schema Registry, as the wire format needs it. Both methods raise RegistryUnavailable."""

    def register(self, subject: str, schema: str) -> int:
        """Return the id of a schema (JSON text) under a subject. Registers a new schema, if that is wanted."""
        ...

    def schema(self, schema_id: int) -> str | None:
        """Return the schema with an id, as JSON text; None if there is none."""
        ...


def subject_of(schema: RecordSchema) -> str:
    """Return the full name of the record. A topic's name would not do, because topics hold several kinds of records."""
    return f"{NAMESPACE}.{schema.name}"


class WireFormat:
    """The wire format as a framing."""

    LENGTH: Final = 5

    def __init__(self, schemas: Schemas, registry: Registry, seconds: Callable[[], float] = time.monotonic) -> None:
        """`seconds`: a clock that never goes back."""
        self.schemas = schemas
        self.registry = registry
        self._seconds = seconds
        self._ids: dict[bytes, bytes] = {}
        """Fingerprint -> id, for schemas that are written with."""
        self._known: dict[bytes, RecordSchema] = {}
        self._unknown: dict[bytes, tuple[float, UnknownSchema]] = {}

    def header(self, schema: RecordSchema) -> bytes:
        """Return the zero byte and the id that the registry has for the schema."""
        schema_id = self._ids.get(schema.fingerprint)
        if schema_id is None:
            schema_id = self.registry.register(subject_of(schema), json.dumps(schema.schema)).to_bytes(4, "big")
            self._ids[schema.fingerprint] = schema_id
            self._known[schema_id] = self.schemas.find(schema.fingerprint) or schema
        return WIRE_MAGIC + schema_id

    def length_of(self, data: bytes) -> int:  # noqa: ARG002  the same for all
        """Return the length of a header; it is always the same."""
        return self.LENGTH

    def schema(self, data: bytes) -> RecordSchema:
        """Return the current or released schema that the registry has under the id in the record."""
        if not data.startswith(WIRE_MAGIC) or len(data) < self.LENGTH:
            raise NotSingleObject(
                "expected a Schema Registry's wire format (00, then 4 bytes of schema id), found "
                + (f"bytes that begin with {data[:10].hex(' ').upper()}" if data else "no bytes")
            )
        schema_id = data[1:5]
        known = self._known.get(schema_id)
        if known is not None:
            return known
        asked_at, error = self._unknown.get(schema_id, (float("-inf"), None))
        if error is not None and self._seconds() - asked_at < ASKED_AGAIN_SECONDS:
            raise error
        found = self._ask(schema_id)
        if isinstance(found, RecordSchema):
            self._known[schema_id] = found
            return found
        if len(self._unknown) >= FORGOTTEN_AFTER:
            self._unknown.clear()
        error = UnknownSchema(
            schema_id,
            "expected the id of a schema of this version or an earlier one, found "
            f"{int.from_bytes(schema_id, 'big')}, {found} (`halter schemas list` shows them; a newer release has "
            "others)",
        )
        self._unknown[schema_id] = self._seconds(), error
        raise error

    def _ask(self, schema_id: bytes) -> RecordSchema | str:
        """Return the schema with an id, or a sentence that says why it is none of ours."""
        text = self.registry.schema(int.from_bytes(schema_id, "big"))
        if text is None:
            return "which the Schema Registry does not know"
        try:
            schema = json.loads(text)
            found = self.schemas.find(fingerprint_of(schema))
        except Exception:  # noqa: BLE001  whatever the registry holds that is no Avro schema is no schema of ours
            return "under which it has no Avro schema that stands for itself"
        name = schema.get("name") if isinstance(schema, dict) else schema
        return found or f"under which it has another schema, {str(name)[:80]!r}"


class ConfluentRegistry:
    """A Schema Registry, reached with Confluent's client."""

    def __init__(self, configuration: Mapping[str, Any], *, registers: bool = True) -> None:
        """`configuration` is that of `SchemaRegistryClient`, with `url` at least. `registers`: register a schema that
        is missing; otherwise somebody else has to. Raises ExtraMissing and RegistrySettings.
        """
        with needing("registry", "a Schema Registry"):
            from confluent_kafka.schema_registry import SchemaRegistryClient
        self.url = without_credentials(str(configuration.get("url", "")))
        self._registers = registers
        try:
            # The factory chooses another class with the same interface for mock://, which is for tests.
            self.client = SchemaRegistryClient.new_client({**DEFAULTS, **as_client_takes(configuration)})
        except (TypeError, ValueError, OSError) as error:
            raise RegistrySettings(f"the settings schema.registry.* are refused: {error}") from error

    def register(self, subject: str, schema: str) -> int:
        """Return the id of a schema under a subject."""
        from confluent_kafka.schema_registry import Schema

        avro = Schema(schema, "AVRO")
        try:
            if self._registers:
                schema_id: Any = self.client.register_schema(subject, avro)
            else:
                schema_id = self.client.lookup_schema(subject, avro).schema_id
        except Exception as error:  # the client lets its HTTP library's errors through, whichever that is
            doing = "register" if self._registers else "look up"
            raise self._explained(error, f"cannot {doing} {subject} at {self.url}") from error
        if not isinstance(schema_id, int) or schema_id not in IDS:
            raise RegistryUnavailable(f"expected an id for {subject} from {self.url}, found {str(schema_id)[:80]!r}")
        return schema_id

    def schema(self, schema_id: int) -> str | None:
        """Return the schema with an id."""
        try:
            text: Any = self.client.get_schema(schema_id).schema_str
        except Exception as error:
            if getattr(error, "error_code", None) in NO_SUCH_SCHEMA:
                return None
            raise self._explained(error, f"cannot ask {self.url} for schema {schema_id}") from error
        if not isinstance(text, str):
            raise RegistryUnavailable(f"expected schema {schema_id} from {self.url}, found {str(text)[:80]!r}")
        return text

    def with_references(self, schema_id: int) -> tuple[str, str, list[str]] | None:
        """Return the kind (AVRO, PROTOBUF, JSON) and the text of a schema, and the texts of those that it refers to.

        A schema stands behind all that it refers to. None if there is no such id. Raises RegistryUnavailable.
        """
        try:
            schema: Any = self.client.get_schema(schema_id)
            others: dict[tuple[str, int], str] = {}
            self._referred_to(schema, others, REFERENCES_DEPTH_MAX)
        except Exception as error:
            if getattr(error, "error_code", None) in NO_SUCH_SCHEMA:
                return None
            raise self._explained(error, f"cannot ask {self.url} for schema {schema_id}") from error
        return schema.schema_type or "AVRO", schema.schema_str, list(others.values())

    def _referred_to(self, schema: Any, found: dict[tuple[str, int], str], depth: int) -> None:
        for reference in schema.references or () if depth else ():
            place = reference.subject, reference.version
            if place not in found:
                other: Any = self.client.get_version(*place).schema
                self._referred_to(other, found, depth - 1)
                found[place] = other.schema_str

    def _explained(self, error: Exception, doing: str) -> RegistryUnavailable:
        what_to_do = WHAT_TO_DO.get(status_of(error) or 0)
        if getattr(error, "error_code", None) in NO_SUCH_SCHEMA:
            what_to_do = "it has not got that schema; run `halter schemas register`"
        if what_to_do is not None:
            return RegistryRefused(f"{doing}: {what_to_do} ({error})")
        return RegistryUnavailable(f"{doing}: {str(error) or type(error).__name__}")


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of an error; None if it is no answer."""
    status = getattr(error, "http_status_code", None)
    return status if isinstance(status, int) else None


def as_client_takes(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with numbers where the client wants numbers. Raises ValueError."""
    taken = {}
    for key, value in configuration.items():
        try:
            taken[key] = NUMBERS[key](value) if key in NUMBERS else value
        except ValueError:
            raise ValueError(f"{key}: expected a number, found {value!r}") from None
    return taken


def without_credentials(url: str) -> str:
    """Return URLs, separated by commas, as they may be printed."""
    return ",".join(one if "@" not in urlsplit(one).netloc else hidden(one) for one in url.split(","))


def hidden(url: str) -> str:
    """Return a URL without the credentials before its host."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
