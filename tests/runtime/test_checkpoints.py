"""Rules of checkpoints: stores hear between turns where the state topics end, for the shards that are owned then."""

from collections.abc import Collection
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from processors.fold.stores import StatePosition
from processors.runtime.group.clock import Clock
from processors.runtime.group.names import Place
from processors.runtime.group.waiting import Waiting
from processors.runtime.loading.checkpoints import CHECKPOINT_SECONDS, Checkpoints


class Time(Clock):
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class SlowCluster:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked = self.renewed = 0
        self.answer: int | KafkaException | None = None

    def positions(self, places: Collection[Place]) -> Waiting[dict[Place, StatePosition]]:
        self.asked += 1
        while self.answer is None:
            yield
        if isinstance(self.answer, KafkaException):
            raise self.answer
        return {place: StatePosition(self.answer, 3) for place in places}

    def renew(self) -> None:
        self.renewed += 1


class Names:
    def state(self, shard: int) -> list[Place]:
        return [("p-wf-runs", shard)]

    def logical(self, topic: str) -> str:
        return topic.removeprefix("p-")


class Files:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def checkpoint(self, ends: Any) -> None:
        self.told.append(ends)


class Fold:
    def __init__(self, partition: int, files: Files | None) -> None:
        self.partition, self.files = partition, files


class Rig:
    def __init__(self, *folds: Fold) -> None:
        self.time, self.cluster, self.folds = Time(), SlowCluster(), list(folds)
        self.checkpoints = Checkpoints(self.cluster, Names(), self.time)  # type: ignore[arg-type]  # as far as used

    def drive(self) -> None:
        self.checkpoints.drive(lambda: self.folds)  # type: ignore[arg-type, return-value]  # as far as used

    def pass_time(self) -> None:
        self.time.seconds += CHECKPOINT_SECONDS
        self.drive()


def test_files_are_told_every_few_seconds() -> None:
    rig = Rig(Fold(2, Files()))
    rig.drive()
    assert rig.cluster.asked == 0
    for number in (1, 2):
        rig.cluster.answer = 10 * number
        rig.pass_time()
    assert rig.folds[0].files is not None
    assert rig.folds[0].files.told == [{"wf-runs": StatePosition(10, 3)}, {"wf-runs": StatePosition(20, 3)}]


def test_a_shard_that_is_another_when_the_answer_comes_is_told_nothing() -> None:
    old, new = Fold(2, Files()), Fold(2, Files())
    rig = Rig(old)
    rig.pass_time()
    rig.folds = [new]
    rig.cluster.answer = 10
    rig.drive()
    assert (old.files and old.files.told) == (new.files and new.files.told) == []


def test_nobody_is_asked_again_before_an_answer() -> None:
    rig = Rig(Fold(2, Files()))
    for _ in range(3):
        rig.pass_time()
    assert rig.cluster.asked == 1


def test_a_cluster_that_does_not_answer_costs_a_checkpoint_and_nothing_else() -> None:
    rig = Rig(Fold(2, Files()))
    rig.cluster.answer = KafkaException(KafkaError(KafkaError._TIMED_OUT))
    rig.pass_time()
    assert rig.cluster.renewed == 1
    rig.cluster.answer = 10
    rig.pass_time()
    assert rig.folds[0].files is not None
    assert len(rig.folds[0].files.told) == 1
