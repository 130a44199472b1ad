"""A Source that reads Kafka, by a Client. Commits nothing and joins no group."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final

from halter.client.client import Client
from halter.client.errors import TopicMissing
from halter.client.log_records import decoded, where
from halter.client.reading import FROM_THE_START
from halter.history.logged import Logged
from halter.history.source import Place, definitions_at
from processors.codec import Codec
from processors.core.records.events import Definition
from processors.core.rules.context import Limits
from processors.core.wf_spec.definitions import Definitions
from processors.fold.inputs import INPUT_TOPICS, InputRecord

GAP_MAX: Final = 200
"""Records between two that are asked for, up to which reading on is quicker than asking again."""


class Live:
    """What Kafka has about WfRuns."""

    limits = Limits()

    def __init__(self, client: Client) -> None:
        self.client = client
        self._definitions: list[tuple[int, Definition]] = []
        self._read_up_to = FROM_THE_START

    @property
    def codec(self) -> Codec:
        """Decodes the values of input records."""
        return self.client.codec

    @property
    def partitions(self) -> int:
        """The number of shards."""
        return self.client.topics.partitions

    @property
    def where(self) -> str:
        """Where it looks, for sentences."""
        prefix = f", prefix '{self.client.settings.prefix}'" if self.client.settings.prefix else ""
        return f"at {self.client.settings.bootstrap}{prefix}"

    def events(self, wf_run_id: str, *, previous: bool = False) -> Iterator[Logged]:
        """Yield the events of a WfRun id in the order of the log, as they are read."""
        events = self.client.wf_runs.events(wf_run_id, from_start=previous)
        return (Logged(*it) for it in events)

    def follow(self, wf_run_id: str, *, previous: bool = False) -> Iterator[Logged | None]:
        """Do the same as `events`, and go on for ever with what comes. None stands for: no more for the moment."""
        events = self.client.wf_runs.follow(wf_run_id, from_start=previous)
        return (None if it is None else Logged(*it) for it in events)

    def wf_run_ids(self) -> Iterator[str]:
        """Yield the id of every WfRun that has a row: live ones, and those whose retention has not ended."""
        topics = self.client.topics
        for partition in range(topics.partitions):
            ids: dict[bytes, None] = {}
            for message in self.client.reader.read(topics.wf_runs, partition, FROM_THE_START):
                key = message.key() or b""
                if message.value() is None:
                    ids.pop(key, None)
                else:
                    ids[key] = None
            yield from (key.decode() for key in ids)

    def ids_as_read(self) -> Iterator[str]:
        """Yield ids of WfRuns at once as they are read, for a short look: some more than once, some deleted since."""
        topics = self.client.topics
        for partition in range(topics.partitions):
            for message in self.client.reader.read(topics.wf_runs, partition, FROM_THE_START):
                yield (message.key() or b"").decode()

    def definitions(self, position: int | None = None) -> Definitions:
        """Return all definitions, or those that were registered before a position of `definitions`."""
        return definitions_at(self.definition_records(), position)

    def definition_records(self) -> Iterator[tuple[int, Definition]]:
        """Yield the records of `definitions` that there are, each with its offset."""
        self._read_definitions()
        return iter(self._definitions)

    def _read_definitions(self) -> None:
        for message in self.client.reader.read(self.client.topics.definitions, 0, self._read_up_to):
            offset = message.offset() or 0
            self._read_up_to = offset + 1
            if (value := message.value()) is not None:
                definition = decoded(self.client.codec, value, "Definition", partial(where, message))
                assert isinstance(definition, Definition)
                self._definitions.append((offset, definition))

    def record(self, topic: str, partition: int, offset: int) -> InputRecord | None:
        """Return an input record; None if it is not there any more."""
        return self.records([(topic, partition, offset)]).get((topic, partition, offset))

    def records(self, places: Iterable[Place]) -> dict[Place, InputRecord]:
        """Return many input records at once. Those that are not there any more are left out."""
        found: dict[Place, InputRecord] = {}
        for (topic, partition), those in groupby(sorted({*places}), itemgetter(0, 1)):
            if topic in INPUT_TOPICS:
                for offsets in _runs([offset for _, _, offset in those]):
                    found |= {(topic, partition, it.offset): it for it in self._read(topic, partition, offsets)}
        return found

    def _read(self, topic: str, partition: int, offsets: list[int]) -> Iterator[InputRecord]:
        """Read the records at some ascending offsets of a partition, up to the last of them."""
        from processors.runtime.turn.arrivals import as_input  # here: most commands do not read inputs

        reader, wanted = self.client.reader, set(offsets)
        name = self.client.topics.prefix + topic
        try:
            low, end = reader.bounds(name, partition)
        except TopicMissing:
            return  # a replay has no inputs of its own
        if offsets[-1] < low or offsets[0] >= end:
            return
        for message in reader.read(name, partition, offsets[0]):
            offset = message.offset() or 0
            if offset in wanted:
                yield as_input(message, topic, partition)
            if offset >= offsets[-1]:
                return


def _runs(offsets: list[int]) -> Iterator[list[int]]:
    """Divide ascending offsets where the gap between two is too large to read over it."""
    run = [offsets[0]]
    for offset in offsets[1:]:
        if offset - run[-1] > GAP_MAX:
            yield run
            run = []
        run.append(offset)
    yield run
