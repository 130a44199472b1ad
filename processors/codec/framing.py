"""Framings: the header before Avro's binary form, which says which schema a record was written with.

There are two: Avro's own single-object encoding, for which the schemas are enough, and the wire format of Confluent's
Schema Registry, for consumers that expect it. If a registry is set, both are read, whichever is written. So an
installation can change its framing while it runs, and its old logs stay readable.
"""

from typing import Final, Protocol

from processors.codec.errors import NotSingleObject, UnknownSchema
from processors.codec.schemas import RecordSchema, Schemas

LENGTH_MAX: Final = 10
"""The length of the longest header, in either framing."""
WIRE_MAGIC: Final = b"\0"
"""The first byte of a Schema Registry's wire format."""
ROWS: Final = "state"
"""The folder with the schemas of rows, from which a partition is restored. `Definition` is in another folder."""
DEFINITION: Final = "Definition"


class Framing(Protocol):
    """A framing, as a codec needs it."""

    def header(self, schema: RecordSchema) -> bytes:
        """Return the header of records that are written with this schema."""
        ...

    def length_of(self, data: bytes) -> int:
        """Return the number of bytes that the header of a record takes, if the record has one."""
        ...

    def schema(self, data: bytes) -> RecordSchema:
        """Return the schema that a record names in its header. Raises NotSingleObject or UnknownSchema."""
        ...


class SingleObject:
    """Avro's single-object encoding: C3 01, then the schema's fingerprint (CRC-64-AVRO, little-endian)."""

    MARKER: Final = b"\xc3\x01"
    LENGTH: Final = 10

    def __init__(self, schemas: Schemas) -> None:
        self.schemas = schemas

    def header(self, schema: RecordSchema) -> bytes:
        """Return C3 01 and the fingerprint."""
        return self.MARKER + schema.fingerprint

    def length_of(self, data: bytes) -> int:  # noqa: ARG002  the same for all
        """Return the length of a header; it is always the same."""
        return self.LENGTH

    def schema(self, data: bytes) -> RecordSchema:
        """Return the current or released schema with the fingerprint that the record names."""
        if not data.startswith(self.MARKER) or len(data) < self.LENGTH:
            is_wire = data.startswith(WIRE_MAGIC)
            raise NotSingleObject(
                "expected Avro single-object encoding (C3 01, then 8 bytes of fingerprint), found "
                + (f"bytes that begin with {data[:10].hex(' ').upper()}" if data else "no bytes")
                + (
                    ": if that is a Schema Registry's wire format, set schema.registry.url, and both are read"
                    if is_wire
                    else ""
                )
            )
        fingerprint = data[2:10]
        schema = self.schemas.find(fingerprint)
        if schema is None:
            raise UnknownSchema(
                fingerprint,
                f"expected the fingerprint of a schema of this version or an earlier one, found {fingerprint.hex()} "
                "(`halter schemas list` shows them; a newer release has others)",
            )
        return schema


class BothFramings:
    """Reads both framings and writes one of them, except that rows and Definitions are always in single-object
    encoding.

    So restoring a partition never needs a registry.
    """

    def __init__(self, single: SingleObject, wire: Framing, *, writes_wire: bool) -> None:
        self.single, self.wire = single, wire
        records = single.schemas.records
        rows = {name for name, schema in records.items() if schema.folder == ROWS or name == DEFINITION}
        self.wired: Final = records.keys() - rows if writes_wire else frozenset[str]()
        """Names of the records that are written in the wire format."""

    def header(self, schema: RecordSchema) -> bytes:
        """Return the header, in the framing that this record is written in."""
        return (self.wire if schema.name in self.wired else self.single).header(schema)

    def length_of(self, data: bytes) -> int:
        """Return the length of a header in the framing of the record."""
        return self._of(data).length_of(data)

    def schema(self, data: bytes) -> RecordSchema:
        """Return the schema that a record of either framing names."""
        return self._of(data).schema(data)

    def _of(self, data: bytes) -> Framing:
        return self.wire if data.startswith(WIRE_MAGIC) else self.single
