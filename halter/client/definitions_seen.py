"""The definitions that a client has seen: it reads `definitions` once, and from then on what has come since."""

import time

from confluent_kafka import Message

from halter.client.errors import NoOutcome
from halter.client.reading import FROM_THE_START, VISIBLE_SECONDS, PartitionReader, follow_until
from processors.codec import Codec
from processors.core.records.events import Definition, DefinitionAccepted
from processors.core.wf_spec.definitions import Definitions
from processors.kafka.topics import Topics


class DefinitionsSeen:
    """All definitions up to a position of `definitions`. The position only grows."""

    def __init__(self, reader: PartitionReader, topics: Topics, codec: Codec) -> None:
        self._reader, self._topics, self._codec = reader, topics, codec
        self._definitions = Definitions()
        self.position = 0
        """The offset up to which the topic has been read."""

    def newest(self) -> Definitions:
        """All definitions that there are now."""
        for message in self._reader.read(self._topics.definitions, 0, self._start()):
            self._take(message)
        return self._definitions

    def until_visible(self, accepted: DefinitionAccepted, deadline: float) -> int:
        """Wait until an accepted definition is on the topic, and return the position up to which it has been read.

        A transaction does not become visible in all its partitions at the same moment: this waits until `deadline`,
        and VISIBLE_SECONDS at least. Raises NoOutcome.
        """
        key = Definition(accepted.kind, accepted.name, accepted.major, accepted.revision).key.encode()
        deadline = max(deadline, time.monotonic() + VISIBLE_SECONDS)
        topic, found = self._topics.definitions, not accepted.changed
        start = self._start() if found else FROM_THE_START
        for message in follow_until(deadline, self._reader, topic, 0, start):
            if message is None:
                if found:
                    return self.position
                continue
            self._take(message)
            found = found or message.key() == key
        raise NoOutcome(f"{accepted.kind} {accepted.name!r} was accepted, but does not appear on '{topic}'")

    def _start(self) -> int:
        return self.position or FROM_THE_START

    def _take(self, message: Message) -> None:
        offset = message.offset()
        assert offset is not None
        if offset < self.position:
            return
        self.position = offset + 1
        if (value := message.value()) is not None:
            definition = self._codec.decode(value)
            assert isinstance(definition, Definition)
            self._definitions.apply(definition)
