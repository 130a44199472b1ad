"""The recording of some WfRuns that a Source has. Their events are encoded anew, so values are compared, not bytes."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from halter.client.history import is_whole, lives
from halter.history.deciding import Row
from halter.history.logged import Logged
from halter.history.recording import InMemory, Recorded
from halter.history.source import NoSuchWfRun, Source, events_about_skips
from processors.core.records.events import RecordSkipped
from processors.kafka.partitioner import partition_of

NoSuch: TypeAlias = Callable[[str], NoSuchWfRun]


def recordings(source: Source, wf_run_ids: Iterable[str], no_such: NoSuch) -> Iterator[InMemory]:
    """Yield a recording of each partition that has some of these WfRuns.

    Raises what `no_such` returns for an id of which there is no event.
    """
    by_partition: dict[int, list[str]] = {}
    for wf_run_id in wf_run_ids:
        by_partition.setdefault(partition_of(wf_run_id.encode(), source.partitions), []).append(wf_run_id)
    definitions = [
        (offset, Row(definition.key.encode(), source.codec.encode(definition)))
        for offset, definition in source.definition_records()
    ]
    for partition, ids in sorted(by_partition.items()):
        logged = [it for wf_run_id in ids for it in _last_life(source, wf_run_id, no_such)]
        yield _recording(source, partition, logged, definitions)


def _recording(source: Source, partition: int, logged: list[Logged], definitions: list[tuple[int, Row]]) -> InMemory:
    causes = [it.entry.cause for it in logged if isinstance(it.entry.event, RecordSkipped)]
    if causes:
        logged += events_about_skips(source, partition, {(it.topic, it.partition, it.offset) for it in causes})
    if all(it.offset is not None for it in logged):
        logged.sort(key=lambda it: it.offset or 0)
    log = [Recorded(it.offset, it.entry.wf_run_id.encode(), source.codec.encode(it.entry), it.rules) for it in logged]
    causes = [it.entry.cause for it in logged]
    inputs = source.records((cause.topic, cause.partition, cause.offset) for cause in causes)
    begins: dict[str, int] = {}
    for cause in causes:
        if (cause.topic, cause.partition, cause.offset) not in inputs:
            begins[cause.topic] = max(begins.get(cause.topic, 0), cause.offset + 1)
    is_cut = bool(logged) and logged[0].entry.seq > 1
    return InMemory(
        partition, source.partitions, log, inputs.values(), definitions, begins=begins, is_cut=is_cut, has_all=False
    )


def _last_life(source: Source, wf_run_id: str, no_such: NoSuch) -> list[Logged]:
    """Return the events of the last WfRun of an id, from the whole log if ExternalEvents came long before it."""
    logged = _last_of(source.events(wf_run_id))
    if not is_whole([it.entry for it in logged]):
        logged = _last_of(source.events(wf_run_id, previous=True))
    if not logged:
        raise no_such(wf_run_id)
    return logged


def _last_of(events: Iterable[Logged]) -> list[Logged]:
    logged = list(events)
    # Behind the deletion of what was never started there is nothing.
    found = [logged[begin:end] for begin, end in lives([it.entry for it in logged]) if begin < end]
    return found[-1] if found else []
