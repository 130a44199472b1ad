"""Whether a cluster has the topics that topics.yaml wants. Looks only; making it so is `halter topics apply`.

A worker asks `check` before it folds anything: state that is not compacted or an input that lets producers
date their records would do damage in silence.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection

# Public names that its type hints forget.
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, ResourceType  # type: ignore[attr-defined]

from processors.topics import Topic, Topics

RELIED_ON: Final = ("cleanup.policy", "message.timestamp.type")
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class FoundConfig:
    """A topic's configuration on the cluster. `own` if it was set for this topic, not taken from the broker."""

    value: str | None
    own: bool


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic on the cluster. `replication` is that of its least replicated partition."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, FoundConfig]


def find(names: Iterable[str], admin: AdminClient, timeout_s: float = TIMEOUT_S) -> dict[str, FoundTopic]:
    """Return those of the topics that are there. Raises KafkaException if the cluster does not answer.

    Needs the rights Describe and DescribeConfigs on the topics.
    """
    wanted = list(names)
    if not wanted:
        return {}
    shapes: dict[str, tuple[int, int]] = {}
    for name, future in admin.describe_topics(TopicCollection(wanted), request_timeout=timeout_s).items():
        try:
            partitions = future.result().partitions
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        else:
            shapes[name] = (len(partitions), min((len(it.replicas) for it in partitions), default=0))
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in shapes]
    answers: dict[ConfigResource, Future[Any]] = (
        admin.describe_configs(resources, request_timeout=timeout_s) if resources else {}
    )
    return {
        resource.name: FoundTopic(
            resource.name,
            *shapes[resource.name],
            configs={
                name: FoundConfig(entry.value, entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value)
                for name, entry in future.result().items()
            },
        )
        for resource, future in answers.items()
    }


def check(topics: Topics, admin: AdminClient) -> list[str]:
    """Return what keeps a worker from running here, one sentence each; an empty list if nothing does.

    Raises KafkaException if the cluster does not answer.
    """
    found = find((topic.name for topic in topics.all), admin)
    return [sentence for topic in topics.all for sentence in problems(topic, found.get(topic.name), topics)]


def problems(topic: Topic, found: FoundTopic | None, topics: Topics) -> list[str]:
    """Return how a topic differs in what the engine relies on."""
    if found is None:
        return [f"topic '{topic.name}' does not exist: run `halter topics apply`"]
    sentences = []
    if found.partitions != topic.partitions:
        hint = (
            f"; if the cluster was set up so, set HALTER_PARTITIONS={found.partitions}"
            if topic.partitions == topics.partitions
            else ""
        )
        sentences.append(
            f"topic '{topic.name}': expected {topic.partitions} partitions, found {found.partitions}{hint}"
        )
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
