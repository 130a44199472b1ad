"""Gives a cluster the topics of topics.yaml: `plan` says what would change, `apply` changes it.

While a change of a plan is refused, `apply` changes nothing. Nothing is ever deleted, and no partition is ever added.
Applying a second time changes nothing. Some differences from topics.yaml cannot or need not be changed here (the number
of copies, settings that only the cluster has): they are noted and left as they are.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Literal

from confluent_kafka import KafkaError, KafkaException, TopicPartition

# These names are public, but its type hints lack them.
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from processors.core.records.errors import HalterError
from processors.core.records.topic_names import OPERATOR_COMMANDS
from processors.kafka.topic_check import RELIED_ON, FoundTopic, find, patiently
from processors.kafka.topics import OPERATOR_COMMANDS_HINT, Topic, Topics

REPLICATION_AUTO_MAX: Final = 3
CHANGE_TIMEOUT_S: Final = 30.0
VISIBLE_SECONDS: Final = 30.0
LOOK_AGAIN_SECONDS: Final = 0.05

Replication = int | Literal["auto"] | None
"""Number of copies of new topics. `auto`: three, or the number of brokers if it is smaller; None: as in topics.yaml."""


class PlanRefused(HalterError):
    """topics.yaml asks for a change that would harm records of the cluster. Nothing was changed.

    Whoever runs `apply` corrects the file or the options, or sets up anew under another prefix.
    """


class ApplyFailed(HalterError):
    """The cluster did not take a change. The message says which, and what was done before it. Whoever runs it acts."""


class Action(StrEnum):
    """The ways in which `apply` treats a topic."""

    CREATE = "create"
    ALTER = "alter"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A configuration to set. `before` is its value on the cluster, or None if the cluster does not know the name."""

    name: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one topic. `topic` has the replication and configs that it gets.

    `reasons` say why the change is refused, `notes` what differs and is left as it is.
    """

    topic: Topic
    action: Action
    configs: tuple[ConfigChange, ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that give a cluster the topics of topics.yaml, in the order of that file."""

    changes: tuple[Change, ...]

    def with_action(self, action: Action) -> tuple[Change, ...]:
        """Return the changes of one kind."""
        return tuple(change for change in self.changes if change.action is action)

    @property
    def refused(self) -> bool:
        """Return True if any of the changes is refused."""
        return bool(self.with_action(Action.REFUSED))

    @property
    def pending(self) -> bool:
        """Return True if there is anything to change, or refused."""
        return any(change.action is not Action.UNCHANGED for change in self.changes)


def plan(topics: Topics, admin: AdminClient, replication: Replication = None) -> Plan:
    """Compare the cluster with topics.yaml. Raises KafkaException if the cluster does not answer."""
    brokers = len(patiently(admin, lambda seconds: admin.describe_cluster(request_timeout=seconds).result()).nodes)
    found = find((topic.name for topic in topics.all), admin)
    changes = []
    for topic in topics.all:
        wanted = with_replication(topic, replication, brokers)
        if topic.name in found:
            changes.append(compare(wanted, found[topic.name], topics, admin))
        else:
            changes.append(creation(wanted, brokers))
    return Plan(tuple(changes))


def apply(planned: Plan, admin: AdminClient) -> None:
    """Do what a plan says, and return once the cluster shows it.

    Raises PlanRefused before anything is changed, ApplyFailed if the cluster does not take a change.
    """
    if planned.refused:
        reasons = [
            f"{change.topic.name}: {'; '.join(change.reasons)}" for change in planned.with_action(Action.REFUSED)
        ]
        raise PlanRefused("nothing was changed, because this is refused: " + " | ".join(reasons))
    created, altered = planned.with_action(Action.CREATE), planned.with_action(Action.ALTER)
    # Once to hear all objections (policies, rights, unknown configs) before anything is done.
    for validate_only in (True, False):
        done = [] if validate_only else [change.topic.name for change in created]
        if created:
            new = [
                NewTopic(
                    change.topic.name,
                    num_partitions=change.topic.partitions,
                    replication_factor=change.topic.replication,
                    config=dict(change.topic.configs),
                )
                for change in created
            ]
            answers = admin.create_topics(new, request_timeout=CHANGE_TIMEOUT_S, validate_only=validate_only)
            await_answers("create", answers, [])
        if altered:
            resources = [alteration(change) for change in altered]
            results = admin.incremental_alter_configs(
                resources, request_timeout=CHANGE_TIMEOUT_S, validate_only=validate_only
            )
            await_answers("alter", {resource.name: future for resource, future in results.items()}, done)
    wait_until_visible([*created, *altered], admin)


def make_so(topics: Topics, admin: AdminClient, replication: Replication = None) -> Plan:
    """Plan and apply at once, for demos and tests. Returns what was done; raises as `plan` and `apply` do."""
    planned = plan(topics, admin, replication)
    apply(planned, admin)
    return planned


def with_replication(topic: Topic, replication: Replication, brokers: int) -> Topic:
    """Return the topic with its number of copies.

    `min.insync.replicas` is at most that number, because otherwise nobody could write.
    """
    match replication:
        case None:
            copies = topic.replication
        case "auto":
            copies = min(REPLICATION_AUTO_MAX, brokers)
        case _:
            copies = replication
    configs = dict(topic.configs)
    if "min.insync.replicas" in configs:
        configs["min.insync.replicas"] = str(min(int(configs["min.insync.replicas"]), copies))
    return replace(topic, replication=copies, configs=configs)


def creation(topic: Topic, brokers: int) -> Change:
    """Return the change that makes a topic. It is refused if the cluster has too few brokers for it."""
    if topic.replication > brokers:
        reason = (
            f"replication {topic.replication} needs as many brokers, found {brokers} alive; "
            f"--replication {brokers} or --replication auto takes what there is"
        )
        return Change(topic, Action.REFUSED, reasons=(reason,))
    return Change(topic, Action.CREATE)


def compare(topic: Topic, found: FoundTopic, topics: Topics, admin: AdminClient) -> Change:
    """Return the change of a topic that is there. Its replication stays as it is."""
    wanted = with_replication(topic, found.replication, found.replication)
    differing = tuple(
        ConfigChange(name, found.configs[name].value if name in found.configs else None, value)
        for name, value in wanted.configs.items()
        if name not in found.configs or not same(found.configs[name].value, value)
    )
    reasons = []
    if found.partitions != topic.partitions:
        reasons.append(partition_reason(topic, found, topics))
    dangerous = [change for change in differing if change.name in RELIED_ON]
    if dangerous and has_had_records(found, admin):
        reasons += [
            f"{change.name} is {change.before}, not {change.after}, and the topic has had records: "
            + CONSEQUENCES[change.name]
            for change in dangerous
        ]
    notes = tuple(differences_left(topic, found))
    if reasons:
        return Change(wanted, Action.REFUSED, differing, tuple(reasons), notes)
    return Change(wanted, Action.ALTER if differing else Action.UNCHANGED, differing, (), notes)


CONSEQUENCES: Final[Mapping[str, str]] = {
    "cleanup.policy": (
        "some may be gone already, or would be lost by the change. Set it with kafka-configs if you know that "
        "nothing is missing, or set up anew under another prefix"
    ),
    "message.timestamp.type": (
        "their times are not of the kind that the engine relies on. Set up anew under another prefix, or set it "
        "with kafka-configs if those records no longer matter"
    ),
}


def partition_reason(topic: Topic, found: FoundTopic, topics: Topics) -> str:
    """Say why a partition count cannot change, and what can be done instead."""
    sentence = f"has {found.partitions} partitions, topics.yaml wants {topic.partitions}"
    if topic.declared_name == OPERATOR_COMMANDS and found.partitions == 1:
        return sentence + OPERATOR_COMMANDS_HINT
    if topic.partitions != topics.partitions:
        return f"{sentence}: its records have one order for everybody, which more partitions cannot give"
    return (
        f"{sentence}: a WfRun lives in partition murmur2(id) modulo the count, so with another count its records "
        f"and its state would part. If {found.partitions} is right, say so (--partitions {found.partitions}, "
        f"HALTER_PARTITIONS={found.partitions}); otherwise set up anew under another prefix"
    )


def differences_left(topic: Topic, found: FoundTopic) -> Iterator[str]:
    """Say what differs from topics.yaml and is not changed here."""
    if found.replication != topic.replication:
        yield (f"replication is {found.replication}, wanted {topic.replication}: kafka-reassign-partitions changes it")
    others = sorted(
        f"{name}={config.value}" for name, config in found.configs.items() if config.own and name not in topic.configs
    )
    if others:
        yield f"set on the cluster, not in topics.yaml, left as it is: {', '.join(others)}"


def same(actual: str | None, wanted: str) -> bool:
    """Return True if two spellings of a config mean the same, as 0.20 and 0.2."""
    if actual is None or actual == wanted:
        return actual == wanted
    try:
        return float(actual) == float(wanted)
    except ValueError:
        return False


def has_had_records(found: FoundTopic, admin: AdminClient) -> bool:
    """Return True if anything was ever written to a topic, even if it was aborted or deleted since."""
    partitions = [TopicPartition(found.name, number) for number in range(found.partitions)]

    def ends(seconds: float) -> list[int]:
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        answers = admin.list_offsets(dict.fromkeys(partitions, latest), request_timeout=seconds)
        return [future.result().offset for future in answers.values()]

    return any(end > 0 for end in patiently(admin, ends))


def alteration(change: Change) -> ConfigResource:
    """Return the request that sets the differing configs and no others."""
    entries = [
        ConfigEntry(config.name, config.after, incremental_operation=AlterConfigOpType.SET) for config in change.configs
    ]
    return ConfigResource(ResourceType.TOPIC, change.topic.name, incremental_configs=entries)


def await_answers(verb: str, answers: Mapping[str, "Future[Any]"], done: Iterable[str]) -> None:
    """Wait for all answers of the cluster. Raises ApplyFailed with all its objections."""
    objections = []
    for name, future in answers.items():
        try:
            future.result()
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            hint = ""
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                hint = "; somebody made it just now: plan again"
            elif error.code() in {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}:
                hint = "; it may be done nevertheless: plan again"
            elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                hint = "; see `halter topics acls` for the rights that apply needs"
            objections.append(f"{name}: {error.str()}{hint}")
    if objections:
        before = ", ".join(done)
        raise ApplyFailed(
            f"the cluster does not {verb} {' | '.join(objections)}. "
            + (f"Done before that: {before}" if before else "Nothing was done before that")
        )


def wait_until_visible(changes: Iterable[Change], admin: AdminClient) -> None:
    """Wait until the cluster shows all changes, so that the next command can run at once."""
    missing = {change.topic.name: change for change in changes}
    deadline = time.monotonic() + VISIBLE_SECONDS
    while missing:
        for name, found in find(missing, admin).items():
            if is_visible(missing[name], found):
                del missing[name]
        if missing and time.monotonic() > deadline:
            raise ApplyFailed(
                f"done, but not visible after {VISIBLE_SECONDS:.0f} s: {', '.join(missing)}. "
                "Check the brokers, then plan again"
            )
        if missing:
            time.sleep(LOOK_AGAIN_SECONDS)


def is_visible(change: Change, found: FoundTopic) -> bool:
    """Return True if the cluster shows a topic as the change made it."""
    return found.partitions == change.topic.partitions and all(
        config.name in found.configs and same(found.configs[config.name].value, config.after)
        for config in change.configs
    )
