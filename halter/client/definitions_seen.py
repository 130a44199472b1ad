"""The definitions that a client has seen: it reads `definitions` once, and from then on what has come since."""

import time

from confluent_kafka import Message

from halter.client.errors import NoOutcome
from halter.client.log_records import decoded, where
from halter.client.reading import FROM_THE_START, VISIBLE_SECONDS, PartitionReader, follow_until
from processors.codec import Codec
from processors.core.records.commands import DefinitionCommand, DeleteDefinition
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

    def until_visible(
        self, command: DefinitionCommand, accepted: DefinitionAccepted, deadline: float, sent_at: int
    ) -> int:
        """Wait until what a command came to is on the topic, and return the position up to which it has been read.

        `sent_at` is the position when it was sent. Of commands that were sent together, the first may have read what
        the others came to.
        A transaction does not become visible in all its partitions at the same moment: this waits until `deadline`,
        and VISIBLE_SECONDS at least. Raises NoOutcome.
        """
        if self.position > sent_at and not isinstance(command, DeleteDefinition) and self._has(command, accepted):
            return self.position
        deadline = max(deadline, time.monotonic() + VISIBLE_SECONDS)
        topic = self._topics.definitions
        for message in follow_until(deadline, self._reader, topic, 0, self._start()):
            if message is not None:
                self._take(message)
            elif not accepted.changed or self._has(command, accepted):
                return self.position
        raise NoOutcome(f"{accepted.kind} {accepted.name!r} was accepted, but does not appear on '{topic}'")

    def _has(self, command: DefinitionCommand, accepted: DefinitionAccepted) -> bool:
        """Return True if what a command came to has been read."""
        if not isinstance(command, DeleteDefinition):
            # Somebody else may have deleted it by now.
            known = self._definitions.versions(accepted.kind, accepted.name)
            return any((it.major, it.revision) == (accepted.major, accepted.revision) for it in known)
        live = self._definitions.live_versions(command.kind, command.name)
        return not any(
            command.major in (None, major) and command.revision in (None, revision) for major, revision in live
        )

    def _start(self) -> int:
        return self.position or FROM_THE_START

    def _take(self, message: Message) -> None:
        offset = message.offset()
        assert offset is not None
        if offset < self.position:
            return
        self.position = offset + 1
        if (value := message.value()) is not None:
            definition = decoded(self._codec, value, "Definition", lambda: where(message))
            assert isinstance(definition, Definition)
            self._definitions.apply(definition)
