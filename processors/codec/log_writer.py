"""Writes the log entries of one command with compiled encoders. mypyc compiles this module and the encoders.

`encoders` writes Python for the interpreter, which is quickest with tables that are subscripted. Compiled code is
quickest with calls of these functions. The bytes are the same; `tests/codec` compares them.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from processors.codec.encoders import CONTINUED, INTS, LAST, LONGS, REMEMBERED
from processors.core.records.events import Cause, LogEntry

EventWriter = Callable[[Any, bytes, bytes, bytes, bytes], bytes]
"""From an event, the header of the framing, and the encoded fields of the LogEntry (head, seq, tail), to bytes."""

# What is imported is looked up by its name each time; these are not.
_LONGS: Final = LONGS
_INTS: Final = INTS
_CONTINUED: Final[list[bytes]] = CONTINUED
_LAST: Final[list[bytes]] = LAST
_REMEMBERED: Final[int] = REMEMBERED
_TEXT_MAX: Final = 64
_TEXTS: Final[dict[str, bytes]] = {}
"""Text -> its encoding, as `encoders.Texts` has it. A plain dict is asked without a call."""
pack_double: Final[Callable[[float], bytes]] = struct.Struct("<d").pack


def long_of(number: int) -> bytes:
    """Return the encoding of a number of 64 bits. Raises ValueError."""
    if 0 <= number < 1 << 13:
        return _LAST[number << 1]
    if 0 <= number < 1 << 41:  # times
        left = number << 1
        if left < 1 << 28:
            return _CONTINUED[left & 16383] + _LAST[left >> 14]
        return _CONTINUED[left & 16383] + _CONTINUED[left >> 14 & 16383] + _LAST[left >> 28]
    return _LONGS[number]


def int_of(number: int) -> bytes:
    """Return the encoding of a number of 32 bits. Raises ValueError."""
    return long_of(number) if 0 <= number < 1 << 31 else _INTS[number]


def text_of(text: str) -> bytes:
    """Return the encoding of a text. Short ones are remembered."""
    known = _TEXTS.get(text)
    if known is not None:
        return known
    data = text.encode()
    encoded = long_of(len(data)) + data
    if len(text) <= _TEXT_MAX:
        if len(_TEXTS) >= _REMEMBERED:
            _TEXTS.clear()
        _TEXTS[text] = encoded
    return encoded


def write_log(
    log: Sequence[LogEntry],
    writers: dict[type, tuple[bytes, EventWriter]],
    others: dict[type, Callable[[Any, bytes, bytes, bytes], bytes]],
    write_cause: Callable[[Cause], bytes],
) -> list[bytes]:
    """Return the bytes of the entries of one command. Their headers differ in `seq` only, so the rest is encoded once.

    `writers`: event -> the header of its framing, and its compiled encoder. `others`: the encoders of the events that
    have no compiled one. Raises KeyError for an event that neither has.
    """
    first = log[0]
    head = text_of(first.wf_run_id) + long_of(first.incarnation)
    tail = long_of(first.time_ms) + write_cause(first.cause)
    written: list[bytes] = []
    for entry in log:
        event = entry.event
        known = writers.get(type(event))
        if known is None:
            written.append(others[type(event)](event, head, long_of(entry.seq), tail))
        else:
            written.append(known[1](event, known[0], head, long_of(entry.seq), tail))
    return written
