"""Which workers there are, and what waits to be folded: asked of Kafka."""

from concurrent.futures import TimeoutError as NoAnswer
from typing import TypedDict

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from halter.client.workers import Workers
from halter.console.problems import OutOfReach
from halter.console.readings_kafka import KafkaReadings
from halter.console.standing import FoldingAnswer, Standing
from halter.doctor.cluster import Cluster
from halter.doctor.findings import Skip
from halter.doctor.standing import Folding, look_at_folding
from processors.kafka.errors import KafkaUnavailable


class WorkersAnswer(TypedDict):
    """The workers of the installation, and the one that has each partition. `is_known`: Kafka has told."""

    group: str
    is_known: bool
    workers: list[str]
    owners: dict[str, str]


class WorkerReadings:
    """Asks Kafka for one console."""

    def __init__(self, kafka: KafkaReadings) -> None:
        """`kafka`: how it is reached."""
        self._kafka = kafka
        self.standing = Standing(kafka.settings.folding or self._look_at_folding)
        """What waits to be folded, and which partitions stand still."""

    def workers(self) -> WorkersAnswer:
        """Return the workers that Kafka knows, and which has each partition; nothing if it does not tell us soon.

        Raises OutOfReach and KafkaUnavailable.
        """
        client = self._kafka.client()
        self._kafka.reach(client)
        members = Workers(client.settings, client.topics).members()
        if members is None:
            return WorkersAnswer(group=client.topics.group, is_known=False, workers=[], owners={})
        owners = {str(partition): name for partition, name in sorted(members.owners.items())}
        return WorkersAnswer(group=members.group, is_known=True, workers=members.names, owners=owners)

    def folding(self) -> FoldingAnswer:
        """Return what waits to be folded, and which partitions stand still. Raises OutOfReach and KafkaUnavailable."""
        return self.standing.now()

    def _look_at_folding(self) -> Folding:
        client = self._kafka.client()
        self._kafka.reach(client)
        cluster = Cluster(client.settings, client.topics, AdminClient(client.settings.admin()))
        try:
            return look_at_folding(cluster)
        except Skip as refused:
            raise OutOfReach(f"{refused}, so it is not known what waits to be folded") from refused
        except KafkaException as exception:
            raise client.settings.explain(exception, "looking at what waits to be folded") from exception
        except NoAnswer as exception:
            raise KafkaUnavailable("Kafka does not tell in time what waits to be folded") from exception
