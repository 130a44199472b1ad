"""What outlasts a time-out of Kafka's: a fold its transaction's, a restore the group's patience between two polls."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from processors.kafka.partitioner import partition_of
from tests.support.installation import SHORT_SESSIONS, Installation
from tests.support.waiting import wait_until

TRANSACTION_S, SLOW_S = 5, 8.0
POLL_INTERVAL_MS, RESTORE_MS_PER_ROW, ROWS = 6_000, 2, 4_500


@pytest.fixture
def variables() -> dict[str, str]:
    return {}


@pytest.fixture
def installation(bootstrap: str, prefix: str, tmp_path: Path, variables: dict[str, str]) -> Iterator[Installation]:
    with Installation(bootstrap, prefix, tmp_path, partitions=2, variables={**SHORT_SESSIONS, **variables}) as it:
        yield it


def keys_of(partition: int, count: int) -> list[str]:
    """Keys of one of two partitions."""
    keys = (f"key-{number}" for number in range(20 * count))
    return [key for key in keys if partition_of(key.encode(), 2) == partition][:count]


@pytest.mark.parametrize("variables", [{"KAFKA_TRANSACTION_TIMEOUT_MS": str(TRANSACTION_S * 1_000)}])
def test_a_fold_that_outlasts_the_transaction_time_out_is_committed_once_and_keeps_no_worker_from_coming_back(
    installation: Installation,
) -> None:
    """A transaction that began with the outputs of a quick shard would run into it at every start."""
    quick, slow = keys_of(0, 1)[0], keys_of(1, 1)[0]
    installation.post("wf-commands", quick)
    slow_one = installation.post("wf-commands", slow, slow_s=SLOW_S)
    workers = [installation.worker("one", static=True)]

    def is_folded() -> bool:
        if workers[-1].process.poll() is not None:
            workers.append(installation.worker("one", static=True))
        return installation.ledger.committed_positions().get(slow_one[:2], 0) > slow_one[2]

    wait_until("folding the slow one", is_folded, 60)
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict
    assert len(workers) == 1, workers[0].log


@pytest.mark.parametrize("variables", [{"KAFKA_MAX_POLL_INTERVAL_MS": str(POLL_INTERVAL_MS)}])
def test_a_restore_that_outlasts_max_poll_interval_costs_no_membership_and_other_shards_go_on(
    installation: Installation,
) -> None:
    """It goes on between the polls of a worker that folds its other shard meanwhile."""
    for key in keys_of(0, ROWS) + keys_of(1, ROWS):
        installation.producer.produce(installation.topics.wf_commands, b"{}", key.encode())
    assert installation.producer.flush(60) == 0
    quick = installation.worker("quick")
    installation.ledger.wait_until_folded(installation.ledger.inputs())
    slow = installation.worker("slow", HALTER_RESTORE_MS_PER_ROW=str(RESTORE_MS_PER_ROW))
    wait_until("shared shards", lambda: len(quick.shards) == len(slow.shards) == 1)
    own, other = slow.shards[0], quick.shards[0]
    quick.kill()
    wait_until("a second restore", lambda: f"shards=[{other}]" in slow.log)
    place = installation.post("wf-commands", keys_of(own, 1)[0])
    installation.ledger.wait_until_folded([place])
    assert slow.log.count("restored ") == 1, "the other shard was restored before this one went on"
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict
    wait_until("the second restore", lambda: slow.log.count("restored ") == 2)
    assert "rejoining" not in slow.log, slow.log
    assert "turn_aborted" not in slow.log, slow.log
