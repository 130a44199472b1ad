"""How bytes say which schema they were written with: the header before Avro's binary form.

Two framings: Avro's own single-object encoding, readable with nothing but the schemas, and the wire format of
Confluent's Schema Registry, for those whose consumers expect it.
"""

from typing import Final, Protocol

from processors.codec.errors import NotSingleObject, UnknownSchema
from processors.codec.schemas import RecordSchema, Schemas


class Framing(Protocol):
    """What a codec needs to know of a framing."""

    length: int
    """Bytes of a header."""

    def header(self, schema: RecordSchema) -> bytes:
        """The header of records that are written with this current schema."""
        ...

    def schema(self, data: bytes) -> RecordSchema:
        """The schema that a record names in its header. Raises NotSingleObject or UnknownSchema."""
        ...


class SingleObject:
    """Avro's single-object encoding: C3 01, then the schema's fingerprint (CRC-64-AVRO, little-endian)."""

    MARKER: Final = b"\xc3\x01"
    length: int = 10

    def __init__(self, schemas: Schemas) -> None:
        self.schemas = schemas

    def header(self, schema: RecordSchema) -> bytes:
        """C3 01 and the fingerprint."""
        return self.MARKER + schema.fingerprint

    def schema(self, data: bytes) -> RecordSchema:
        """The current or released schema with the fingerprint that the record names."""
        if not data.startswith(self.MARKER) or len(data) < self.length:
            raise NotSingleObject(
                "expected Avro single-object encoding (C3 01, then 8 bytes of fingerprint), found "
                + (f"bytes that begin with {data[:10].hex(' ').upper()}" if data else "no bytes")
            )
        fingerprint = data[2:10]
        schema = self.schemas.find(fingerprint)
        if schema is None:
            raise UnknownSchema(
                fingerprint,
                f"expected the fingerprint of a schema of this version or an earlier one, found {fingerprint.hex()} "
                "(`halter schemas list` shows them)",
            )
        return schema
