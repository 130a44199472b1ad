"""JSON, text, bytes and whole numbers."""

from collections.abc import Mapping
from typing import Final

from halter.bindings.formats.framing import hint_of_framing
from halter.bindings.formats.problems import Decoder, Undecodable, begins
from halter.bindings.model import FormatKind
from processors.core.records.values import Value, ValueProblem, from_json


def json_value(data: bytes) -> Value:
    """Read JSON in UTF-8, a byte order mark allowed."""
    try:
        return from_json(data.decode().removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        where = data[error.start : error.start + 4]
        raise Undecodable(f"expected JSON in UTF-8, found {begins(where)} at byte {error.start}") from None
    except ValueProblem as problem:
        hint = hint_of_framing(data) or ("" if data else " (no bytes at all)")
        raise Undecodable(f"{problem}{hint}") from None


def text(data: bytes) -> Value:
    """Read text in UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        where = data[error.start : error.start + 4]
        raise Undecodable(f"expected text in UTF-8, found {begins(where)} at byte {error.start}") from None


def whole_number(length: int) -> Decoder:
    """Return a decoder of signed whole numbers of so many bytes."""

    def read(data: bytes) -> Value:
        if len(data) != length:
            raise Undecodable(f"expected a whole number of {length} bytes, found {len(data)} bytes")
        return int.from_bytes(data, "big", signed=True)

    return read


PLAIN: Final[Mapping[FormatKind, Decoder]] = {
    FormatKind.JSON: json_value,
    FormatKind.STRING: text,
    FormatKind.BYTES: lambda data: data,
    FormatKind.INTEGER: whole_number(4),
    FormatKind.LONG: whole_number(8),
}
