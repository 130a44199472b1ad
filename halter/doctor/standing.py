"""What waits to be folded, who folds, and which partitions stand still, as data: for the checkup and for consoles."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Message

from halter.doctor.cluster import Cluster, Group, Place, Refused

SLOW_MS: Final = 5_000
"""A record that waits for longer is behind. A worker folds one within some ten milliseconds."""
MOVES_SECONDS: Final = 1.0
"""Time in which a worker that folds commits something."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The record of an input that is folded next, and since when it waits."""

    place: Place
    topic: str
    """Without the prefix of the installation."""
    offset: int
    key: bytes
    since_ms: int


@dataclass(frozen=True, slots=True)
class Folding:
    """What waits to be folded, and whether it moves."""

    behind: Mapping[Place, int]
    """How many offsets each input is behind, 0 where no record waits. Marks of transactions between records count."""
    waiting: Sequence[Waiting] = ()
    """The first record of each input that waits."""
    standing: Mapping[int, Waiting] = field(default_factory=dict)
    """The oldest late record of each partition that stands still, by the partition."""
    moving: Sequence[Waiting] = ()
    """The late records of partitions that go on."""
    owners: Mapping[int, str] = field(default_factory=dict)
    """The worker that has a partition, as far as that is known."""
    is_unmanned: bool = False
    """No worker is running. Then nothing moves, and no partition is told apart."""


def look_at_folding(cluster: Cluster) -> Folding:
    """Look at what waits to be folded, and for a second whether it moves. Raises Refused and KafkaException."""
    folded, first, ends = offsets_of_inputs(cluster)
    return look(cluster, folded, *offsets_behind(folded, first, ends))


def look(
    cluster: Cluster, folded: Mapping[Place, int], behind: Mapping[Place, int], starts: Mapping[Place, int]
) -> Folding:
    """Look at what waits where inputs are behind, and for a second whether it moves. Raises Refused and KafkaException.

    `folded` has the next offset to fold of each input, as it was before; the others are those of `offsets_behind`.
    """
    read = cluster.read({place: starts[place] for place, by in behind.items() if by}, most=1)
    waiting = _waiting(cluster, read)
    # Where there are only marks of transactions, nothing waits. A place that has not answered is not in `read`.
    behind = {place: 0 if read.get(place) == [] else by for place, by in behind.items()}
    now_ms = time.time() * 1_000
    late = sorted((it for it in waiting if now_ms - it.since_ms > SLOW_MS), key=lambda it: it.since_ms)
    if not late:
        return Folding(behind, waiting)
    try:
        group = cluster.group(cluster.topics.group)
    except Refused:
        group = None
    if group is not None and not group.members:
        return Folding(behind, waiting, is_unmanned=True)
    time.sleep(MOVES_SECONDS)
    again = cluster.folded_now()
    moved = {number for (topic, number), offset in again.items() if offset != folded.get((topic, number))}
    standing: dict[int, Waiting] = {}
    for one in late:
        if one.place[1] not in moved:
            standing.setdefault(one.place[1], one)
    moving = [it for it in late if it.place[1] in moved]
    return Folding(behind, waiting, standing, moving, {} if group is None else owners_of(cluster, group))


def owners_of(cluster: Cluster, group: Group) -> dict[int, str]:
    """Return the worker that has a partition, by the partition. Empty while the group shares them out."""
    return {
        partition.partition: str(member.client_id)
        for member in group.members
        for partition in member.assignment.topic_partitions
        if partition.topic == cluster.topics.wf_commands
    }


def offsets_of_inputs(cluster: Cluster) -> tuple[Mapping[Place, int], Mapping[Place, int], Mapping[Place, int]]:
    """Return offsets of each partition of an input: the next to fold, the first that there is, its end."""
    folded, ends = cluster.folded(), cluster.ends()
    if beyond := [place for place, end in ends.items() if folded.get(place, 0) > end]:
        # Workers may have folded what came after the ends were asked for.
        ends = {**ends, **cluster.ends_of(beyond)}
    return folded, cluster.begins_of(ends), ends


def offsets_behind(
    folded: Mapping[Place, int], first: Mapping[Place, int], ends: Mapping[Place, int]
) -> tuple[dict[Place, int], dict[Place, int]]:
    """Return how many offsets each input is behind, and where it goes on. Marks of transactions count."""
    starts = {place: max(folded.get(place, 0), first.get(place, 0)) for place in ends}
    return {place: max(0, ends[place] - starts[place]) for place in ends}, starts


def _waiting(cluster: Cluster, read: Mapping[Place, Sequence[Message]]) -> list[Waiting]:
    """Return the first record of each input that waits."""
    prefix = cluster.topics.prefix
    return [
        Waiting(
            place,
            place[0].removeprefix(prefix),
            records[0].offset() or 0,
            _bytes(records[0].key()),
            records[0].timestamp()[1],
        )
        for place, records in read.items()
        if records
    ]


def _bytes(key: bytes | str | None) -> bytes:
    return key.encode() if isinstance(key, str) else key or b""
