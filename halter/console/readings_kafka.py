"""How readings reach Kafka, or what stands for the log in its place: one client, asked in turns. Knows no answers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from halter.client.client import Client
from halter.console.problems import OutOfReach
from halter.console.reaching import Reaching
from halter.console.settings import ConsoleSettings
from halter.console.turns import Turns
from halter.history.live import Live
from halter.history.source import Source


class KafkaReadings:
    """The client of one console, and the source of histories. The readings of a subject share it."""

    def __init__(self, settings: ConsoleSettings) -> None:
        """Contacts nobody yet."""
        self.settings = settings
        self.turns = Turns()
        self._client: Client | None = None
        self._making = threading.Lock()
        self._reaching = Reaching()

    def close(self) -> None:
        """Let go of Kafka."""
        if self._client is not None:
            self._client.close()

    def reach(self, client: Client) -> None:
        """Return once Kafka answers. Raises KafkaUnavailable."""
        self._reaching.reach(lambda seconds: client.reach(seconds, to_send=False))

    @contextmanager
    def source(self) -> Iterator[Source]:
        """Yield what histories are read from, once it is our turn. Raises LogBusy and KafkaUnavailable."""
        with self.turns.turn(), self.reached() as source:
            yield source

    @contextmanager
    def reached(self) -> Iterator[Source]:
        """Yield what the log and the definitions are read from, once it answers. Raises KafkaUnavailable."""
        if self.settings.source is not None:
            with self.settings.source() as source:
                yield source
            return
        client = self.client()
        self.reach(client)
        yield Live(client)

    def client(self) -> Client:
        """Return the client that reads Kafka. It may not answer. Raises OutOfReach if there is none."""
        if self.settings.kafka is None:
            raise OutOfReach("this console has no Kafka: it shows what the view has, and no history")
        with self._making:
            if self._client is None:
                self._client = Client.of(self.settings.kafka)
            return self._client
