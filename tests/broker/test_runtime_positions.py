"""Rules of where a loaded shard begins, on a real Kafka, with the counting fold in processes of their own."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from processors.runtime.group.clients import Clients, Slot
from processors.runtime.group.cluster import Cluster
from processors.runtime.loading.beginning import until_known
from tests.support.counting_fold import CountingDefinitions
from tests.support.installation import Installation
from tests.support.waiting import wait_until


@pytest.fixture
def installation(bootstrap: str, prefix: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation(bootstrap, prefix, tmp_path, partitions=1) as it:
        yield it


def position(installation: Installation) -> dict[str, int]:
    """The one shard's row of fold-positions; empty without one."""
    row: dict[str, int] = installation.ledger.rows(installation.topics.fold_positions).get(b"0", {})
    return row


def test_records_of_an_input_that_was_never_folded_are_missed_when_they_are_deleted_unread(
    installation: Installation,
) -> None:
    worker = installation.worker("one")
    installation.post("wf-commands", "key")
    wait_until("the first turn", lambda: position(installation))
    assert position(installation)["external-events"] == 0
    worker.stop()
    for _ in range(2):
        installation.post("external-events", "key")
    place = TopicPartition(installation.topics.external_events, 0, 1)
    next(iter(installation.admin.delete_records([place]).values())).result()
    worker = installation.worker("one")
    assert worker.wait_end() == 1
    assert "external-events[0]: expected the record at offset 0" in worker.log.splitlines()[-1]


def test_an_input_that_the_state_does_not_name_is_new_and_begins_at_its_first_record(
    installation: Installation,
) -> None:
    row = json.dumps({"wf-commands": 0, "external-events": 0, "definition-commands": 0})
    installation.producer.produce(installation.topics.fold_positions, row, b"0", partition=0)
    installation.producer.flush()
    installation.post("task-reports", "key")
    worker = installation.worker("one")
    wait_until("the first turn", lambda: position(installation).get("task-reports") == 1)
    assert worker.log.count("new_input") == 1
    assert f"topic={installation.topics.task_reports}" in worker.log


def test_a_shard_is_not_folded_before_the_definitions_that_it_was_folded_with_are_known(
    installation: Installation,
) -> None:
    for number in range(3):
        installation.producer.produce(installation.topics.definitions, b"1", b"%d" % number, partition=0)
    installation.producer.flush()
    cluster = Cluster(Clients(installation.settings, installation.topics, Slot("one")))
    definitions, place = CountingDefinitions(), (installation.topics.definitions, 0)
    definitions.position = 2
    assert list(until_known(definitions, 2, cluster, place)) == []
    waiting = until_known(definitions, 3, cluster, place)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        next(waiting)
    definitions.position = 3
    for _ in waiting:
        assert time.monotonic() < deadline + 20


def test_definitions_that_end_before_the_position_that_a_shard_was_folded_with_stop_the_worker(
    installation: Installation,
) -> None:
    row = json.dumps({"wf-commands": 0, "definitions": 7})
    installation.producer.produce(installation.topics.fold_positions, row, b"0", partition=0)
    installation.producer.flush()
    worker = installation.worker("one")
    assert worker.wait_end() == 1
    assert "definitions[0]: expected offset 7" in worker.log.splitlines()[-1]


def test_a_state_that_is_behind_the_offset_that_was_committed_with_it_stops_the_worker(
    installation: Installation,
) -> None:
    """As when Kafka loses the marks of a committed transaction in a state topic, and the next abort drops its rows."""
    worker = installation.worker("one")
    installation.post("wf-commands", "key")
    wait_until("the first turn", lambda: position(installation))
    worker.stop()
    before = json.dumps({**position(installation), "wf-commands": 0})
    installation.producer.produce(installation.topics.fold_positions, before, b"0", partition=0)
    installation.producer.flush()
    worker = installation.worker("one")
    assert worker.wait_end() == 1
    assert "up to offset 1, found state up to offset 0" in worker.log.splitlines()[-1]
