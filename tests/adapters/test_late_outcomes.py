"""Rules of who waits for an outcome that is decided in the last moment: topics in memory, and a worker that folds when
the waiting is over.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from halter.client import Client, CommandRejected, CommandSkipped, NoOutcome, NotSkipped, PostedSkip
from processors.core.commands import SkipRecord
from processors.core.events import (
    Cause,
    Event,
    LogEntry,
    RecordSkipped,
    Rejected,
    RejectionCode,
    SkipAccepted,
    SkipLapsed,
)
from processors.fold_position import FoldPosition
from processors.settings import Settings

PARTITION, OWN, MEANT = 0, 5, 7
COMMAND = SkipRecord("wf-commands", PARTITION, MEANT, 1_000, None, "c", "ann")
IT, ANOTHER = ("operator-commands", OWN), ("wf-commands", MEANT)
ACCEPTED = IT, SkipAccepted("wf-commands", PARTITION, MEANT, 1_000)
SKIPPED = ANOTHER, RecordSkipped("StopWfRun", None, "ann")
LAPSED = ("wf-commands", MEANT + 1), SkipLapsed("wf-commands", PARTITION, MEANT, 1_000, "another came")


class Topics:
    """Takes the place of a PartitionReader. The worker folds when whoever follows the log has come to its end."""

    def __init__(self, client: Client, entries: list[tuple[tuple[str, int], Event]]) -> None:
        self._client, self._coming = client, entries
        self._topics: dict[str, list[bytes]] = {}

    def fold(self) -> None:
        coming, self._coming = self._coming, []
        for (topic, offset), event in coming:
            entry = LogEntry("partition/0", 0, 0, 1_000, Cause(topic, PARTITION, offset, None, 0), event)
            self._topics.setdefault(self._client.topics.wf_events, []).append(self._client.codec.encode(entry))
        row = FoldPosition(PARTITION, {"operator-commands": OWN + 1, "wf-commands": MEANT})
        self._topics[self._client.topics.fold_positions] = [self._client.codec.encode(row)]

    def follow(self, topic: str, partition: int, start: int) -> Iterator[Any]:
        assert (partition, start) == (PARTITION, 0)
        yield from self.read(topic, partition, start)
        self.fold()
        yield None

    def read(self, topic: str, *_: int) -> Iterator[Any]:
        for value in list(self._topics.get(topic, ())):
            yield SimpleNamespace(value=lambda value=value: value, key=lambda: b"partition/0")

    def bounds(self, *_: object) -> tuple[int, int]:
        return 0, 0


def waited_for(entries: list[tuple[tuple[str, int], Event]]) -> list[Event]:
    """What somebody is told who waits for the outcome of a skip for no time."""
    client = Client(Settings.load(None, {}, {"bootstrap.servers": "127.0.0.1:1"}))
    client.reader = Topics(client, entries)  # type: ignore[assignment]
    posted = PostedSkip(COMMAND, client, "partition/0", "operator-commands", PARTITION, OWN, 0)
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
