"""The loss of the broker in the middle of turns: workers wait, go on or end themselves, and nothing is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from halter.broker import EmbeddedBroker
from processors.app import FORCED_EXIT_CODE
from tests.support.installation import Installation, wait_until


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker that a test may kill without hurting others."""
    with EmbeddedBroker(tmp_path / "kafka") as it:
        yield it


@pytest.mark.one_broker_dies
@pytest.mark.timeout(300)
def test_nothing_is_lost_or_doubled_when_the_broker_is_killed_and_comes_back(
    kafka: EmbeddedBroker, prefix: str, tmp_path: Path
) -> None:
    """A worker may end itself when a call of librdkafka's hangs after the coordinator's death: it is started again."""
    with Installation(kafka.bootstrap, prefix, tmp_path, partitions=2) as installation:
        workers = [installation.worker("one", static=True)]
        workers[-1].wait_ready()

        def is_folded_beyond(inputs: int) -> bool:
            if workers[-1].process.poll() is not None:
                workers.append(installation.worker("one", static=True))
            return len(installation.ledger.events()) > inputs

        with installation.trickle():
            for _ in range(2):
                inputs = len(installation.ledger.inputs())
                wait_until("turns under load", lambda n=inputs: is_folded_beyond(n + 20))
                kafka.kill()
                kafka.restart()
        inputs = len(installation.ledger.inputs())
        wait_until("the worker to go on", lambda: is_folded_beyond(inputs - 1), seconds=60)
        verdict = installation.verdict_when_folded()
        assert verdict.ok, verdict


def test_a_worker_that_is_told_to_stop_ends_within_5_seconds_though_no_broker_answers(
    kafka: EmbeddedBroker, prefix: str, tmp_path: Path
) -> None:
    with Installation(kafka.bootstrap, prefix, tmp_path, partitions=2) as installation:
        worker = installation.worker("one")
        worker.wait_ready()
        kafka.kill()
        worker.wait_logged("kafka_client_error")
        exit_code, seconds = worker.stop()
        assert exit_code in {0, FORCED_EXIT_CODE}, worker.log
        assert seconds < 5.5
        assert worker.ready is None
