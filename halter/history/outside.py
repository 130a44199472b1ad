"""Reads what lies outside of the log: records that are not folded yet, dead letters, and single records of any topic.

Kafka only: an export has what was decided. Commits nothing and joins no group.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from confluent_kafka import Message

from halter.client.client import Client
from halter.client.errors import TopicMissing
from halter.client.log_records import log_entry
from halter.client.reading import FROM_THE_START
from halter.client.wf_run_rows import WfRunRows
from halter.history.causes import origin_of_dead_letter
from halter.history.why_not import Outside, Seen
from processors.codec import CodecError
from processors.core.records.commands import ExternalEvent, RunWfAndPost
from processors.core.records.errors import HalterError
from processors.core.records.topic_names import DEAD_LETTERS, EXTERNAL_EVENTS, WF_COMMANDS
from processors.fold.inputs import HEADER_PREFIX, InputRecord
from processors.kafka.partitioner import partition_of
from processors.kafka.topics import Kind, Topic, Topics

POSTING_TOPICS: Final = (EXTERNAL_EVENTS, WF_COMMANDS)
"""The topics of records that post an ExternalEvent."""


class NoSuchTopic(HalterError):
    """A topic is none of this installation's, or has no such partition. Whoever typed it corrects it."""


def outside_of(client: Client, wf_run_id: str, external_event_id: str) -> Outside:
    """Return the records with an ExternalEvent id that the log has nothing about.

    Reads the WfRun's partition of `external-events` and of `wf-commands`, as far as Kafka still has it, and
    `dead-letters`.
    """
    partition = partition_of(wf_run_id.encode(), client.topics.partitions)
    records: list[Seen] = []
    end = dict.fromkeys(POSTING_TOPICS, 0)
    for topic, name in ((EXTERNAL_EVENTS, client.topics.external_events), (WF_COMMANDS, client.topics.wf_commands)):
        try:
            messages = client.reader.read(name, partition, FROM_THE_START)
            records += _records(client, messages, topic, partition, wf_run_id, external_event_id)
            end[topic] = client.reader.end(name, partition)
        except TopicMissing:  # a replay has no inputs of its own
            continue
    return Outside(
        dead_letters=tuple(_dead_letters(client, wf_run_id, external_event_id)),
        records=tuple(records),
        folded=folded_up_to(client, partition, wf_run_id),
        end=end,
    )


def folded_up_to(client: Client, partition: int, wf_run_id: str) -> dict[str, int]:
    """Return the next offsets of POSTING_TOPICS that a partition folds, for those of which it has folded something."""
    topics, reader = client.topics, client.reader
    _, position = WfRunRows(reader, topics, client.codec).of(wf_run_id, partition)
    known = {} if position is None else position.offsets
    folded = {topic: offset for topic, offset in known.items() if topic in POSTING_TOPICS}
    behind = FROM_THE_START if position is None else position.log_position
    if behind is None:
        return folded
    # The rows follow the log: what was folded since is behind them.
    for message in reader.read(topics.wf_events, partition, behind):
        cause = log_entry(client.codec, message).cause
        if cause.topic in POSTING_TOPICS:
            folded[cause.topic] = max(folded.get(cause.topic, 0), cause.offset + 1)
    return folded


def _records(
    client: Client, messages: Iterable[Message], topic: str, partition: int, wf_run_id: str, external_event_id: str
) -> Iterator[Seen]:
    key = wf_run_id.encode()
    for message in messages:
        if message.key() == key:
            event = _decoded(client, message.value())
            if isinstance(event, ExternalEvent | RunWfAndPost) and event.external_event_id == external_event_id:
                at = message.offset() or 0, message.timestamp()[1]
                yield Seen(topic, partition, *at, event.external_event_def)


def _dead_letters(client: Client, wf_run_id: str, external_event_id: str) -> Iterator[Seen]:
    """Yield the dead letters with an id; of those that cannot be decoded, those with its text in them."""
    from processors.runtime.turn.arrivals import as_input  # here: most commands do not read inputs

    for partition in range(client.topics.partitions):
        for message in client.reader.read(client.topics.dead_letters, partition, FROM_THE_START):
            letter = as_input(message, DEAD_LETTERS, partition)
            place = origin_of_dead_letter(letter.headers)
            if place is None or place[0] not in POSTING_TOPICS:
                continue
            event = _decoded(client, letter.value)
            if isinstance(event, ExternalEvent | RunWfAndPost):
                is_it = event.external_event_id == external_event_id and event.wf_run_id == wf_run_id
            else:
                is_it = letter.key == wf_run_id.encode() and external_event_id.encode() in (letter.value or b"")
            if is_it:
                ours = {name.removeprefix(HEADER_PREFIX): value.decode(errors="replace")
                        for name, value in letter.headers if name.startswith(HEADER_PREFIX)}  # fmt: skip
                name = event.external_event_def if isinstance(event, ExternalEvent | RunWfAndPost) else None
                at = letter.offset, letter.timestamp_ms
                yield Seen(DEAD_LETTERS, partition, *at, name, ours.get("reason"), ours.get("message"))


def _decoded(client: Client, value: bytes | None) -> object:
    """Return a record that was decoded; None if it cannot be."""
    try:
        return None if value is None else client.codec.decode(value)
    except CodecError:
        return None


def topic_named(topics: Topics, topic: str, partition: int) -> Topic:
    """Return a topic of the installation that is to have a partition. Raises NoSuchTopic."""
    names = {it.declared_name: it for it in topics.all}
    found = names.get(topic) or next((it for it in topics.all if it.name == topic), None)
    if found is None:
        from processors.core.wf_spec.near_names import NearNames

        meant = NearNames().meant(topic, names)
        raise NoSuchTopic(f"expected one of the topics {', '.join(sorted(names))}, found '{topic}'{meant}")
    if not 0 <= partition < found.partitions:
        raise NoSuchTopic(f"{topic} has the partitions 0 to {found.partitions - 1}, found {partition}")
    return found


def record_at(client: Client, topic: str, partition: int, offset: int) -> InputRecord | None:
    """Return a record of any topic of the installation; None if it is not there any more. Raises NoSuchTopic."""
    from processors.runtime.turn.arrivals import as_input  # here: most commands do not read inputs

    found = topic_named(client.topics, topic, partition)
    try:
        low, end = client.reader.bounds(found.name, partition)
    except TopicMissing:
        if found.kind is Kind.INPUT:
            return None  # a replay has no inputs of its own
        raise
    if offset >= end:
        raise NoSuchTopic(f"{topic}[{partition}] ends at {end}: no record has the offset {offset} yet")
    if offset < low:
        return None
    for message in client.reader.read(found.name, partition, offset):
        # Of a compacted topic the record may be gone, and a later one comes first.
        return as_input(message, found.declared_name, partition) if message.offset() == offset else None
    return None
