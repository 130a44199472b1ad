"""Counts dead letters, by the reason that their headers give, and tells the newest."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Message

from halter.doctor.cluster import Cluster
from halter.doctor.findings import Finding, Skip, Verdict
from halter.show.times import iso, span
from processors.fold.inputs import HEADER_PREFIX
from processors.kafka.headers import headers_of

LOOKED_AT_MAX: Final = 500
"""The newest offsets of a partition that are looked at."""
RECENT_MS: Final = 86_400_000
"""A dead letter of the last day is a warning. They stay for 30 days, and somebody has seen the older ones."""


def dead_letters(cluster: Cluster) -> Iterator[Finding]:
    """Say how many dead letters there are, why, and which is the newest."""
    places = cluster.places(cluster.topics.dead_letters)
    if not places:
        raise Skip(f"{cluster.topics.dead_letters} is not there, or hidden from this principal")
    ends = cluster.ends_of(places)
    first = cluster.begins_of(places)
    starts = {it: max(first.get(it, 0), end - LOOKED_AT_MAX) for it, end in ends.items() if first.get(it, 0) < end}
    records = [it for found in cluster.read(starts, most=LOOKED_AT_MAX).values() for it in found]
    if not records:
        yield Finding(Verdict.FINE, "none", data={"count": 0})
        return
    reasons = Counter(_header(it, "reason") or "unknown" for it in records)
    newest = max(records, key=lambda it: it.timestamp()[1])
    at_ms = newest.timestamp()[1]
    more = any(start > first.get(place, 0) for place, start in starts.items())
    count = f"{'more than ' if more else ''}{len(records):,}"
    why = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common(3))
    age_ms = round(time.time() * 1_000) - at_ms
    source = f"{_header(newest, 'topic')}[{_header(newest, 'partition')}]@{_header(newest, 'offset')}"
    said = f"{count} ({why}); the newest, {span(max(0, age_ms))} ago, of {source}: {_header(newest, 'message')}"
    data = {
        "count": len(records),
        "all_counted": not more,
        "reasons": dict(reasons),
        "newest": {
            "partition": newest.partition(),
            "offset": newest.offset(),
            "at": iso(at_ms),
            "source": source,
            "reason": _header(newest, "reason"),
            "message": _header(newest, "message"),
            "mapping": _header(newest, "mapping"),
        },
    }
    if age_ms > RECENT_MS:
        yield Finding(Verdict.FINE, said, data=data)
        return
    place = f"{cluster.topics.dead_letters.removeprefix(cluster.topics.prefix)} {newest.partition()} {newest.offset()}"
    mapping = _header(newest, "mapping")
    mend = f"`halter cause {place}` shows it; mend its producer, and send what it meant again"
    if mapping:
        mend = f"mend the document of '{mapping}', then post what it meant again (docs/operations.md)"
    yield Finding(Verdict.WARNING, said, mend, data)


def _header(record: Message, name: str) -> str | None:
    """Return a header of ours. The dead letter's own are behind those that its record had."""
    for key, value in reversed(headers_of(record) or ()):
        if key == HEADER_PREFIX + name:
            return value.decode(errors="backslashreplace")
    return None
