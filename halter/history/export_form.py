"""The form of an export: gzip'ed lines of JSON, one record per line. docs/exports.md describes it.

Both `export`, which writes one, and `export_file`, which reads one, know the form from here alone.
"""

import base64
import binascii
from typing import Any, Final

FORMAT: Final = 1
"""The version of the form. A reader takes this one and earlier ones."""
MARK: Final = "halter-export"
"""The kind of the first line. Whoever looks at a file sees by it what it is."""

HEADER, SCHEMA, WF_RUN, PARTITION, INPUT, EVENT, DEFINITION, END = (
    MARK,
    "schema",
    "wf_run",
    "partition",
    "input",
    "event",
    "definition",
    "end",
)
AS_IT_WAS: Final = "was"
"""The value of an input has the bytes that its producer wrote."""
REFRAMED: Final = "reframed"
"""Its header named a schema in a Schema Registry. Now it has Avro's single-object encoding, which needs none."""
MASKED: Final = "masked"
"""Masked values in it were replaced by tokens."""

LINE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Size of the longest line: an event has at most 4 MiB, and base64 makes a third more of it."""
FILE_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Size of all lines, unpacked."""
LINES_MAX: Final = 4_000_000
DEFINITIONS_MAX: Final = 20_000
"""Definitions are kept in memory."""


def packed(data: bytes | None) -> str | None:
    """Return bytes as a line has them."""
    return None if data is None else base64.b64encode(data).decode()


def unpacked(text: Any) -> bytes | None:
    """Return the bytes that a line has. Raises ValueError."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError(f"expected base64, found {type(text).__name__}")  # noqa: TRY004  the caller tells both alike
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"expected base64: {error}") from error
