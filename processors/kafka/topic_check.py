"""Compares the topics of a cluster with topics.yaml. Changes nothing; `halter topics apply` does.

A worker calls `check` before it folds anything. State that is not compacted, or an input that lets producers date their
records, would do damage without an error.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection

# Public names that its type hints forget.
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, ResourceType  # type: ignore[attr-defined]

from processors.kafka.topics import Topic, Topics, other_partitions

RELIED_ON: Final = ("cleanup.policy", "message.timestamp.type")
TIMEOUT_S: Final = 30.0
ATTEMPT_S: Final = 5.0
PASSING: Final = frozenset(
    {
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)
"""Errors of a cluster in which a broker died, or a topic was made, a moment ago."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class FoundConfig:
    """A configuration of a topic on the cluster. `own`: it was set for this topic, not taken from the broker."""

    value: str | None
    own: bool


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic on the cluster. `replication` is that of its least replicated partition."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, FoundConfig]


def patiently(admin: AdminClient, ask: Callable[[float], Answer]) -> Answer:
    """Ask the cluster again while it cannot answer, for TIMEOUT_S in all. `ask` is given the seconds that it may take.

    librdkafka sends a request to one broker and waits for that one, which may have died a moment ago. Only for
    requests that change nothing. Raises KafkaException.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return ask(ATTEMPT_S)
        except KafkaException as exception:
            again = exception.args[0].code() in PASSING
            if not again or time.monotonic() >= deadline:
                raise
        # Otherwise librdkafka would wait for the same broker until another one tells it that this one is gone.
        with suppress(KafkaException):
            admin.list_topics(timeout=ATTEMPT_S)


def find(names: Iterable[str], admin: AdminClient) -> dict[str, FoundTopic]:
    """Return the topics that exist, by name. Raises KafkaException if the cluster does not answer.

    Needs the rights Describe and DescribeConfigs on the topics.
    """
    wanted = list(names)
    shapes = patiently(admin, lambda seconds: find_shapes(wanted, admin, seconds)) if wanted else {}
    configs = patiently(admin, lambda seconds: find_configs(shapes, admin, seconds)) if shapes else {}
    return {name: FoundTopic(name, *shapes[name], configs[name]) for name in shapes if name in configs}


def find_shapes(names: list[str], admin: AdminClient, seconds: float) -> dict[str, tuple[int, int]]:
    """Return the number of partitions and the replication of each topic that exists."""
    shapes: dict[str, tuple[int, int]] = {}
    for name, future in admin.describe_topics(TopicCollection(names), request_timeout=seconds).items():
        try:
            partitions = future.result().partitions
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        else:
            shapes[name] = (len(partitions), min((len(it.replicas) for it in partitions), default=0))
    return shapes


def find_configs(names: Iterable[str], admin: AdminClient, seconds: float) -> dict[str, dict[str, FoundConfig]]:
    """Return the configurations of topics, except those that are gone by now or not yet known to every broker."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}  # the client refuses to ask for none
    answers: dict[ConfigResource, Future[Any]] = admin.describe_configs(resources, request_timeout=seconds)
    configs = {}
    for resource, future in answers.items():
        try:
            entries = future.result()
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        else:
            configs[resource.name] = {
                name: FoundConfig(entry.value, entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value)
                for name, entry in entries.items()
            }
    return configs


def check(topics: Topics, admin: AdminClient) -> list[str]:
    """Return the problems that keep a worker from running here, a sentence each.

    Raises KafkaException if the cluster does not answer.
    """
    found = find((topic.name for topic in topics.all), admin)
    return [sentence for topic in topics.all for sentence in problems(topic, found.get(topic.name), topics)]


def problems(topic: Topic, found: FoundTopic | None, topics: Topics) -> list[str]:
    """Return how a topic differs from what the engine relies on, a sentence each."""
    if found is None:
        is_used = topic.name not in topics.may_be_missing
        return [f"topic '{topic.name}' does not exist: run `halter topics apply`"] if is_used else []
    sentences = []
    if found.partitions != topic.partitions:
        sentences.append(other_partitions(topic, found.partitions, topics))
    for name in RELIED_ON:
        wanted, actual = topic.configs.get(name), found.configs.get(name)
        if wanted is not None and (actual is None or actual.value != wanted):
            sentences.append(
                f"topic '{topic.name}': expected {name}={wanted}, found {actual.value if actual else 'none'}: "
                "see `halter topics plan`"
            )
    limit = found.configs.get("max.message.bytes")
    if limit is not None and limit.value is not None and int(limit.value) < topic.message_bytes_max:
        sentences.append(
            f"topic '{topic.name}': expected max.message.bytes of at least {topic.message_bytes_max}, "
            f"found {limit.value}: run `halter topics apply`"
        )
    return sentences
