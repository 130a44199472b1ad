"""Trace context in the headers of records, as W3C Trace Context writes it: `traceparent` and `tracestate`.

Knows no OpenTelemetry. What is malformed or too long is taken for absent, so a header can neither break a worker nor
fill its rows. Baggage is not taken: it may hold anything, and would be stored.
"""

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
TRACESTATE_BYTES_MAX: Final = 512
"""Bytes of a `tracestate` that W3C asks everybody to pass on. A longer one is left out."""

Context: TypeAlias = tuple[tuple[str, bytes], ...]
"""The headers of a context: none, `traceparent`, or both."""

NO_CONTEXT: Final[Context] = ()
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def context_of(headers: Iterable[tuple[str, bytes]]) -> Context:
    """Return the trace context that a record carries. The last header of a name counts."""
    parent = state = None
    for name, value in headers:
        if name == TRACEPARENT:
            parent = value
        elif name == TRACESTATE:
            state = value
    if parent is None or not _TRACEPARENT.fullmatch(parent):
        return NO_CONTEXT
    if state and len(state) <= TRACESTATE_BYTES_MAX and state.isascii():
        return (TRACEPARENT, parent), (TRACESTATE, state)
    return ((TRACEPARENT, parent),)


def without_context(headers: Iterable[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """Return the other headers."""
    return tuple(it for it in headers if it[0] not in (TRACEPARENT, TRACESTATE))
