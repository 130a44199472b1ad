"""Confluent's wire format, as far as it is the same for all formats."""

from typing import Final

from halter.bindings.formats.problems import Decoder, Undecodable, begins
from processors.core.records.values import Value

HEADER_LENGTH: Final = 5


def schema_id_of(data: bytes) -> int:
    """Return the id of the schema that framed bytes name. Raises Undecodable."""
    if len(data) < HEADER_LENGTH or data[0] != 0:
        raise Undecodable(
            f"expected Confluent's framing (00, then 4 bytes of a schema id), found {begins(data)}: does the format "
            "have the right `framing`?"
        )
    return int.from_bytes(data[1:HEADER_LENGTH], "big")


def framed(read: Decoder) -> Decoder:
    """Return a decoder of framed bytes that does not look up their schema."""

    def unframed(data: bytes) -> Value:
        schema_id_of(data)
        return read(data[HEADER_LENGTH:])

    return unframed


def hint_of_framing(data: bytes) -> str:
    """Return a hint where bytes that should not be framed look as if they were; else an empty text."""
    return ": are they in Confluent's framing (`framing: confluent`)?" if data[:1] == b"\0" else ""
