"""What `halter view` does when it is told to end, when the log has holes, and when its database goes away."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from halter.view import following
from halter.view.following import REBUILDS_MAX, Following
from halter.view.kafka import KafkaReader, LogTruncated
from halter.view.keeping import Ends, Keeper, News, Source
from halter.view.place import ViewUnavailable, open_view
from processors.kafka.errors import KafkaUnavailable
from tests.support.views import CODEC, filled

CLIENT: Any = SimpleNamespace(
    codec=CODEC, topics=SimpleNamespace(partitions=1, wf_events="log", dead_letters="letters")
)


class Scripted:
    """A reader of a topic without Kafka: `steps` says what happens, one step for each time that it begins to follow."""

    def __init__(self, stopped: Event, steps: Iterator[str]) -> None:
        self.stopped, self.steps, self.built = stopped, steps, 0

    def __call__(self, _: Any, keeper: Keeper, stopped: Any) -> "Scripted":  # noqa: ARG002  as KafkaReader is made
        self.keeper = keeper
        return self

    def definitions(self) -> list[Any]:
        return []

    def expect_there(self) -> None:
        step = next(self.steps)
        if step == "truncated":
            raise LogTruncated("records are gone")
        if step == "no database":
            raise ViewUnavailable("the database does not answer")
        if step == "no Kafka":
            raise KafkaUnavailable("no broker can be reached")
        if step == "end":
            self.stopped.set()

    def build(self, _: int) -> Iterator[int]:
        self.built += 1
        if next(self.steps) == "end":
            self.stopped.set()
        yield 1

    def news(self) -> Iterator[News]:
        yield News(ends=self.keeper.ends)
        self.expect_there()
        yield News(ends=self.keeper.ends)

    def has_read_what_was_there(self, _: Any) -> bool:
        return True


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *steps: str) -> tuple[Scripted, Following]:
    filled(str(tmp_path / "view.db")).close()
    stopped = Event()
    reader = Scripted(stopped, iter(steps))
    monkeypatch.setattr(following, "KafkaReader", reader)
    monkeypatch.setattr(following, "source_of", lambda _: Source(partitions=1, cluster="in-memory"))
    monkeypatch.setattr(following, "PAUSE_SECONDS", 0.01)
    work = Following(CLIENT, open_view(str(tmp_path / "view.db"), writable=True), stopped=stopped)
    return reader, work


def test_a_signal_while_a_view_is_built_anew_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, work = run(tmp_path, monkeypatch, "truncated", "end")
    work.run()
    assert reader.built == 1
    assert work.figures.state == "stopped"


def test_a_rebuild_that_does_not_help_ends_and_one_that_helped_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, work = run(tmp_path, monkeypatch, *["truncated", "built"] * REBUILDS_MAX, "truncated")
    with pytest.raises(LogTruncated):
        work.run()
    helped = ["truncated", "built", "current"] * (REBUILDS_MAX + 2)
    _, work = run(tmp_path / "..", monkeypatch, "current", *helped, "end")
    work.run()
    assert work.figures.rebuilds == REBUILDS_MAX + 2


@pytest.mark.parametrize(("step", "error"), [("no database", ViewUnavailable), ("no Kafka", KafkaUnavailable)])
def test_what_goes_away_is_waited_for_once_it_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: type[Exception]
) -> None:
    _, work = run(tmp_path, monkeypatch, "current", step, step, "current", "end")
    work.run()
    assert work.figures.transactions > 1
    (tmp_path / "fresh").mkdir()
    _, work = run(tmp_path / "fresh", monkeypatch, step)
    with pytest.raises(error):
        work.run()


class Leaders:
    """A consumer that knows how far partitions go; the leaders of some do not answer."""

    def __init__(self, *away: int) -> None:
        self.away = away

    def get_watermark_offsets(self, place: TopicPartition, *_: Any, cached: bool) -> tuple[int, int]:
        if cached:
            return 0, -1001
        if place.partition in self.away:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return 0, 7


def reader_of(ends: dict[int, Ends]) -> KafkaReader:
    reader = KafkaReader(CLIENT, SimpleNamespace(ends=ends))  # type: ignore[arg-type]
    reader._highs = {(topic, partition): 5 for topic in ("log", "letters") for partition in ends}
    reader._at_start = dict(reader._highs)
    return reader


def test_a_partition_whose_leader_is_away_does_not_look_current() -> None:
    ends = {0: Ends(5, 5), 1: Ends(5, 5)}
    reader = reader_of(ends)
    reader._ask(Leaders(1), ends)  # type: ignore[arg-type]
    assert ends[0].seen_ms > 0
    assert ends[1].seen_ms == 0
    assert reader._lag(Leaders(1), 0, ends[0]) == 4  # type: ignore[arg-type]


def test_once_ends_where_the_topics_ended_at_the_start() -> None:
    reader = reader_of({0: Ends(), 1: Ends()})
    assert not reader.has_read_what_was_there({0: Ends(9, 9), 1: Ends(9, 4)})
    assert reader.has_read_what_was_there({0: Ends(9, 5, lag=100), 1: Ends(5, 5)})
