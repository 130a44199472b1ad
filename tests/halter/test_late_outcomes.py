"""Rules of waiting for an outcome that is decided at the last moment.

Topics are in memory, and the worker folds when the waiting is over.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from halter.client import (
    Client,
    CommandRejected,
    CommandSkipped,
    HalterError,
    NoOutcome,
    NotSkipped,
    Posted,
    PostedSkip,
)
from halter.client.lost_outcomes import Progress
from halter.client.outcomes import Outcomes
from halter.client.wf_run_reader import WfRunReader
from processors.codec import Codec
from processors.core.records.commands import RunWf, SkipRecord
from processors.core.records.events import (
    Cause,
    Event,
    LogEntry,
    RecordSkipped,
    Rejected,
    RejectionCode,
    SkipAccepted,
    SkipLapsed,
)
from processors.core.records.fold_position import FoldPosition
from processors.core.wf_spec.definitions import Definitions
from processors.kafka.topics_file import load_topics

TOPICS, CODEC = load_topics(None, "", 1), Codec.load()
PARTITION, OWN, MEANT = 0, 5, 7
COMMAND = SkipRecord("wf-commands", PARTITION, MEANT, 1_000, None, "c", "ann")
IT, ANOTHER = ("operator-commands", OWN), ("wf-commands", MEANT)
ACCEPTED = IT, SkipAccepted("wf-commands", PARTITION, MEANT, 1_000)
SKIPPED = ANOTHER, RecordSkipped("StopWfRun", None, "ann")
LAPSED = ("wf-commands", MEANT + 1), SkipLapsed("wf-commands", PARTITION, MEANT, 1_000, "another came")


class Topics:
    """Stands in for a PartitionReader. The worker folds when the reader has come to the end of the log."""

    def __init__(self, entries: list[tuple[tuple[str, int], Event]]) -> None:
        self._coming = entries
        self._topics: dict[str, list[bytes]] = {}

    def fold(self) -> None:
        coming, self._coming = self._coming, []
        for (topic, offset), event in coming:
            entry = LogEntry("partition/0", 0, 0, 1_000, Cause(topic, PARTITION, offset, None, 0), event)
            self._topics.setdefault(TOPICS.wf_events, []).append(CODEC.encode(entry))
        row = FoldPosition(PARTITION, {"operator-commands": OWN + 1, "wf-commands": MEANT})
        self._topics[TOPICS.fold_positions] = [CODEC.encode(row)]

    def follow(self, topic: str, partition: int, start: int) -> Iterator[Any]:
        assert (partition, start) == (PARTITION, 0)
        yield from self.read(topic, partition, start)
        self.fold()
        yield None

    def read(self, topic: str, *_: int) -> Iterator[Any]:
        for value in list(self._topics.get(topic, ())):
            yield SimpleNamespace(value=lambda value=value: value, key=lambda: b"partition/0", headers=list)

    def bounds(self, *_: object) -> tuple[int, int]:
        return 0, 0


class NoWorker(Topics):
    """Topics that nobody folds."""

    def fold(self) -> None:
        pass


class NoRights(NoWorker):
    """Topics of which the client may not read the positions of the workers."""

    def read(self, topic: str, *place: int) -> Iterator[Any]:
        if topic == TOPICS.fold_positions:
            raise HalterError("no right to read it")
        yield from super().read(topic, *place)


def outcomes_of(topics: type[Topics], entries: list[tuple[tuple[str, int], Event]]) -> Outcomes:
    reader: Any = topics(entries)
    progress = Progress(reader, TOPICS, CODEC, lambda: None)
    return Outcomes(reader, TOPICS, CODEC, WfRunReader(reader, TOPICS, CODEC), progress, Definitions)


def waited_for(entries: list[tuple[tuple[str, int], Event]], topics: type[Topics] = Topics) -> list[Event]:
    """Return the answer to a caller that waits for the outcome of a skip for no time."""
    posted = PostedSkip(COMMAND, outcomes_of(topics, entries), "partition/0", "operator-commands", PARTITION, OWN, 0)
    return [entry.event for entry in posted.outcome(0)]


def test_a_skip_that_was_done_in_the_last_moment_is_done() -> None:
    assert waited_for([ACCEPTED, SKIPPED]) == [ACCEPTED[1], SKIPPED[1]]


@pytest.mark.parametrize(
    ("told", "entries"),
    [
        (CommandRejected, [(IT, Rejected("SkipRecord", RejectionCode.FAILED_PRECONDITION, "no"))]),
        (CommandSkipped, [(IT, RecordSkipped("SkipRecord"))]),
        (NotSkipped, [ACCEPTED, LAPSED]),
    ],
)
def test_a_skip_that_came_to_nothing_in_the_last_moment_is_told_as_such(
    told: type[Exception], entries: list[tuple[tuple[str, int], Event]]
) -> None:
    with pytest.raises(told):
        waited_for(entries)


def test_a_skip_whose_partition_has_not_come_to_its_record_is_told_as_such() -> None:
    with pytest.raises(NoOutcome, match="is to be skipped"):
        waited_for([ACCEPTED])


def test_who_waits_for_a_skip_in_vain_hears_that_it_will_be_done() -> None:
    with pytest.raises(
        NoOutcome, match=r"Kafka has the skip: as soon as a worker runs, wf-commands\[0\]@7 is passed over"
    ):
        waited_for([], NoWorker)


@pytest.mark.parametrize(
    ("repeat_id", "again"),
    [
        (None, ""),
        ("e7", "; to send it again safely, give it the same id (of a command: `--id e7`)"),
        ("order 7", "; to send it again safely, give it the same id (of a command: `--id 'order 7'`)"),
    ],
)
@pytest.mark.parametrize("topics", [NoWorker, NoRights])
def test_who_waits_for_another_record_in_vain_hears_that_it_will_be_decided(
    topics: type[Topics], repeat_id: str | None, again: str
) -> None:
    posted = Posted(outcomes_of(topics, []), "w", "external-events", PARTITION, OWN, 0, repeat_id)
    with pytest.raises(NoOutcome) as told:
        posted.outcome(0)
    assert str(told.value).endswith(f". Kafka has the record, and it is decided as soon as a worker comes to it{again}")


def test_only_a_record_with_an_id_that_is_taken_once_may_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def post(command: Any) -> tuple[Any, ...]:
        sent.append(command)
        return None, command.wf_run_id, "a topic", PARTITION, OWN, 0

    with Client("127.0.0.1:1", partitions=1) as client:
        monkeypatch.setattr(client, "_post", post)
        assert client.post("w", "page-seen", event_id="e7").repeat_id == "e7"
        assert client.post("w", "page-seen").repeat_id == sent[-1].external_event_id
        assert client.send(RunWf("w", "cart")).repeat_id == "w"
        assert [it.repeat_id for it in (client.stop("w"), client.rescue("w"), client.delete("w"))] == [None] * 3
