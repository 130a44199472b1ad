"""The parts of the logs that two bounds mean, and why one of them cannot be replayed.

A range is a part of the log, because that has the order in which inputs were decided. It begins with the first event of
the partition that is not older than a time, and ends before the first one that is younger. So two ranges that meet at
a time have no input in common, and none is between them.
"""

from collections.abc import Collection, Sequence

from halter.client.client import Client
from halter.client.reading import offset_of
from halter.history.blocks import Block, blocks
from halter.history.recorded_in_kafka import RecordedInKafka
from halter.history.verifying import Within, begins_at, lacks_input
from halter.replay.bounds import BadBound, Bound, InputPlace
from halter.show.times import iso
from processors.codec import DecodeError
from processors.core.records.errors import HalterError
from processors.core.records.events import LogEntry
from processors.fold.inputs import SHARD_INPUTS


class NothingToReplay(HalterError):
    """No input was decided in the range. Whoever asked for it takes another; the message says what there is."""


class CannotReplay(HalterError):
    """Records that the range needs are gone. Whoever asked for it takes a later one, or what is left."""


def partitions_meant(chosen: Collection[int], bounds: Sequence[Bound | None], partitions: int) -> list[int]:
    """Return the partitions to replay: those that were chosen or that a bound names, else all. Raises BadBound."""
    named = {bound.partition for bound in bounds if isinstance(bound, InputPlace)}
    if len(named) > 1:
        raise BadBound(f"--from and --to: expected records of one partition, found {sorted(named)}")
    if named and chosen and {*chosen} != named:
        raise BadBound(f"--partition: expected that of the record that is named, {min(named)}, found {sorted(chosen)}")
    meant = sorted({*chosen} or named or range(partitions))
    for partition in meant:
        if partition >= partitions:
            raise BadBound(f"partition: expected 0 to {partitions - 1}, found {partition}")
    return meant


def range_of(client: Client, partition: int, start: Bound | None, end: Bound | None) -> Within:
    """Return the part of a partition's log that two bounds mean; None stands for its beginning and its end now.

    It is empty if `end` is not greater than `begin`. Raises CannotReplay.
    """
    topic, reader = client.topics.wf_events, client.reader
    first, last = reader.bounds(topic, partition)
    if isinstance(start, InputPlace):
        begin = begins_at(_block_of(client, start)[0])
    else:
        begin = first if start is None else _not_older(client, partition, start)
    if isinstance(end, InputPlace):
        behind = _block_of(client, end)[1]
        stop = last if behind is None else begins_at(behind)
    else:
        stop = last if end is None else _not_older(client, partition, end + 1)
    return Within(begin, min(stop, last))


def _not_older(client: Client, partition: int, time_ms: int) -> int:
    """Return the offset of the first event of a partition that is not older than a time; the end if all are."""
    topic, reader = client.topics.wf_events, client.reader
    # Kafka takes the mark of a transaction for a record. The events behind it may be older than it is.
    for message in reader.read(topic, partition, reader.offset_at(topic, partition, time_ms)):
        if message.timestamp()[1] >= time_ms:
            return offset_of(message)
    return reader.end(topic, partition)


def _block_of(client: Client, place: InputPlace) -> tuple[Block, Block | None]:
    """Return what the log has of an input, and what is behind it."""
    log = blocks(RecordedInKafka(client, place.partition).log(), client.codec, {})
    for block in log:
        cause = block.cause
        if cause is not None and (cause.topic, cause.offset) == (place.topic, place.offset) and block.is_in_order:
            return block, next(log, None)
    raise CannotReplay(
        f"expected events that {place} caused on {client.topics.wf_events}, found none: it is a dead letter, is not "
        f"folded yet, or its events are gone; `halter cause {place.topic} {place.partition} {place.offset}` tells more"
    )


def check_range(client: Client, partition: int, within: Within, *, what_is_left: bool) -> None:
    """Raise CannotReplay if records are gone that a range needs.

    `what_is_left`: WfRuns whose first events are gone are left out, so they are not needed.
    """
    recording = RecordedInKafka(client, partition)
    if recording.is_cut and not what_is_left:
        raise CannotReplay(
            f"the state before the range is not known: the log {client.topics.wf_events}[{partition}] begins at offset "
            f"{recording.begins:,}, and what was before is gone. --what-is-left replays the WfRuns that began since"
        )
    inputs = recording.inputs()
    begins = {topic: inputs.begins(topic) for topic in SHARD_INPUTS}
    if not any(begins.values()):
        return
    gone: Block | None = None
    for block in blocks(recording.log(), client.codec, {}):
        if begins_at(block) >= within.end:
            break
        if begins_at(block) >= within.begin and lacks_input(block, begins):
            gone = block
    if gone is not None and gone.cause is not None:
        cause = gone.cause
        raise CannotReplay(
            f"inputs of the range are gone: {cause.topic}[{partition}] begins at offset {begins[cause.topic]:,}, and "
            f"the range has the one at {cause.offset:,}{_time_of(client, gone)}; begin after it"
        )


def _time_of(client: Client, block: Block) -> str:
    try:
        entry = client.codec.decode(block.entries[0].value)
    except DecodeError:
        return ""
    return f", of {iso(entry.time_ms)}" if isinstance(entry, LogEntry) else ""


def nothing_in(client: Client, partitions: Sequence[int]) -> NothingToReplay:
    """Return the error that says that a range is empty, and what the logs have."""
    extents = [_extent(client, partition) for partition in partitions]
    times = [it for it in extents if it is not None]
    has = f"from {iso(min(times)[0])} to {iso(max(it[1] for it in times))}" if times else "none"
    which = "" if len(partitions) == client.topics.partitions else f" of partition {', '.join(map(str, partitions))}"
    return NothingToReplay(f"expected inputs that were decided in this range, found none{which}; there are {has}")


def _extent(client: Client, partition: int) -> tuple[int, int] | None:
    """Return the times of the first and the last event of a partition; None if it has none."""
    topic, reader = client.topics.wf_events, client.reader
    first = last = None
    for message in reader.read(topic, partition, max(0, reader.end(topic, partition) - LAST_LOOKED_AT)):
        last = message.timestamp()[1]
    for message in reader.read(topic, partition, 0):
        first = message.timestamp()[1]
        break
    return None if first is None or last is None else (first, last)


LAST_LOOKED_AT = 1_000
"""Offsets before the end among which the last event is looked for: marks of transactions are there as well."""
