"""The loss of the only broker: a worker that is told to stop does. What brokers' deaths do to records: tests/chaos."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from halter.broker import EmbeddedBroker
from processors.worker.app import FORCED_EXIT_CODE
from tests.support.installation import Installation


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker that a test may kill without hurting others."""
    with EmbeddedBroker(tmp_path / "kafka") as it:
        yield it


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
