"""Asks Kafka which workers are in the group, for sentences about a record that nobody decides. Joins no group.

The question needs the right to describe the group, which topics.yaml gives to operators only. Who has not got it, or
gets no answer soon, hears less, and never something untrue.
"""

from concurrent.futures import TimeoutError as NoAnswer
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from processors.kafka.settings import Settings
from processors.kafka.topics import Topics

ANSWER_SECONDS: Final = 1.0
NEVER_SECONDS: Final = 3_600.0
"""The question must not time out by itself: librdkafka 2.16 can end the process then (docs/adr/0011)."""


class Members(NamedTuple):
    """The workers in the group, as its coordinator knows them. One that was killed stays for the session time-out."""

    group: str
    names: list[str]
    """Their client ids, which are their transactional ids."""
    owners: dict[int, str]
    """The worker that has a partition, by the partition. Empty while the group shares them out."""


class Workers:
    """Asks who the workers are."""

    def __init__(self, settings: Settings, topics: Topics) -> None:
        self._settings, self._topics = settings, topics

    def members(self) -> Members | None:
        """Return the members of the workers' group; None if Kafka does not tell us within ANSWER_SECONDS."""
        from confluent_kafka.admin import AdminClient  # most clients never ask

        group = self._topics.group
        admin = AdminClient(self._settings.admin())
        asked = admin.describe_consumer_groups([group], request_timeout=NEVER_SECONDS)
        try:
            found = asked[group].result(ANSWER_SECONDS).members
        except KafkaException as refused:
            if refused.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                return None
            found = []
        except NoAnswer:
            return None
        return Members(group, sorted(it.client_id for it in found), self._owners(found))

    def _owners(self, members: list[Any]) -> dict[int, str]:
        return {
            partition.partition: member.client_id
            for member in members
            for partition in member.assignment.topic_partitions
            if partition.topic == self._topics.wf_commands
        }
