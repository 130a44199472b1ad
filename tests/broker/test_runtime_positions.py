"""Rules of where a loaded shard begins, on a real Kafka, with the counting fold in processes of their own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from tests.support.installation import Installation, wait_until


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
