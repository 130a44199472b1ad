"""Compares topics and replicas with topics.yaml, and with what the engine relies on."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from halter.doctor.cluster import Cluster, Shape, Shapes, input_topics
from halter.doctor.findings import Finding, Skip, Verdict, listed
from halter.topics.admin import Action, Change, compare
from processors.kafka.topic_check import FoundTopic, problems
from processors.kafka.topics import Topic

APPLY: Final = "`halter topics plan` shows what would change, `halter topics apply` changes it"
OTHER_COUNTS: Final = (
    "no command changes a number of partitions: if the cluster was set up so, say HALTER_PARTITIONS={count}; else set "
    "up anew under another prefix, or, while nothing is on it, delete the topic and run `halter topics apply`"
)
BY_HAND: Final = "kafka-configs sets it: `halter topics apply` changes no topic while it refuses to change one"
MIN_INSYNC: Final = "min.insync.replicas"
OF_KAFKA: Final = ("__consumer_offsets", "__transaction_state")


def topics(cluster: Cluster) -> Iterator[Finding]:
    """Compare the topics that there are with topics.yaml."""
    wanted, shapes = cluster.topics, cluster.shapes()
    missing = [it for it in shapes.missing if it not in wanted.may_be_missing]
    if missing and not shapes.there and not shapes.hidden:
        yield Finding(Verdict.WRONG, *_nothing_here(cluster), {"missing": missing})
        return
    if missing:
        are = "one topic does" if len(missing) == 1 else f"{len(missing)} topics do"
        yield Finding(Verdict.WRONG, f"{are} not exist: {listed(missing)}", _make(cluster), {"missing": missing})
    if shapes.hidden and not shapes.there:
        raise Skip("Kafka shows this principal none of the topics")
    seen, as_wanted = 0, 0
    yield from _other_counts(cluster, shapes)
    for topic in wanted.all:
        if topic.name in shapes.there:
            found = _found(topic, cluster, shapes.there[topic.name])
            of_topic = [*_problems(topic, found, cluster)]
            as_it_is = not of_topic and found.partitions == topic.partitions
            seen, as_wanted = seen + 1, as_wanted + as_it_is
            yield from of_topic
    if as_wanted:
        yield Finding(Verdict.FINE, _as_wanted(cluster, shapes, seen, as_wanted), data={"as_wanted": as_wanted})


def _other_counts(cluster: Cluster, shapes: Shapes) -> Iterator[Finding]:
    """Tell of topics with another number of partitions, from which the partition of a WfRun follows."""
    counts: dict[int, list[Topic]] = defaultdict(list)
    for topic in cluster.topics.all:
        shape = shapes.there.get(topic.name)
        if shape is not None and len(shape.partitions) != topic.partitions:
            counts[len(shape.partitions)].append(topic)
    for count, differing in counts.items():
        names, wanted = [it.name for it in differing], differing[0].partitions
        have = f"{names[0]} has" if len(names) == 1 else f"{len(names)} topics have"
        said = f"{have} {count} partitions, not {wanted}" + ("" if len(names) == 1 else f": {listed(names)}")
        data = {"topics": names, "partitions": count, "wanted": wanted}
        yield Finding(Verdict.WRONG, said, OTHER_COUNTS.format(count=count), data)


def _nothing_here(cluster: Cluster) -> tuple[str, str]:
    prefix = cluster.topics.prefix
    found = f"none of the {len(cluster.topics.all)} topics exists" + (f" with the prefix '{prefix}'" if prefix else "")
    return found, f"{_make(cluster)}; if they have a prefix, name it (--prefix, HALTER_PREFIX)"


def _make(cluster: Cluster) -> str:
    """Say what creates topics that are missing, on as many brokers as there are."""
    fewer = any(it.replication > len(cluster.brokers().alive) for it in cluster.topics.all)
    return f"`halter topics apply{' --replication auto' if fewer else ''}` creates what is missing"


def _as_wanted(cluster: Cluster, shapes: Shapes, seen: int, as_wanted: int) -> str:
    configs = cluster.configs()
    appended = sum(
        configs[name]["message.timestamp.type"].value == "LogAppendTime"
        for name in input_topics(cluster.topics)
        if name in configs and "message.timestamp.type" in configs[name]
    )
    every = f"all {seen}" if as_wanted == seen else f"{as_wanted} of {seen}"
    said = f"{every} topics are as topics.yaml says: {cluster.topics.partitions} partitions"
    if appended:
        said += f", LogAppendTime on {appended} inputs"
    if not configs:
        said += "; their settings are hidden from this principal"
    if shapes.hidden:
        said += f"; {len(shapes.hidden)} topics are hidden from it"
    return said


def _found(topic: Topic, cluster: Cluster, shape: Shape) -> FoundTopic:
    configs = cluster.configs().get(topic.name, {})
    return FoundTopic(topic.name, len(shape.partitions), shape.replication, configs)


def _problems(topic: Topic, found: FoundTopic, cluster: Cluster) -> Iterator[Finding]:
    """Yield how a topic differs: wrong, if the engine relies on it, otherwise a warning."""
    data = {"topic": topic.name}
    if not found.configs:  # we may not see them
        return
    found = replace(found, partitions=topic.partitions)  # told already, for all topics
    change = compare(topic, found, cluster.topics, cluster.admin)
    settings = {it.name: it for it in change.configs}
    for sentence in problems(topic, found, cluster.topics):
        told = next((name for name in settings if f"expected {name}" in sentence), None)
        settings.pop(told or "", None)
        yield Finding(Verdict.WRONG, sentence, _mend(change, told), data)
    harmless = [*settings.values()]
    if harmless:
        differing = listed((f"{it.name} is {it.before}, not {it.after}" for it in harmless), len(harmless))
        yield Finding(Verdict.WARNING, f"{topic.name}: {differing}", _mend(change, harmless[0].name), data)


def _mend(change: Change, setting: str | None) -> str:
    """Say what mends a setting: `halter topics apply`, unless it refuses to change this topic."""
    if change.action is not Action.REFUSED:
        return APPLY
    return "; ".join(it for it in change.reasons if it.startswith(f"{setting} is ")) or BY_HAND


def replicas(cluster: Cluster) -> Iterator[Finding]:
    """Compare the replicas of each partition with what writing takes, and with how many brokers there are."""
    shapes, brokers = cluster.shapes(), len(cluster.brokers().alive)
    if not shapes.there:
        raise Skip("there is no topic to look at")
    configs = cluster.configs()
    wanted = {it.name: it.replication for it in cluster.topics.all}
    found: dict[str, list[str]] = defaultdict(list)
    for shape in (*shapes.there.values(), *cluster.describe(OF_KAFKA).there.values()):
        needed = configs.get(shape.name, {}).get(MIN_INSYNC)
        least = 1 if needed is None or needed.value is None else int(needed.value)
        led = [it for it in shape.partitions if it.leader is not None]
        if len(led) < len(shape.partitions):
            found["leader"].append(shape.name)
        if never := least > shape.replication:
            found["never"].append(f"{shape.name} ({MIN_INSYNC} {least}, {_replicas(shape.replication)})")
        elif any(len(it.in_sync) < least for it in led):
            found["too few"].append(shape.name)
        if any((never or len(it.in_sync) >= least) and len(it.in_sync) < len(it.replicas) for it in led):
            found["behind"].append(shape.name)
        if shape.replication == 1 and brokers > 1:
            found["single"].append(shape.name)
        elif shape.replication < min(wanted.get(shape.name, 0), brokers):
            found["fewer"].append(f"{shape.name} ({shape.replication}, not {wanted[shape.name]})")
    for verdict, what, says, mend in FAULTS:
        if what in found:
            yield Finding(verdict, f"{says}: {listed(found[what])}", mend, {"topics": found[what]})
    if not found:
        copies = min(it.replication for it in shapes.there.values())
        yield Finding(Verdict.FINE, f"every partition has a leader and {_replicas(copies)} in sync")


def _replicas(count: int) -> str:
    return f"{count} replica{'' if count == 1 else 's'}"


FAULTS: Final = (
    (
        Verdict.WRONG,
        "leader",
        "partitions without a leader: nobody reads or writes them",
        "start the brokers that are down: kafka-topics --describe --unavailable-partitions names the partitions",
    ),
    (
        Verdict.WRONG,
        "never",
        "more replicas have to be in sync than there are: nobody can write",
        "lower min.insync.replicas (`halter topics apply`), or add replicas (kafka-reassign-partitions)",
    ),
    (
        Verdict.WRONG,
        "too few",
        "fewer replicas are in sync than min.insync.replicas says: nobody can write",
        "start the brokers that are down, and wait until their replicas are in sync",
    ),
    (
        Verdict.WARNING,
        "behind",
        "some replicas are not in sync",
        "start the brokers that are down, and wait; if they run, look at their logs",
    ),
    (
        Verdict.WARNING,
        "single",
        "topics with one replica on a cluster of several brokers: what that broker loses is lost",
        "add replicas (kafka-reassign-partitions); new topics get them with `--replication auto`",
    ),
    (
        Verdict.WARNING,
        "fewer",
        "topics with fewer replicas than topics.yaml says, though there are brokers for more",
        "add replicas (kafka-reassign-partitions), or say in your topics.yaml (HALTER_TOPICS) that these are enough",
    ),
)
"""What can be wrong with replicas, the worst first. A topic may have several of these faults."""
