"""Where a range of inputs begins and ends, as people write it: a time, or an input record that is named."""

import re
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from halter.history.moments import NoSuchMoment, time_of
from halter.show.times import iso
from processors.core.records.errors import HalterError
from processors.fold.inputs import SHARD_INPUTS

PLACE: Final = re.compile(r"([a-z-]+)\[(\d{1,9})\]@(\d{1,18})")


class BadBound(HalterError):
    """A bound is neither a time nor an input record, or two bounds do not go together. Whoever typed it corrects it."""


@dataclass(frozen=True, slots=True)
class InputPlace:
    """The place of an input record. The topic is named without the prefix."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """Return the place as people write it: external-events[3]@41."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


Bound = int | InputPlace
"""A time in milliseconds, or the first or last input."""


def bound_of(option: str, text: str, zone: tzinfo | None, now_ms: int, *, first: bool) -> Bound:
    """Read a bound. A time of day is one of today. Raises BadBound.

    The last digit of a time counts as a whole: `--from 12:03` begins with that minute, `--to 12:03` ends with its end.
    """
    place = PLACE.fullmatch(text.strip())
    if place is not None:
        if place[1] not in SHARD_INPUTS:
            raise BadBound(f"{option}: expected an input record, of {', '.join(SHARD_INPUTS)}, found '{text}'")
        return InputPlace(place[1], int(place[2]), int(place[3]))
    try:
        return time_of(text, zone, now_ms, first=first)
    except NoSuchMoment:
        raise BadBound(
            f"{option}: expected a time (12:03:11, 2026-01-31T12:03:11Z) or an input record (external-events[3]@41), "
            f"found '{text}'"
        ) from None


def written(bound: Bound | None) -> str | None:
    """Return a bound as a text that says the same in every time zone."""
    return iso(bound) if isinstance(bound, int) else None if bound is None else str(bound)
