"""The topics of a replay, under its prefix: makes them, recognises them, and removes them.

They are the topics that workers write, without the inputs: so no worker and no client takes the prefix for an
installation to work in. Nothing of them expires, because their records keep the times of the source.
"""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from halter.client.client import Client
from halter.client.reading import FROM_THE_START, PartitionReader
from halter.history.live import Live
from halter.replay.manifest import MANIFEST_KEY, TOPIC, Manifest, NotAManifest, manifest_of
from halter.replay.writing import Writing
from halter.topics.admin import CHANGE_TIMEOUT_S, LOOK_AGAIN_SECONDS, VISIBLE_SECONDS, await_answers, make_so
from processors.core.records.commands import DefinitionKind
from processors.core.records.errors import HalterError
from processors.core.records.topic_names import DEFINITION_EVENTS, QUEUE_PREFIX, task_requests_of
from processors.kafka.topic_check import find, find_shapes, patiently
from processors.kafka.topics import Kind, Topic, Topics

TIMEOUT_S: Final = 10.0


class PrefixTaken(HalterError):
    """A prefix has something else than the replay that was asked for. Whoever asked takes another, or replaces it."""


class Destination:
    """The prefix into which inputs are replayed."""

    def __init__(self, source: Client, prefix: str) -> None:
        """Raises PrefixTaken if the prefix is in use by the source, and TopicsFileError if it is no prefix."""
        check_prefix(prefix, source.topics.prefix)
        self._source, self.prefix = source, prefix
        self.settings = replace(source.settings, prefix=prefix, partitions=source.topics.partitions)
        self._admin = AdminClient(self.settings.admin())
        whole = self.settings.topics()
        self._queue = _kept(whole[whole.task_requests])
        self._foreign = [it.name for it in whole.all if it.kind is Kind.INPUT or it.declared_name == DEFINITION_EVENTS]
        self.topics = replace(whole, all=tuple(self._outputs(whole)))
        self._take_queues(self._queues_with_topics())
        self.topic = prefix + TOPIC
        self.reader = PartitionReader(self.settings, self.topics)

    def _outputs(self, whole: Topics) -> list[Topic]:
        outputs = [it for it in whole.all if it.name not in self._foreign]
        manifest = replace(
            whole[whole.fold_positions],
            name=self.prefix + TOPIC,
            declared_name=TOPIC,
            partitions=1,
            key="what it is about",
            values=("JSON",),
            description="Which replay this prefix has, and how far it is.",
        )
        return [manifest, *(_kept(it) for it in outputs)]

    def _take_queues(self, queues: Iterable[str]) -> None:
        """Have topics for these task queues, too."""
        known = {it.declared_name for it in self.topics.all}
        named = dict.fromkeys(task_requests_of(queue) for queue in queues)
        more = [replace(self._queue, name=self.prefix + it, declared_name=it) for it in named if it not in known]
        self.topics = replace(self.topics, all=(*self.topics.all, *more))

    def _queues_with_topics(self) -> list[str]:
        """Return the task queues for which the source has topics now."""
        begin = self._source.topics.prefix + QUEUE_PREFIX
        with self.settings.explaining(f"looking for topics with prefix '{begin}'", self._admin):
            there = self._admin.list_topics(timeout=TIMEOUT_S)
        return sorted(name.removeprefix(begin) for name in there.topics if name.startswith(begin))

    def queues(self) -> tuple[str, ...]:
        """Return the task queues to which inputs of the source can have asked for tasks.

        The topic of one that no TaskDef names any more may be gone from the source.
        """
        named = (it.queue for _, it in Live(self._source).definition_records() if it.kind is DefinitionKind.TASK_DEF)
        return tuple(sorted({*self._queues_with_topics(), *filter(None, named)}))

    def log_id(self) -> str:
        """Return the id that Kafka gave to the log of the source."""
        name = self._source.topics.wf_events
        with self.settings.explaining(f"looking at {name}", self._admin):
            answers = self._admin.describe_topics(TopicCollection([name]), request_timeout=TIMEOUT_S)
            return str(answers[name].result().topic_id)

    def manifest(self) -> Manifest | None:
        """Return the manifest of the replay that is under the prefix; None if nothing is there.

        Raises PrefixTaken if there is something else.
        """
        there = self._there()
        others = [name for name in there if name != self.topic]
        if self.topic in there:
            records = {it.key(): it.value() for it in self.reader.read(self.topic, 0, FROM_THE_START)}
            found = records.get(MANIFEST_KEY)
            if found is not None:
                manifest = manifest_of(found, self.topic)
                self._take_queues(manifest.queues)
                return manifest
            if records or self.reader.end(self.topic, 0):
                others.insert(0, self.topic)  # somebody else's; a replay that was killed early has written nothing
        if others:
            raise PrefixTaken(
                f"--into {self.prefix}: expected no topics with this prefix, found {_named(others)}, and nothing says "
                "that they are those of a replay; take another prefix"
            )
        return None

    def _there(self) -> list[str]:
        names = [*(it.name for it in self.topics.all), *self._foreign]
        with self.settings.explaining(f"looking for topics with prefix '{self.prefix}'", self._admin):
            shapes = patiently(self._admin, lambda seconds: find_shapes(names, self._admin, seconds))
        return [name for name in names if name in shapes]

    def make(self, manifest: Manifest) -> None:
        """Make the topics that are missing, with as many copies as the source's. The manifest is written first."""
        log = self._source.topics.wf_events
        with self.settings.explaining("making the topics of the replay", self._admin):
            copies = find([log], self._admin)[log].replication
            first = replace(self.topics, all=self.topics.all[:1])
            make_so(first, self._admin, copies)
            if self.manifest() is None:
                self._write(manifest)
            self._take_queues(manifest.queues)
            make_so(self.topics, self._admin, copies)

    def _write(self, manifest: Manifest) -> None:
        producer = Producer(self.settings.producer())
        answers: list[KafkaError | None] = []
        producer.produce(
            self.topic, manifest.encoded(), MANIFEST_KEY, 0, on_delivery=lambda error, _: answers.append(error)
        )
        producer.flush(TIMEOUT_S)
        error = answers[0] if answers else KafkaError(KafkaError._TIMED_OUT)
        if error is not None:
            raise KafkaException(error)

    def remove(self) -> list[str]:
        """Delete the topics of the replay, the manifest last, and return their names. Raises PrefixTaken.

        A process that still replays into them writes no more from here on, also not into topics that are made anew. If
        this is broken off, the manifest says so, and it can be done again.
        """
        try:
            manifest = self.manifest()
        except NotAManifest as error:
            raise PrefixTaken(f"--into {self.prefix}: {error}; nothing was removed") from error
        if manifest is None:
            empty = [self.topic] if self.topic in self._there() else []  # it was killed before it wrote its manifest
            with self.settings.explaining("removing the topics of the replay", self._admin):
                self._delete(empty)
            return empty
        Writing(self.settings, self.topics)
        names = [name for name in self._there() if name not in self._foreign]
        with self.settings.explaining("removing the topics of the replay", self._admin):
            self._write(replace(manifest, is_going=True))
            self._delete([name for name in names if name != self.topic])
            self._delete([self.topic])
        self.reader.close()
        self.reader = PartitionReader(self.settings, self.topics)  # the old one has known the topics that are gone
        return names

    def _delete(self, names: list[str]) -> None:
        if names:
            answers = self._admin.delete_topics(names, request_timeout=CHANGE_TIMEOUT_S)
            await_answers("delete", answers, [])
            self._wait_until_gone(names)

    def close(self) -> None:
        """Close the consumers."""
        self.reader.close()

    def _wait_until_gone(self, names: list[str]) -> None:
        deadline = time.monotonic() + VISIBLE_SECONDS
        while find_shapes(names, self._admin, TIMEOUT_S) and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN_SECONDS)


def check_prefix(prefix: str, live: str) -> None:
    """Raise PrefixTaken if topics with a prefix would be those of the source, or be taken for queues of it."""
    if not prefix:
        raise PrefixTaken("--into: expected a prefix for the topics of the replay, found an empty one")
    if prefix == live:
        raise PrefixTaken(f"--into: expected another prefix than that of the source, found '{prefix}'")
    if prefix.startswith(live + QUEUE_PREFIX):
        raise PrefixTaken(
            f"--into: expected a prefix that does not begin like a task queue of the source ({live}{QUEUE_PREFIX}), "
            f"found '{prefix}'"
        )


def _kept(topic: Topic) -> Topic:
    """Return a topic of which nothing expires by time."""
    if topic.kind is Kind.STATE:
        return topic
    return replace(topic, configs={**topic.configs, "retention.ms": "-1"})


def _named(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
