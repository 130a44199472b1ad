"""What the pages and the API show, as plain data: read from the view and from Kafka when somebody asks.

The functions block while they read, so they are called in a thread (Starlette does so for a route that is no
coroutine). Any number of threads may call them. Masked values are taken out unless the caller asks for them with
`unmask`; who may ask, the caller checks. Errors are HalterErrors with a sentence; `problems` knows their status.
"""

from halter.console.readings_dead_letters import DeadLetterReadings
from halter.console.readings_kafka import KafkaReadings
from halter.console.readings_log import LogReadings
from halter.console.readings_view import ViewReadings
from halter.console.readings_workers import WorkerReadings
from halter.console.settings import ConsoleSettings


class Readings:
    """The readings of one console, by subject. Close them in the end."""

    def __init__(self, settings: ConsoleSettings) -> None:
        """Contacts nobody yet."""
        self.kafka = KafkaReadings(settings)
        self.view = ViewReadings(settings.view_url)
        self.log = LogReadings(self.kafka)
        self.dead_letters = DeadLetterReadings(self.kafka)
        self.workers = WorkerReadings(self.kafka)

    def close(self) -> None:
        """Let go of Kafka and of the view."""
        self.kafka.close()
        self.view.close()
