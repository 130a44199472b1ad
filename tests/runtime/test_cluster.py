"""Rules of questions to the cluster: each has an answer, and an answer without an offset is no offset."""

import gc
import socket
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from processors.runtime.group import cluster as runtime_cluster
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.names import Place

PLACES: list[Place] = [("thread-runs", 3), ("wf-runs", 3)]
UNKNOWN = -1001
"""The answer that librdkafka gives, as a success, for a partition whose leader died while it was asked."""


@dataclass
class Info:
    """Answers of list_offsets."""

    offset: int
    leader_epoch: int | None = 1


class Admin:
    """Answers from a list."""

    def __init__(self, offsets: dict[Place, int]) -> None:
        self._offsets = offsets

    def poll(self, timeout: float) -> None:
        """It has nothing to tell."""

    def list_offsets(self, wanted: dict[TopicPartition, Any], **_: object) -> dict[TopicPartition, Future[Info]]:
        answers = {}
        for partition in wanted:
            answers[partition] = Future[Info]()
            answers[partition].set_result(Info(self._offsets[partition.topic, partition.partition]))
        return answers


def wait_for(work: Any, seconds: float) -> None:
    """Drive work that waits, for these seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        next(work)


def asked(question: Callable[[Collection[Place]], Any]) -> Any:
    """Wait for the answer to a question."""
    work = question(PLACES)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def cluster(offsets: dict[Place, int]) -> Cluster:
    class Clients:
        def admin(self) -> Admin:
            return Admin(offsets)

    return Cluster(Clients())  # type: ignore[arg-type]  # all that it is asked for


@pytest.mark.parametrize("question", ["low", "high", "last_stable", "positions"])
def test_an_offset_that_no_broker_has_told_is_asked_for_again_and_never_taken_for_an_end(question: str) -> None:
    with pytest.raises(KafkaException, match=r"no broker has told an offset of wf-runs\[3\]"):
        asked(getattr(cluster({PLACES[0]: 7, PLACES[1]: UNKNOWN}), question))


def test_an_empty_partition_ends_at_0() -> None:
    assert asked(cluster({PLACES[0]: 7, PLACES[1]: 0}).high) == {PLACES[0]: 7, PLACES[1]: 0}


def test_a_question_that_the_client_forgets_fails_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_cluster, "PATIENCE_SECONDS", 0.05)

    class Forgetful:
        def list_offsets(self, wanted: dict[TopicPartition, Any], **_: object) -> dict[TopicPartition, Future[Info]]:
            return {partition: Future() for partition in wanted}

    class Clients:
        def admin(self) -> Forgetful:
            return Forgetful()

    with pytest.raises(KafkaException, match="has not answered"):
        asked(Cluster(Clients()).high)  # type: ignore[arg-type]  # all that it is asked for


def test_a_question_is_answered_though_another_load_has_the_client_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two loads share the client; one that met an error renews it while the other waits."""
    monkeypatch.setattr(runtime_cluster, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(runtime_cluster, "PATIENCE_SECONDS", 100.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:

        class Clients:
            def admin(self) -> AdminClient:
                port = silent.getsockname()[1]
                return AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})

        shared = Cluster(Clients())  # type: ignore[arg-type]  # all that it is asked for
        work = shared.high(PLACES)
        next(work)
        shared.renew()
        gc.collect()
        with pytest.raises(KafkaException):  # there is no broker: its time is over
            wait_for(work, 30)
