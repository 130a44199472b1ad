"""Names: the topics and partitions of a shard as the cluster knows them, and how people write them."""

from collections.abc import Iterable

from processors.core.records.topic_names import DEFINITION_COMMANDS, DEFINITIONS, WF_COMMANDS
from processors.fold.contract import FoldFactory, InputRecord

Place = tuple[str, int]
"""A topic's name on the cluster and a partition."""


class ShardTopics:
    """Puts the prefix before the names that folds use, and takes it off again."""

    def __init__(self, prefix: str, factory: FoldFactory) -> None:
        self._prefix, self._factory = prefix, factory
        self.wf_commands = self.on_cluster(WF_COMMANDS)
        self.definitions: Place = (self.on_cluster(DEFINITIONS), 0)
        self.definition_commands: Place = (self.on_cluster(DEFINITION_COMMANDS), 0)

    def on_cluster(self, logical: str) -> str:
        """Return a topic's name on the cluster."""
        return self._prefix + logical

    def logical(self, topic: str) -> str:
        """Return a topic's name without the prefix."""
        return topic[len(self._prefix) :]

    def commands(self, shard: int) -> Place:
        """Return the partition of `wf-commands` whose owner owns the shard."""
        return self.wf_commands, shard

    def inputs(self, shard: int) -> list[Place]:
        """Return the partitions whose records the shard folds."""
        return self._places(self._factory.input_topics(shard))

    def state(self, shard: int) -> list[Place]:
        """Return the partitions that the shard is restored from."""
        return self._places(self._factory.state_topics(shard))

    def log(self, shard: int) -> Place:
        """Return the partition of the shard's log."""
        topic, partition = self._factory.log(shard)
        return self.on_cluster(topic), partition

    def loaded_from(self, shard: int) -> list[Place]:
        """Return all partitions that a load reads: those of the state, and the log."""
        return [*self.state(shard), self.log(shard)]

    def describe(self, record: InputRecord) -> tuple[str | None, str | None]:
        """Return what a record is about and what it asks for, as far as folds know."""
        return self._factory.describe(record)

    def _places(self, logical: Iterable[tuple[str, int]]) -> list[Place]:
        return [(self.on_cluster(topic), partition) for topic, partition in logical]


class RecordAddress:
    """The topic, partition and offset of a record. It becomes text only when somebody asks for it."""

    __slots__ = ("_record",)

    def __init__(self, record: InputRecord) -> None:
        self._record = record

    def __str__(self) -> str:
        return f"{self._record.topic}[{self._record.partition}]@{self._record.offset}"


def spelled(place: Place) -> str:
    """Write a partition as people do: topic[3]."""
    return f"{place[0]}[{place[1]}]"
