"""Names the WfRuns in quarantine, by what operators have asked for last.

Whether a WfRun is in quarantine stands in its row, and there are too many rows to read. But only operators put one
there and let it out, and `operator-commands` is compacted by the WfRun: it keeps the last command about each, for ever.
"""

from collections.abc import Iterator
from typing import Final

from confluent_kafka import Message

from halter.client.reading import offset_of
from halter.doctor.cluster import Cluster
from halter.doctor.findings import Finding, Skip, Verdict, listed
from halter.show.counting import counted
from processors.codec.registry import RegistryUnavailable
from processors.core.records.commands import QuarantineWfRun, ReleaseWfRun
from processors.core.records.topic_names import OPERATOR_COMMANDS
from processors.fold.inputs import InputRecord, read_input

LOOKED_AT_MAX: Final = 5_000
"""The newest offsets of a partition that are looked at."""
RELEASE: Final = "mend what broke, then `halter release WF_RUN` decides what was kept (docs/operations.md)"


def quarantine(cluster: Cluster) -> Iterator[Finding]:
    """Say which WfRuns were put into quarantine last, and not released since."""
    topic = cluster.topics.operator_commands
    cluster.expect({topic: "READ"})
    places = cluster.places(topic)
    if not places:
        raise Skip(f"{topic} is not there")
    first, ends = cluster.begins_of(places), cluster.ends_of(places)
    starts = {it: max(first.get(it, 0), end - LOOKED_AT_MAX) for it, end in ends.items() if first.get(it, 0) < end}
    read = cluster.read(starts, most=LOOKED_AT_MAX)
    if unanswered := starts.keys() - read.keys():
        where = listed(f"{topic}[{number}]" for _, number in sorted(unanswered))
        yield Finding(Verdict.UNKNOWN, f"{where} did not answer in time", "ask again")
    found = sorted(wf_run_id for records in read.values() for wf_run_id in _caught(cluster, records))
    older = any(start > first.get(place, 0) for place, start in starts.items())
    data = {"wf_run_ids": found, "all_looked_at": not (older or unanswered)}
    if found:
        said = f"{'at least ' if older or unanswered else ''}{counted(len(found), 'WfRun')}: {listed(found)}"
        yield Finding(Verdict.WARNING, said, RELEASE, data)
    elif not unanswered:
        newest = f"none, by the newest {LOOKED_AT_MAX:,} offsets of each partition of {topic}" if older else "no WfRun"
        yield Finding(Verdict.FINE, newest, data=data)


def _caught(cluster: Cluster, records: list[Message]) -> set[str]:
    """Return the WfRuns whose last command puts them into quarantine. What workers do not take changes nothing."""
    codec, found = cluster.settings.codec(), set[str]()
    for record in records:
        try:
            command = read_input(_input(record), codec, cluster.topics.partitions)
        except RegistryUnavailable as error:
            raise Skip(f"the Schema Registry is needed to read what operators asked for: {error}") from error
        match command:
            case QuarantineWfRun(wf_run_id=wf_run_id):
                found.add(wf_run_id)
            case ReleaseWfRun(wf_run_id=wf_run_id):
                found.discard(wf_run_id)
            case _:
                pass
    return found


def _input(record: Message) -> InputRecord:
    """Return a record of operators as workers read it. Its headers do not matter here."""
    partition, time_ms = record.partition() or 0, record.timestamp()[1]
    return InputRecord(OPERATOR_COMMANDS, partition, offset_of(record), time_ms, record.key(), record.value())
