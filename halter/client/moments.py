"""Moments of programs as values of records."""

from datetime import UTC, datetime, timedelta
from typing import Final

from processors.core.records.values import Timestamp

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
WITHOUT_ZONE: Final = "expected a datetime that has a zone, as datetime.now(UTC), found one without"


def timestamp_from(moment: datetime) -> Timestamp | None:
    """Return a moment as a value, in whole milliseconds; None if it has no zone, so that nobody knows which it is."""
    if moment.utcoffset() is None:
        return None
    return Timestamp((moment.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1))
