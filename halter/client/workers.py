"""Asks Kafka which workers and task workers there are, for sentences about what nobody decides or runs. Joins no group.

The question needs the right to describe the group, which topics.yaml gives to operators only. Who has not got it, or
gets no answer soon, hears less, and never something untrue.
"""

import zlib
from collections.abc import Iterable
from concurrent.futures import TimeoutError as NoAnswer
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from processors.kafka.settings import Settings
from processors.kafka.topics import Topics

ANSWER_SECONDS: Final = 1.0
NEVER_SECONDS: Final = 3_600.0
"""The question must not time out by itself: librdkafka 2.16 can end the process then (docs/adr/0011)."""


TASK_WORKER: Final = "halter-tasks-"
"""Begins the client id of a task worker, unless a setting names another."""
WITHOUT_HANDLER: Final = "an attempt that comes to one without its handler waits until it times out"
"""What comes of it if task workers of one group have other tasks."""
START_ONE: Final = "`halter worker` starts one; one that was started just now joins soon"


class Members(NamedTuple):
    """The workers in the group, as its coordinator knows them. One that was killed stays for the session time-out."""

    group: str
    names: list[str]
    """Their client ids, which are their transactional ids."""
    owners: dict[int, str]
    """The worker that has a partition, by the partition. Empty while the group shares them out."""

    @property
    def nobody(self) -> str:
        """The sentence about a group without members."""
        return f"no worker is running: group '{self.group}' has no member. {START_ONE}"


class Workers:
    """Asks who the workers are."""

    def __init__(self, settings: Settings, topics: Topics) -> None:
        self._settings, self._topics = settings, topics

    def members(self) -> Members | None:
        """Return the members of the workers' group; None if Kafka does not tell us within ANSWER_SECONDS."""
        found = _members_of(self._admin(), self._topics.group)
        if found is None:
            return None
        return Members(self._topics.group, sorted(it.client_id for it in found), self._owners(found))

    def no_worker(self) -> str | None:
        """Return a sentence if no worker is running; None if one is, or Kafka does not tell."""
        members = self.members()
        return None if members is None or members.names else members.nobody

    def no_task_worker(self) -> str | None:
        """Return a sentence if there is no task worker in any group that we see; None if there is one, or nobody tells.

        Task workers that are given a group have the name of the usual one before it.
        """
        usual, admin = self._topics.task_group, self._admin()
        if _members_of(admin, usual) != []:
            return None
        groups = groups_that_begin(admin, f"{usual}-", ANSWER_SECONDS)
        if groups is None or any(_members_of(admin, it) != [] for it in groups):
            return None
        return (
            f"no task worker is running: group '{usual}' has no member, and no group whose name begins with '{usual}-' "
            "has one. `halter task-worker MODULE:NAME` starts one"
        )

    def task_workers(self, group: str, queue: str) -> set[str]:
        """Return the ids by which the task workers of a group tell their tasks; none if Kafka does not tell us."""
        return ids_of_task_workers(_members_of(self._admin(), group) or [], queue)

    def _admin(self) -> Any:
        from confluent_kafka.admin import AdminClient  # most clients never ask

        return AdminClient(self._settings.admin())

    def _owners(self, members: list[Any]) -> dict[int, str]:
        return {
            partition.partition: member.client_id
            for member in members
            for partition in member.assignment.topic_partitions
            if partition.topic == self._topics.wf_commands
        }


def id_of_task_worker(tasks: Iterable[str]) -> str:
    """Return the client id of a task worker with handlers for these tasks: with others it is another one."""
    return f"{TASK_WORKER}{zlib.crc32(','.join(sorted(tasks)).encode()):08x}"


def ids_of_task_workers(members: Iterable[Any], queue: str) -> set[str]:
    """Return such client ids of the members of a group that have partitions of a queue, which is a topic."""
    return {
        str(it.client_id)
        for it in members
        if str(it.client_id).startswith(TASK_WORKER)
        and any(partition.topic == queue for partition in it.assignment.topic_partitions)
    }


def groups_that_begin(admin: Any, with_: str, seconds: float) -> list[str] | None:
    """Return the names of groups that begin so, of those that we may describe; None if Kafka does not tell in time."""
    asked = admin.list_consumer_groups(request_timeout=NEVER_SECONDS)
    try:
        found = asked.result(seconds).valid
    except (KafkaException, NoAnswer):
        return None
    return sorted(it.group_id for it in found if it.group_id.startswith(with_))


def _members_of(admin: Any, group: str) -> list[Any] | None:
    """Return the members of a group, none if there is no such group; None if Kafka does not tell us in time."""
    asked = admin.describe_consumer_groups([group], request_timeout=NEVER_SECONDS)
    try:
        return [*asked[group].result(ANSWER_SECONDS).members]
    except KafkaException as refused:
        return [] if refused.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND else None
    except NoAnswer:
        return None
