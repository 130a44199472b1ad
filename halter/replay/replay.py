"""Runs a replay, or goes on with one that was broken off.

Everything is in Kafka: the manifest says what is to be done, the progress of each partition what is done. So a replay
that is repeated after it was killed, or was complete, writes nothing twice.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from halter.client.client import Client
from halter.client.reading import FROM_THE_START
from halter.history.found import Report
from halter.history.recorded_in_kafka import RecordedInKafka
from halter.history.verifying import Verifying, Within
from halter.replay.destination import Destination, PrefixTaken
from halter.replay.manifest import DEFINITIONS_KEY, Manifest, Progress, Request, progress_key, progress_of
from halter.replay.ranges import CannotReplay, check_range, nothing_in
from halter.replay.replaying import TURN, Replaying
from halter.replay.writing import Writing
from processors.core.records.topic_names import DEFINITIONS
from processors.core.rules.versions import RULES
from processors.fold.outputs import OutputRecord

FOR_INSTANCE: Final = 3
Told = Callable[[int], None]
"""Is told how many entries of the log were read since the last time."""


def manifest_for(
    source: Client,
    destination: Destination,
    request: Request,
    ranges: Callable[[], Mapping[int, Within]],
    *,
    replaces: bool = False,
) -> Manifest:
    """Return the manifest of the replay that goes on, or of a new one. Makes nothing yet.

    `ranges` finds the parts of the logs that are meant. `replaces`: a new one takes the place of the one that is there,
    which is removed once nothing is in its way. Raises PrefixTaken, CannotReplay and NothingToReplay.
    """
    there, log_id = destination.manifest(), destination.log_id()
    if there is None or replaces:
        begins = {it: source.reader.bounds(source.topics.wf_events, it)[0] for it in request.partitions}
        found = {partition: within for partition, within in ranges().items() if within.begin < within.end}
        if not found:
            raise nothing_in(source, request.partitions)
        for partition, within in found.items():
            check_range(source, partition, within, what_is_left=request.what_is_left)
        if there is not None:
            destination.remove()
        begins = {partition: begins[partition] for partition in found}
        return Manifest(source.topics.prefix, log_id, request, found, begins, destination.queues())
    if there.is_going:
        raise PrefixTaken(
            f"--into {destination.prefix}: there is a replay whose removal was broken off; --remove ends that, and "
            "--replace makes another one"
        )
    if (there.source_prefix, there.log_id) != (source.topics.prefix, log_id):
        whose = f"of prefix '{there.source_prefix}'" if there.source_prefix != source.topics.prefix else "of a log that"
        tail = "" if there.source_prefix != source.topics.prefix else " is gone"
        raise PrefixTaken(f"--into {destination.prefix}: there is a replay {whose}{tail}; --replace makes another one")
    if there.request != request:
        raise PrefixTaken(
            f"--into {destination.prefix}: there is another replay, {there.request}; repeat that one to go on with it, "
            "take another prefix, or --replace it"
        )
    if there.rules != RULES:
        raise PrefixTaken(
            f"--into {destination.prefix}: there is this replay, decided by rules {there.rules}, and this version has "
            f"rules {RULES}; read it as it is, take another prefix, or --replace it"
        )
    return there


def complete(destination: Destination, manifest: Manifest) -> dict[int, Progress] | None:
    """Return the progress of each partition if everything was replayed before; None if something is left to do."""
    if destination.manifest() is None:
        return None
    progress, _ = _progress(destination)
    return progress if all(it in progress and progress[it].done for it in manifest.ranges) else None


def entries_of(source: Client, manifest: Manifest) -> int:
    """Return the number of offsets of the logs that a replay reads: for a progress bar."""
    begins = {it: source.reader.bounds(source.topics.wf_events, it)[0] for it in manifest.ranges}
    return sum(within.end - begins[partition] for partition, within in manifest.ranges.items())


def replayed(
    source: Client, destination: Destination, manifest: Manifest, told: Told = lambda _: None, turn: int = TURN
) -> dict[int, Progress]:
    """Replay what is not replayed yet, and return the progress of each partition: all are done.

    Raises CannotReplay before anything is made or written, and PrefixTaken if another process made other topics.
    """
    if destination.manifest() is not None:
        _check_goes_on(source, manifest, _progress(destination)[0])
    destination.make(manifest)
    writing = Writing(destination.settings, destination.topics)
    if destination.manifest() != manifest:  # no other process writes from here on
        raise PrefixTaken(
            f"--into {destination.prefix}: another process has begun a replay there, or removes it; repeat the command"
        )
    progress, has_definitions = _progress(destination)
    if not has_definitions:
        writing.write(_definitions(source), DEFINITIONS_KEY, b"{}")
    for partition in manifest.ranges:
        if partition not in progress or not progress[partition].done:
            before = progress.get(partition, Progress())
            progress[partition] = _partition(source, destination, manifest, partition, before, writing, told, turn)
        else:
            told(manifest.ranges[partition].end - manifest.ranges[partition].begin)
    return progress


def _check_goes_on(source: Client, manifest: Manifest, progress: Mapping[int, Progress]) -> None:
    """Raise CannotReplay if records have gone, since a replay was begun, that the rest of it needs."""
    for partition, within in manifest.ranges.items():
        before = progress.get(partition)
        if before is not None and before.done:
            continue
        check_range(source, partition, within, what_is_left=manifest.request.what_is_left)
        begin = source.reader.bounds(source.topics.wf_events, partition)[0]
        if before is not None and begin > manifest.log_begins[partition]:
            raise CannotReplay(
                f"the log {source.topics.wf_events}[{partition}] has lost more of its beginning since this replay was "
                f"broken off: it begins at offset {begin:,}, no longer at {manifest.log_begins[partition]:,}. What was "
                "written of WfRuns that began in between cannot be gone on with: --replace begins again"
            )


def _progress(destination: Destination) -> tuple[dict[int, Progress], bool]:
    """Return how far each partition is, and whether definitions are there."""
    values = {it.key(): it.value() for it in destination.reader.read(destination.topic, 0, FROM_THE_START)}
    found = {}
    for partition in range(destination.topics.partitions):
        value = values.get(progress_key(partition))
        if value is not None:
            found[partition] = progress_of(value)
    return found, DEFINITIONS_KEY in values


def _definitions(source: Client) -> list[OutputRecord]:
    """Return the definitions that the source has now: those of later than the range do no harm."""
    return [
        OutputRecord(DEFINITIONS, 0, it.key(), it.value(), timestamp_ms=it.timestamp()[1])
        for it in source.reader.read(source.topics.definitions, 0, FROM_THE_START)
    ]


def _partition(
    source: Client,
    destination: Destination,
    manifest: Manifest,
    partition: int,
    before: Progress,
    writing: Writing,
    told: Told,
    turn: int,
) -> Progress:
    def write(outputs: Sequence[OutputRecord], progress: Progress) -> int | None:
        return writing.write(outputs, progress_key(partition), progress.encoded())

    log_end = destination.reader.end(destination.topics.wf_events, partition)
    codec, partitions = source.codec, source.topics.partitions
    replaying = Replaying(partition, partitions, codec, before, log_end, write, turn)
    only = manifest.request.wf_runs or None
    within = manifest.ranges[partition]
    report = Verifying(RecordedInKafka(source, partition), replaying, codec, only=only, told=told, within=within).run()
    replaying.finish(_found(report))
    return replaying.progress


def _found(report: Report) -> Progress:
    left_out: dict[str, int] = {}
    for reason in report.unverified.values():
        left_out[reason.value] = left_out.get(reason.value, 0) + 1
    some = sorted(report.differences)[:FOR_INSTANCE]
    return Progress(same=report.events, different=len(report.differences), for_instance=some, left_out=left_out)
