"""The topics of an installation as typed values: their names, what each is for, and who may use them.

Everybody asks for a topic by its role (`topics.wf_events`) and gets its name on the cluster, prefix included.
`topic_names` has the names without the prefix. Knows neither YAML nor Kafka clients: `topics_file` reads topics.yaml,
and `topic_check` and `halter.topics.admin` compare a cluster with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from processors.core.records.topic_names import (
    CORRELATED_EVENTS,
    CORRELATION_COMMANDS,
    CORRELATION_EVENTS,
    CORRELATIONS,
    DEAD_LETTERS,
    DEFINITION_COMMANDS,
    DEFINITION_EVENTS,
    DEFINITIONS,
    EXTERNAL_EVENTS,
    FOLD_POSITIONS,
    KEPT_INPUTS,
    OPERATOR_COMMANDS,
    QUEUE_PREFIX,
    TASK_CANCELLATIONS,
    TASK_REPORTS,
    TASK_REQUESTS,
    THREAD_RUNS,
    WF_COMMANDS,
    WF_EVENTS,
    WF_RUN_EXTERNAL_EVENTS,
    WF_RUNS,
)
from processors.kafka.errors import UnknownTaskQueue

RECORD_OVERHEAD_BYTES: Final = 65_536
"""Bytes that headers and framing may add to the value of a record."""


class Kind(StrEnum):
    """The purpose of a topic. It decides how the topic's records are kept."""

    INPUT = "input"
    LOG = "log"
    STATE = "state"
    TASKS = "tasks"
    DEAD_LETTERS = "dead-letters"


@dataclass(frozen=True, slots=True)
class Role:
    """The properties of one topic that the engine relies on. `partitions` is None for N, the number of shards."""

    kind: Kind
    cleanup: str
    partitions: int | None = None


ROLES: Final[Mapping[str, Role]] = {
    WF_COMMANDS: Role(Kind.INPUT, "delete"),
    EXTERNAL_EVENTS: Role(Kind.INPUT, "delete"),
    TASK_REPORTS: Role(Kind.INPUT, "delete"),
    DEFINITION_COMMANDS: Role(Kind.INPUT, "delete", partitions=1),
    OPERATOR_COMMANDS: Role(Kind.INPUT, "compact"),
    CORRELATED_EVENTS: Role(Kind.INPUT, "delete"),
    CORRELATION_COMMANDS: Role(Kind.INPUT, "delete"),
    CORRELATION_EVENTS: Role(Kind.LOG, "delete"),
    CORRELATIONS: Role(Kind.STATE, "compact"),
    DEFINITION_EVENTS: Role(Kind.LOG, "delete", partitions=1),
    DEFINITIONS: Role(Kind.STATE, "compact", partitions=1),
    WF_EVENTS: Role(Kind.LOG, "delete"),
    WF_RUNS: Role(Kind.STATE, "compact"),
    THREAD_RUNS: Role(Kind.STATE, "compact"),
    WF_RUN_EXTERNAL_EVENTS: Role(Kind.STATE, "compact"),
    KEPT_INPUTS: Role(Kind.STATE, "compact"),
    FOLD_POSITIONS: Role(Kind.STATE, "compact"),
    TASK_REQUESTS: Role(Kind.TASKS, "delete"),
    TASK_CANCELLATIONS: Role(Kind.TASKS, "delete"),
    DEAD_LETTERS: Role(Kind.DEAD_LETTERS, "delete"),
}
OPERATOR_COMMANDS_HINT: Final = (
    ": if it is of version 0.1.0, which did not read it, delete it (kafka-topics --delete) "
    "and run `halter topics apply`"
)
TASK_QUEUE: Final = Role(Kind.TASKS, "delete")
OF_ANOTHER_SHAPE: Final[Mapping[str, tuple[str, ...]]] = {"0.1.0": (OPERATOR_COMMANDS,)}
"""Release -> topics that it does not read and wants in another shape than today's.

They keep that shape while its workers run; otherwise a worker of it that starts again would refuse to. Workers of today
do not use them so long.
"""
OF_CORRELATION: Final = (CORRELATED_EVENTS, CORRELATION_COMMANDS, CORRELATION_EVENTS, CORRELATIONS)
NEW_SINCE: Final[Mapping[str, tuple[str, ...]]] = {
    "0.1.0": (TASK_CANCELLATIONS, *OF_CORRELATION),
    "0.2.0": (TASK_CANCELLATIONS, *OF_CORRELATION),
}
"""Release -> topics that it does not have. Nobody writes them while its workers run, so they may be missing."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as topics.yaml wants it. `name` is the name on the cluster, `configs` are Kafka's."""

    name: str
    declared_name: str
    kind: Kind
    partitions: int
    replication: int
    configs: Mapping[str, str]
    key: str
    values: tuple[str, ...]
    description: str

    @property
    def message_bytes_max(self) -> int:
        """The largest batch of records, in bytes, that the topic takes."""
        return int(self.configs["max.message.bytes"])


@dataclass(frozen=True, slots=True)
class Service:
    """A principal and its rights. All names are names on the cluster, wildcards resolved.

    A transactional id or group that ends in `*` stands for all that begin so. `inspects`: the topics whose
    configuration it may read; `administers`: those that it may create and configure; `inspects_groups`: the groups
    whose members and offsets it may see, and which it may not join.
    """

    name: str
    description: str
    principal: str
    consumes: tuple[str, ...]
    produces: tuple[str, ...]
    groups: tuple[str, ...]
    transactional_ids: tuple[str, ...]
    inspects: tuple[str, ...]
    administers: tuple[str, ...]
    inspects_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics of an installation. A field per role has the name on the cluster; `all` has the rest of topics.yaml.

    `partitions` is N, the number of shards. `group` includes the prefix.
    """

    wf_commands: str
    external_events: str
    task_reports: str
    definition_commands: str
    operator_commands: str
    correlated_events: str
    correlation_commands: str
    correlation_events: str
    correlations: str
    definition_events: str
    definitions: str
    wf_events: str
    wf_runs: str
    thread_runs: str
    wf_run_external_events: str
    kept_inputs: str
    fold_positions: str
    task_requests: str
    task_cancellations: str
    dead_letters: str
    all: tuple[Topic, ...]
    services: tuple[Service, ...]
    task_queues: Mapping[str, str]
    """Named queue -> topic; the default queue is `task_requests`."""
    partitions: int
    group: str
    prefix: str
    file: Path
    may_be_missing: frozenset[str]
    """Topics that nobody uses while workers of an earlier release run beside."""

    @property
    def inputs(self) -> tuple[str, str, str]:
        """The co-partitioned inputs that are about WfRuns, without `operator-commands`, in a fixed order."""
        return (self.wf_commands, self.external_events, self.task_reports)

    @property
    def state(self) -> tuple[str, str, str, str, str]:
        """The co-partitioned state topics of WfRuns."""
        return (self.wf_runs, self.thread_runs, self.wf_run_external_events, self.kept_inputs, self.fold_positions)

    def __getitem__(self, name: str) -> Topic:
        """Return the topic with that name on the cluster. Raises KeyError if topics.yaml has none."""
        for topic in self.all:
            if topic.name == name:
                return topic
        raise KeyError(name)

    def task_queue(self, queue: str | None = None) -> str:
        """Return the topic of a named task queue; that of the default queue for None or an empty name."""
        if not queue:
            return self.task_requests
        try:
            return self.task_queues[queue]
        except KeyError:
            known = ", ".join(sorted(self.task_queues)) or "none"
            raise UnknownTaskQueue(
                f"task queue '{queue}' is not declared in {self.file}; named queues there: {known}. "
                f"Declare a topic '{QUEUE_PREFIX}{queue}' and run `halter topics apply`"
            ) from None

    @property
    def reader_group(self) -> str:
        """The group of readers that choose their partitions and commit nothing.

        librdkafka wants a group from them as well, and Kafka checks their right to it.
        """
        return f"{self.group}-reader"

    @property
    def task_group(self) -> str:
        """The group in which task workers share the task requests."""
        return f"{self.group}-tasks"

    def transactional_id(self, slot: int | str) -> str:
        """Return the transactional id of the worker process with that slot."""
        return f"{self.group}-{slot}"

    def beside(self, release: str) -> "Topics":
        """Return the topics that workers may use while workers of a release run beside them."""
        left_alone, new = OF_ANOTHER_SHAPE.get(release, ()), NEW_SINCE.get(release, ())
        return replace(
            self,
            all=tuple(topic for topic in self.all if topic.declared_name not in left_alone),
            may_be_missing=frozenset(topic.name for topic in self.all if topic.declared_name in new),
        )

    @property
    def message_bytes_max(self) -> int:
        """The largest `max.message.bytes` of all topics. A producer that writes to all of them must allow as much."""
        return max(topic.message_bytes_max for topic in self.all)

    @property
    def output_bytes_max(self) -> int:
        """The size in bytes of the largest value that fits into every topic which workers write to, inputs aside."""
        outputs = (topic.message_bytes_max for topic in self.all if topic.kind is not Kind.INPUT)
        return min(outputs) - RECORD_OVERHEAD_BYTES


def other_partitions(topic: Topic, found: int, topics: Topics) -> str:
    """Return a sentence for a topic with another number of partitions than is wanted, and what to do."""
    hint = ""
    if topic.declared_name == OPERATOR_COMMANDS:
        hint = OPERATOR_COMMANDS_HINT
    elif topic.partitions == topics.partitions:
        hint = f"; if the cluster was set up so, set HALTER_PARTITIONS={found} (in a program: partitions={found})"
    return f"topic '{topic.name}': expected {topic.partitions} partitions, found {found}{hint}"
