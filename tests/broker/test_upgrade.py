"""The topics of a rolling upgrade on a real Kafka: those of 0.1.0 stay as they are until no worker of it is left.

With real workers of 0.1.0: `python -m tests.chaos --upgrade-from` (docs/upgrades.md).
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # a public name that its type hints forget

from halter.client import Client
from halter.topics import admin as topic_admin
from processors.core.records.commands import PutExternalEventDef
from tests.support.installation import Installation
from tests.support.waiting import wait_until

RELEASE = "0.1.0"
LATER = "kept-inputs"
ANOTHER_SHAPE = "operator-commands"
UNUSED = "task-cancellations"


@pytest.fixture
def installation(bootstrap: str, prefix: str, tmp_path: Path) -> Iterator[Installation]:
    """With topics as 0.1.0 made them, as far as they differ."""
    with Installation(bootstrap, prefix, tmp_path, partitions=2) as it:
        delete(it, LATER, ANOTHER_SHAPE)
        it.admin.create_topics([NewTopic(it.prefix + ANOTHER_SHAPE, 1, 1)])[it.prefix + ANOTHER_SHAPE].result()
        yield it


def delete(installation: Installation, *names: str) -> None:
    topics = [installation.prefix + name for name in names]
    for future in installation.admin.delete_topics(topics).values():
        future.result()
    wait_until("their end", lambda: partitions(installation).keys().isdisjoint(topics))


def partitions(installation: Installation) -> dict[str, int]:
    found = installation.admin.list_topics(timeout=10).topics
    return {name: len(topic.partitions) for name, topic in found.items()}


def worker(installation: Installation, slot: str, **env: str) -> None:
    """Start a worker and have it fold something."""
    process = installation.worker(slot, module="tests.support.breaking_worker", **env)
    process.wait_ready()
    with Client.of(installation.settings, installation.topics) as client:
        client.put(PutExternalEventDef(slot))
    process.stop()


def test_beside_workers_of_0_1_0_their_topics_stay_and_afterwards_they_become_todays(
    installation: Installation,
) -> None:
    topics, beside = installation.topics, replace(installation.settings, schemas=RELEASE).topics()
    too_early = installation.worker("early", module="tests.support.breaking_worker")
    assert too_early.wait_end() == 1
    assert "expected 2 partitions, found 1: if it is of version 0.1.0" in too_early.log
    assert topic_admin.plan(topics, installation.admin, replication="auto").refused
    topic_admin.make_so(beside, installation.admin, replication="auto")
    wait_until("the new topic", lambda: partitions(installation).get(topics.kept_inputs) == 2)
    assert partitions(installation)[topics.operator_commands] == 1
    worker(installation, "beside", HALTER_SCHEMAS=RELEASE)
    delete(installation, UNUSED)
    worker(installation, "without", HALTER_SCHEMAS=RELEASE)
    delete(installation, ANOTHER_SHAPE)
    topic_admin.make_so(topics, installation.admin, replication="auto")
    # One that starts again before its turn has come.
    worker(installation, "again", HALTER_SCHEMAS=RELEASE)
    worker(installation, "today")
