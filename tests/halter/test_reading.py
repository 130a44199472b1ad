"""What an error about a topic means to whoever reads it."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from halter.client import reading
from halter.client.errors import TopicMissing
from halter.client.reading import PartitionReader
from processors.kafka.client_errors import LEADER_CHANGES
from processors.kafka.errors import KafkaUnavailable
from processors.kafka.settings import Settings


@pytest.fixture
def reader() -> PartitionReader:
    settings = Settings.load(None, {}, {"bootstrap.servers": "127.0.0.1:1"})
    return PartitionReader(settings, settings.topics())


@pytest.mark.parametrize("code", [KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION])
def test_a_topic_that_was_there_is_not_missing_because_no_broker_is_reached(reader: PartitionReader, code: int) -> None:
    """Otherwise a process of bindings ends when its connections are cut, and tells people to create topics."""
    with pytest.raises(TopicMissing):
        reader.raise_about(KafkaException(KafkaError(code)), "definitions")
    reader._as_expected.add("definitions")
    with pytest.raises(KafkaUnavailable, match="'definitions' is, which was there before"):
        reader.raise_about(KafkaException(KafkaError(code)), "definitions")
    with pytest.raises(TopicMissing):
        reader.raise_about(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)), "definitions")


class ComesBack:
    """A consumer that gets an error for its first questions about offsets: of the call, or of the partition."""

    def __init__(self, code: int, is_of_partition: bool) -> None:
        self._error, self._is_of_partition = KafkaError(code), is_of_partition
        self._failures = iter(range(2))

    def get_watermark_offsets(self, *_: object, cached: bool) -> tuple[int, int]:
        assert not cached
        if next(self._failures, None) is not None:
            raise KafkaException(self._error)
        return 2, 7

    def offsets_for_times(self, asked: list[TopicPartition], _: float) -> list[Any]:
        found: list[Any] = [TopicPartition(it.topic, it.partition, 5) for it in asked]
        if next(self._failures, None) is not None:
            if not self._is_of_partition:
                raise KafkaException(self._error)
            found[-1] = SimpleNamespace(topic=asked[-1].topic, error=self._error)
        return found

    def unassign(self) -> None:
        pass


@pytest.mark.parametrize("is_of_partition", [False, True])
@pytest.mark.parametrize("code", [KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC, *LEADER_CHANGES])
def test_offsets_are_asked_for_again_while_brokers_come_and_go(
    reader: PartitionReader, monkeypatch: pytest.MonkeyPatch, code: int, is_of_partition: bool
) -> None:
    """A console showed "Unknown partition" of a topic that was there, a moment after a broker had come back."""
    monkeypatch.setattr(reading, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(reader, "_expect", lambda *_: None)
    reader._as_expected |= {"wf-events", "definitions"}
    for question, answer in (
        (lambda: reader.bounds("wf-events", 0), (2, 7)),
        (lambda: reader.offset_at("wf-events", 0, 1_000), 5),
        (lambda: reader.high(["definitions", "wf-events"], 0), {"definitions": 5, "wf-events": 5}),
    ):
        for isolation in ("read_committed", "read_uncommitted"):
            consumer = cast("Any", ComesBack(code, is_of_partition))
            reader._idle[reading.READS_MS, cast("Any", isolation)] = [consumer]
        assert question() == answer


def test_whoever_follows_hears_once_that_no_broker_is_there_and_again_the_next_time(
    reader: PartitionReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, nothing = ([], {("wf-events", 0): 5}), ([], {})
    told: list[str] = []

    def some(_: object) -> Iterator[Any]:
        yield from (end, nothing)
        reader._settings.errors(KafkaError(KafkaError._TRANSPORT, "Connection refused"))
        yield nothing  # one connection of several
        reader._settings.errors(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        yield from (nothing, nothing, end, nothing)
        reader._settings.errors(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        yield from (nothing, nothing)

    answers = some(None)
    monkeypatch.setattr(reader, "some", lambda _: next(answers))
    reader.warn = told.append
    counts = [len(told) for _, _ in zip(range(9), reader._arriving(cast("Any", None), "wf-events", 0), strict=False)]
    assert counts == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert all(it.startswith("reading wf-events[0] at 127.0.0.1:1") and "Connection refused" in it for it in told)
