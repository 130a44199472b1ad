"""The loop that bindings and sinks run on, on a real Kafka. `tests.chaos.bindings` attacks it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but the hints lack it

from halter.topics import admin as topic_admin
from halter.transform import member as member_module
from halter.transform.errors import PositionGone, SlotTaken, SourceRefused
from halter.transform.loop import WRITTEN_SECONDS, Loop
from halter.transform.member import Member
from halter.transform.starts import BEGINNING_MS, Starts
from processors.kafka.headers import headers_of
from processors.kafka.settings import Settings
from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.clients import Slot
from processors.runtime.group.readiness import Readiness
from tests.chaos.kafka import Brokers
from tests.support.copying_loop import Copying
from tests.support.lost_joins import LostJoin
from tests.support.waiting import wait_until

pytestmark = pytest.mark.broker

LOG = structlog.get_logger("test")


class Place:
    """A source and a destination, and loops between them."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        overrides: dict[str, str | None] = {"bootstrap.servers": bootstrap, "session.timeout.ms": "6000"}
        self.settings = Settings.load(None, {}, overrides, prefix=prefix, partitions=2, logs=False)
        self.topics = self.settings.topics()
        self.source, self.destination = f"{prefix}source", f"{prefix}copies"
        self.admin = AdminClient(self.settings.admin())
        topic_admin.make_so(self.topics, self.admin, replication="auto")
        small = {"max.message.bytes": "20000"}
        for made in self.admin.create_topics(
            [NewTopic(self.source, 2, 1), NewTopic(self.destination, 1, 1, config=small)]
        ).values():
            made.result(30)
        for topic in (self.source, self.destination):  # a broker hears of a topic a moment after it was made
            wait_until(topic, lambda topic=topic: topic in self.admin.list_topics().topics)  # type: ignore[misc]
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})

    def loop(self, slot: Slot = Slot("one"), **more: Any) -> Loop:  # noqa: B008  frozen
        mapping = Copying(self.topics, more.pop("source", self.source), more.pop("destination", self.destination))
        return Loop(
            self.settings,
            self.topics,
            more.pop("mapping", mapping),
            name="copying",
            group=f"{self.topics.prefix}copying",
            slot=slot,
            stopped=more.pop("stopped", threading.Event()),
            log=structlog.get_logger("test"),
            **more,
        )

    @contextmanager
    def running(self, **more: Any) -> Iterator[Loop]:
        """Run a loop in a thread."""
        stopped = threading.Event()
        loop = self.loop(stopped=stopped, **more)
        thread = threading.Thread(target=loop.run, daemon=True)
        thread.start()
        try:
            yield loop
        finally:
            stopped.set()
            thread.join(20)
            assert not thread.is_alive()

    def write(self, *values: bytes, partition: int = 0) -> None:
        for value in values:
            self.producer.produce(self.source, value, b"k", partition)
        self.producer.flush(10)

    def read(self, topic: str, count: int, partition: int = 0) -> list[Message]:
        """Return the first records of a partition."""
        consumer = Consumer(self.settings.consumer(group_id="reader", auto_offset_reset="earliest"))
        consumer.assign([TopicPartition(topic, partition, 0)])
        found: list[Message] = []

        def has_come() -> bool:
            found.extend(it for it in consumer.consume(100, 0.2) if it.error() is None)
            return len(found) >= count

        wait_until(f"{count} records of {topic}", has_come, 30)
        consumer.close()
        return found


@pytest.fixture
def place(bootstrap: str, prefix: str) -> Place:
    return Place(bootstrap, prefix)


def test_records_that_kafka_refuses_become_dead_letters_and_others_do_not(place: Place) -> None:
    place.write(b"first", b"large 30000", b"second", b"large 40000", b"third")
    with place.running() as loop:
        copies = place.read(place.destination, 6)
        wait_until("records", lambda: loop.figures.records == 5)
    assert [(it.value() or b"")[:1] for it in copies] == [b"0", b"1"] * 3
    assert loop.figures.dead_letters == 2
    found = [
        dict(headers_of(it) or ()) for it in place.read(place.topics.dead_letters, 2, 0 if partition_of_k() else 1)
    ]
    # The mapping makes them, not the loop: it knows what of a record may be copied.
    assert [(it["halter.offset"], it["halter.reason"], it["halter.mapping"]) for it in found] == [
        (b"1", b"NOT_WRITTEN", b"copies"),
        (b"3", b"NOT_WRITTEN", b"copies"),
    ]


def partition_of_k() -> bool:
    from processors.kafka.partitioner import partition_of

    return partition_of(b"k", 2) == 0


def test_a_group_that_begins_now_misses_nothing_of_partitions_that_were_idle_until_a_restart(place: Place) -> None:
    place.write(b"old")
    place.write(b"old", partition=1)
    now_ms = time.time_ns() // 1_000_000 + 1
    time.sleep(0.002)
    with place.running(since_ms=now_ms) as loop:
        wait_until("partitions", lambda: loop.figures.lag.keys() == {f"{place.source}[0]", f"{place.source}[1]"})
        place.write(b"new")
        wait_until("the new one", lambda: loop.figures.records == 1)
    place.write(b"meanwhile", partition=1)
    # As if the process had been told to begin now again, which is later.
    with place.running(since_ms=time.time_ns() // 1_000_000 + 1) as loop:
        wait_until("what came meanwhile", lambda: loop.figures.records == 1)
    assert [(it.value() or b"")[-9:] for it in place.read(place.destination, 4)][2:] == [b"meanwhile"] * 2


def test_whoever_watches_sees_that_it_is_at_work_in_few_lines(place: Place) -> None:
    later, refreshed = 0.0, list[float]()
    place.write(b"first", b"second", b"third")
    with (
        structlog.testing.capture_logs() as lines,
        place.running(
            monotonic=lambda: time.monotonic() + later, refresh=lambda: bool(refreshed.append(later))
        ) as loop,
    ):
        written = lambda: [it for it in lines if it["event"] == "written"]  # noqa: E731
        wait_until("the first line", written)
        place.write(b"fourth")
        wait_until("the fourth record", lambda: loop.figures.records == 4)
        seen = len(refreshed)
        wait_until("a moment at which it could have said so", lambda: len(refreshed) > seen + 1)
        assert len(written()) == 1, "the next line has time"
        later = WRITTEN_SECONDS
        wait_until("the second line", lambda: len(written()) == 2)
        seen = len(refreshed)
        later = 2 * WRITTEN_SECONDS
        wait_until("a moment at which it could have said so again", lambda: len(refreshed) > seen + 1)
    (_, last) = written()
    assert [last[name] for name in ("records", "outputs", "dead_letters", "behind")] == [4, 8, 0, 0]


def test_a_topic_that_does_not_exist_is_told_with_one_that_was_meant(place: Place) -> None:
    near = place.source[:-1]
    with pytest.raises(SourceRefused, match=f"topic '{near}' does not exist .* did you mean '{place.source}'"):
        place.loop(source=near).run()
    with pytest.raises(SourceRefused, match="nowhere"):
        place.loop(destination="nowhere").run()


def test_offsets_that_are_gone_end_the_loop_with_the_way_out(place: Place) -> None:
    place.write(b"one", b"two")
    with place.running() as loop:
        wait_until("records", lambda: loop.figures.records == 2)
    place.write(b"three", b"four")
    place.admin.delete_records([TopicPartition(place.source, 0, 3)])[TopicPartition(place.source, 0, 3)].result(10)
    with pytest.raises(PositionGone, match=r"--reset-offsets\s+--to-earliest"):
        place.loop().run()


def test_of_two_processes_with_one_slot_the_first_ends_with_the_reason(place: Place) -> None:
    failure: list[BaseException] = []

    def run() -> None:
        try:
            first.run()
        except SlotTaken as taken:
            failure.append(taken)

    first = place.loop(Slot("mine", static=True))
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_until("partitions", lambda: first.figures.joined)
    with place.running(slot=Slot("mine", static=True)) as second:
        thread.join(30)
        assert failure
        place.write(b"more")
        wait_until("the second works", lambda: second.figures.records == 1)


def test_a_dead_letter_is_by_the_newest_definitions(place: Place) -> None:
    mapping = Copying(place.topics, place.source, place.destination)

    def refresh() -> bool:
        """Bring definitions by which the record is good, once it was found to be bad."""
        if b"bad" not in mapping.seen:
            return False
        mapping.bad = b"worse"
        return True

    place.write(b"bad", b"good")
    with place.running(mapping=mapping, refresh=refresh) as loop:
        wait_until("records", lambda: loop.figures.records == 2)
    assert loop.figures.dead_letters == 0


def test_a_partition_that_was_paused_when_it_went_to_another_is_read_when_it_comes_back(place: Place) -> None:
    """As when a broker that restarts makes a process wait with a full batch until its session is over."""

    def member(name: str) -> Member:
        starts = Starts(BEGINNING_MS, KafkaCalls(Readiness()).once, LOG)
        it = Member(place.settings, f"{place.topics.prefix}pausing", Slot(name), [place.source], starts, list, LOG)
        it.join()
        return it

    def has(it: Member, count: int, *others: Member) -> bool:
        for one in (it, *others):
            one.poll(0.05)
            if one.waiting:
                one.begin()
        return len(it.places) == count

    first = member("first")
    wait_until("both partitions", lambda: has(first, 2))
    first.pause()
    second = member("second")
    wait_until("a partition each", lambda: has(first, 1, second) and len(second.places) == 1)
    second.leave()
    wait_until("both partitions again", lambda: has(first, 2))
    place.write(b"one")
    place.write(b"two", partition=1)
    first.resume()
    found: set[bytes | None] = set()

    def all_come() -> bool:
        message = first.poll(0.2)
        if message is not None and message.error() is None:
            found.add(message.value())
        return found == {b"one", b"two"}

    wait_until("records of both", all_come, 20)
    first.leave()


@pytest.mark.timeout(300)
def test_a_request_to_join_that_is_lost_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_module, "REBALANCE_SECONDS", 8)
    lost_join = LostJoin()
    with Brokers(tmp_path / "kafka", 1) as brokers:
        place = Place(brokers.proxied_bootstrap, "test-lost-")
        brokers.proxies.loses = lost_join
        with place.running() as loop:
            wait_until("partitions", lambda: loop.figures.joined)
    assert lost_join.happened
