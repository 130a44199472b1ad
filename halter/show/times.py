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
    """A time as `iso` writes it, or `2026-01-01T02:00:00.000+02:00` in another zone. None is that of this machine.

    Beyond the years that a date can express it is as `iso` writes it.
    """
    try:
        moment = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch_ms)).astimezone(zone)
    except (OverflowError, ValueError):
        return iso(epoch_ms)
    return moment.isoformat(timespec="milliseconds") if moment.utcoffset() else iso(epoch_ms)


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
