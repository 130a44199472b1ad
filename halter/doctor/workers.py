"""Looks at the workers' group, at what nobody has folded yet, and at task workers.

A pause is not state (ADR 6): only the worker that has the partition knows it, and answers it to probes. From outside, a
paused partition has an owner, a record that waits, and an offset that does not move.
"""

import shlex
import time
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Final

from confluent_kafka import Message

from halter.client.workers import WITHOUT_HANDLER, ids_of_task_workers
from halter.doctor.cluster import Cluster, Place, Refused, input_topics
from halter.doctor.findings import Finding, Verdict, listed
from halter.doctor.standing import Folding, Waiting, look, offsets_behind, offsets_of_inputs, owners_of
from halter.show.counting import counted
from halter.show.times import span
from processors.fold.inputs import SHARD_INPUTS

TOLD_MAX: Final = 5
RUN_ONE: Final = "`halter worker` starts one"
BRING_BACK: Final = (
    "no worker skips what was lost: bring the topic back from a copy, or set up anew under another prefix "
    "(docs/operations.md)"
)
STABLE: Final = frozenset({"STABLE", "EMPTY", "DEAD", "UNKNOWN"})
"""States in which no rebalance is known to be under way. librdkafka knows no others of groups of KIP-848."""
KEY_SHOWN_MAX: Final = 80


def workers(cluster: Cluster) -> Iterator[Finding]:
    """Say who is in the workers' group, and whether each partition has an owner."""
    group = cluster.group(cluster.topics.group)
    owners = owners_of(cluster, group)
    names = sorted(str(it.client_id) for it in group.members)
    data = {"group": group.name, "state": group.state, "members": names, "owners": {str(k): owners[k] for k in owners}}
    if not names:
        yield Finding(Verdict.WRONG, f"no worker is running: group '{group.name}' has no member", RUN_ONE, data)
        return
    count = f"{len(names)} worker{'' if len(names) == 1 else 's'}"
    if group.state not in STABLE:
        state = group.state.lower().replace("_", " ")
        yield Finding(
            Verdict.WARNING,
            f"{count}; group '{group.name}' is {state}: it shares out the partitions now",
            "ask again in a few seconds; if it goes on, look at the workers' logs",
            data,
        )
        return
    partitions = [number for _, number in cluster.places(cluster.topics.wf_commands)]
    vacant = [number for number in partitions if number not in owners]
    if vacant:
        yield Finding(
            Verdict.WRONG,
            f"{count}, and no owner for partition {listed(map(str, vacant), 8)}",
            "look at the workers' logs; they say what they wait for",
            data,
        )
        return
    yield Finding(Verdict.FINE, f"{count} for {counted(len(partitions), 'partition')}: {listed(names)}", data=data)


def folding(cluster: Cluster) -> Iterator[Finding]:
    """Say what waits to be folded, and which partitions stand still."""
    topics = cluster.topics
    cluster.expect({topics.fold_positions: "READ", topics.wf_events: "READ"})
    cluster.expect(dict.fromkeys(input_topics(topics), "DESCRIBE"))
    folded, first, ends = offsets_of_inputs(cluster)
    lost = [*_lost(folded, first, ends)]
    yield from (Finding(Verdict.WRONG, said, BRING_BACK, data) for said, data in lost[:TOLD_MAX])
    if len(lost) > TOLD_MAX:
        yield Finding(Verdict.WRONG, f"{len(lost) - TOLD_MAX} more partitions of inputs like that", "as above")
    behind, starts = offsets_behind(folded, first, ends)
    data: dict[str, Any] = {
        "offsets_behind": {f"{topic}[{number}]": by for (topic, number), by in behind.items() if by}
    }
    try:
        found = look(cluster, folded, behind, starts)
    except Refused as refused:
        most = sum(behind.values())
        said = f"at most {counted(most, 'record', 'wait')} to be folded; {refused}, so it is not known whether any does"
        yield Finding(Verdict.SKIPPED, said, data=data)
        return
    if not found.waiting:
        yield Finding(Verdict.FINE, "no record waits to be folded", data=data)
        return
    oldest = span(round(time.time() * 1_000 - min(it.since_ms for it in found.waiting)))
    said = f"at most {counted(sum(behind.values()), 'record', 'wait')} to be folded, the oldest for {oldest}"
    if found.is_unmanned:
        yield Finding(Verdict.WARNING, f"{said}, and no worker is running", RUN_ONE, data)
    elif not (found.standing or found.moving):
        yield Finding(Verdict.FINE, said, data=data)
    else:
        yield from _late(found, said, data)


def _lost(
    folded: Mapping[Place, int], first: Mapping[Place, int], ends: Mapping[Place, int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the inputs that no longer have what is folded next. No worker goes on with such a partition (PositionLost).

    A truncated topic may have grown beyond the position again: that nobody can tell.
    """
    for place in sorted(ends):
        next_folded = folded.get(place)
        if next_folded is None or place not in first:
            continue
        found = None
        if next_folded > ends[place]:
            found = f"ends at {ends[place]}: it was truncated, or deleted and made anew"
        elif next_folded < first[place]:
            found = f"begins at {first[place]}: {first[place] - next_folded:,} offsets were deleted unread"
        if found:
            where = f"{place[0]}[{place[1]}]"
            data = {"topic": place[0], "partition": place[1], "next": next_folded, "begins": first[place]}
            yield f"{where} is folded up to {next_folded}, and {found}", data


def _late(found: Folding, said: str, data: dict[str, Any]) -> Iterator[Finding]:
    """Tell the partitions that stand still from those that are only behind."""
    for number, one in [*found.standing.items()][:TOLD_MAX]:
        yield _standing(number, one, found.owners.get(number))
    if len(found.standing) > TOLD_MAX:
        others = listed(map(str, [*found.standing][TOLD_MAX:]), 20)
        yield Finding(Verdict.WRONG, f"partitions that stand still as well: {others}", "as above")
    if found.moving:
        yield Finding(
            Verdict.WARNING,
            f"{said}, and the workers go on",
            "if it grows, run more workers, at most one for each partition",
            data,
        )


def _standing(number: int, one: Waiting, owner: str | None) -> Finding:
    topic = one.topic
    key = one.key.decode(errors="backslashreplace")
    shown = key if len(key) <= KEY_SHOWN_MAX else key[: KEY_SHOWN_MAX - 3] + "..."
    waits = span(round(time.time() * 1_000 - one.since_ms))
    where = f"{topic}[{number}]@{one.offset} of '{shown}'"
    data = {"partition": number, "topic": topic, "offset": one.offset, "key": key, "owner": owner}
    aside = f"`halter quarantine {shlex.quote(key)}`" if topic in SHARD_INPUTS else None
    skip = f"`halter skip {topic} {number} {one.offset}`"
    paused = f"if its log has partition_paused: {aside or skip} lets the partition go on (docs/operations.md)"
    if owner is None:
        return Finding(
            Verdict.WRONG,
            f"partition {number} stands still, {where} waits for {waits}",
            f"see 'workers'; {paused}",
            data,
        )
    return Finding(
        Verdict.WRONG,
        f"partition {number} stands still though worker '{owner}' has it: {where} waits for {waits}",
        paused,
        data,
    )


def task_workers(cluster: Cluster) -> Iterator[Finding]:
    """Say whether somebody takes the task requests that wait."""
    topics = cluster.topics
    cluster.expect({topics.task_requests: "READ"})
    usual = topics.task_group
    groups = [cluster.group(it) for it in (usual, *cluster.groups_that_begin(f"{usual}-"))]
    names = sorted(str(it.client_id) for group in groups for it in group.members)
    if names:
        count = f"{len(names)} task worker{'' if len(names) == 1 else 's'}"
        busy = [it.name for it in groups if it.members]
        where = "" if busy == [usual] else f" (group {listed(busy)})"
        yield Finding(Verdict.FINE, f"{count}: {listed(names)}{where}", data={"members": names})
        for group, queue in product(groups, (topics.task_requests, *topics.task_queues.values())):
            apart = sorted(ids_of_task_workers(group.members, queue))
            if len(apart) > 1:
                yield Finding(
                    Verdict.WARNING,
                    f"task workers of group '{group.name}' have handlers for different tasks: {listed(apart)}; "
                    f"{WITHOUT_HANDLER}",
                    "give those that have other tasks a group of their own: TaskWorker(group=...)",
                )
        return
    places = cluster.places(topics.task_requests, *topics.task_queues.values())
    committed, ends = cluster.offsets_of_group(usual, places), cluster.ends_of(places)
    first = cluster.begins_of(places)
    starts = {it: max(committed.get(it, 0), first.get(it, 0)) for it in ends}
    waiting: Mapping[Place, list[Message]] = cluster.read(
        {it: start for it, start in starts.items() if start < ends[it]}, most=1
    )
    if any(waiting.values()):
        most = sum(ends[it] - start for it, start in starts.items())
        yield Finding(
            Verdict.WARNING,
            f"at most {most:,} task requests wait, and neither group '{usual}' has a member, nor one whose name begins "
            f"with '{usual}-'",
            "`halter task-worker MODULE:NAME` starts a task worker",
        )
        return
    yield Finding(Verdict.FINE, "no task request waits, and no task worker runs")
