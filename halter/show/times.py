"""Writes times and spans of time. A time is ISO 8601 in UTC with milliseconds, in text and in JSON alike.

Only what people read while they debug may have another zone (`local`).
"""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from processors.core.records.values import Timestamp, iso_of

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def iso(epoch_ms: int) -> str:
    """A time as `2026-01-01T00:00:00.000Z`."""
    return iso_of(Timestamp(epoch_ms))


def local(epoch_ms: int, zone: tzinfo | None = UTC) -> str:
    """A time as `2026-01-01 00:00:00.000Z` in a zone, None being that of this machine.

    Beyond the years that a date can express it is as `iso` writes it.
    """
    try:
        moment = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch_ms)).astimezone(zone)
    except (OverflowError, ValueError):
        return iso(epoch_ms)
    offset = f"{moment:%z}" if moment.utcoffset() else "Z"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}{offset}"


def span(milliseconds: int) -> str:
    """A span of time in its largest unit and the one below: `12 s`, `3 min 5 s`, `2 d 4 h`."""
    for index, (size, unit) in enumerate(_UNITS):
        if milliseconds >= size:
            whole, rest = divmod(milliseconds, size)
            if index + 1 < len(_UNITS):
                below, name = _UNITS[index + 1]
                if rest >= below:
                    return f"{whole} {unit} {rest // below} {name}"
            return f"{whole} {unit}"
    return "0 s"
