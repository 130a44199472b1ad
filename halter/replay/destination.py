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
from halter.replay.manifest import MANIFEST_KEY, TOPIC, Manifest, NotAManifest, manifest_of
from halter.replay.writing import Writing
from halter.topics.admin import CHANGE_TIMEOUT_S, LOOK_AGAIN_SECONDS, VISIBLE_SECONDS, await_answers, make_so
from processors.core.records.errors import HalterError
from processors.core.records.topic_names import DEFINITION_EVENTS, QUEUE_PREFIX
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
        self._foreign = [it.name for it in whole.all if it.kind is Kind.INPUT or it.declared_name == DEFINITION_EVENTS]
        self.topics = replace(whole, all=tuple(self._outputs(whole)))
        self.topic = prefix + TOPIC
        self.reader = PartitionReader(self.settings, self.topics)

    def _outputs(self, whole: Topics) -> list[Topic]:
        outputs = [it for it in whole.all if it.name not in self._foreign]
        declared = {it.declared_name for it in outputs}
        like = whole[whole.task_requests]
        begin = self._source.topics.prefix + QUEUE_PREFIX
        with self.settings.explaining(f"looking for topics with prefix '{self.prefix}'", self._admin):
            there = self._admin.list_topics(timeout=TIMEOUT_S)
        for name in sorted(there.topics):
            queue = QUEUE_PREFIX + name.removeprefix(begin)
            if name.startswith(begin) and queue not in declared:
                outputs.append(replace(like, name=self.prefix + queue, declared_name=queue))
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
                return manifest_of(found, self.topic)
            if records:
                others.insert(0, self.topic)  # somebody else's; a replay that was killed early has left it empty
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
            return []
        Writing(self.settings, self.topics)
        names = [name for name in self._there() if name not in self._foreign]
        with self.settings.explaining("removing the topics of the replay", self._admin):
            self._write(replace(manifest, is_going=True))
            for those in ([name for name in names if name != self.topic], [self.topic]):
                if those:
                    answers = self._admin.delete_topics(those, request_timeout=CHANGE_TIMEOUT_S)
                    await_answers("delete", answers, [])
                    self._wait_until_gone(those)
        self.reader.close()
        self.reader = PartitionReader(self.settings, self.topics)  # the old one has known the topics that are gone
        return names

    def close(self) -> None:
        """Close the consumers."""
        self.reader.close()

    def _wait_until_gone(self, names: Iterable[str]) -> None:
        deadline = time.monotonic() + VISIBLE_SECONDS
        wanted = list(names)
        while find_shapes(wanted, self._admin, TIMEOUT_S) and time.monotonic() < deadline:
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
