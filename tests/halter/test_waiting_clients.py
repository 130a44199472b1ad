"""Who waits, and for what: callers of an AsyncClient that wait for the log, batches, and whoever follows it.

Kafka is not there: what would ask it is replaced.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Message

from halter import (
    AsyncClient,
    Client,
    InvalidArgument,
    KafkaUnavailable,
    LaterRelease,
    NewEvent,
    NotEnded,
    OffsetGone,
    PartlyPosted,
    WfRun,
)
from halter.client.batch import AT_ONCE, IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX, LOOK_EVERY
from halter.client.reading import FOLLOWS_MS, PartitionReader
from halter.client.sending import Sending
from halter.client.wf_run_rows import WfRunRows
from processors.core.records.events import Cause, LogEntry, WfRunDeleted
from processors.core.records.model import WfSpecId
from processors.core.rules.indexing import index_of
from processors.kafka.settings import Settings

SECONDS = 20.0


class Report:
    """What librdkafka says of a record that Kafka has."""

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 5


def without_kafka(
    patched: pytest.MonkeyPatch, client: Client, offers: Callable[[Sending], None] = lambda _: None
) -> Client:
    """Have a client find Kafka as it expects it, and Kafka take each record at once."""

    def offer(sending: Sending, *_: Any) -> bool:
        offers(sending)
        sending.report(None, cast("Any", Report()))
        return True

    patched.setattr(client._log_ends, "of", lambda _: 0)
    patched.setattr(client._sender, "prepare", lambda _: None)
    patched.setattr(client._sender, "offer", offer)
    return client


def test_who_posts_does_not_wait_for_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def does() -> None:
        async with AsyncClient("localhost:1", threads=1) as client:
            inner, end = without_kafka(monkeypatch, client._client), threading.Event()
            monkeypatch.setattr(inner, "get", lambda _: end.wait(SECONDS))
            waiting = asyncio.create_task(client.get("cart-7"))
            await asyncio.sleep(0.01)
            try:
                await client.post("cart-7", "checkout")
                await client.post_many([NewEvent("cart-7", "checkout")])
                assert not waiting.done()
            finally:
                end.set()
            assert await waiting

    asyncio.run(asyncio.wait_for(does(), SECONDS / 2))


def test_a_batch_that_is_cancelled_is_posted_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    async def does() -> None:
        async with AsyncClient("localhost:1") as client:
            offered: list[Sending] = []
            begun, cancelled = asyncio.Event(), threading.Event()
            loop = asyncio.get_running_loop()

            def note(sending: Sending) -> None:
                offered.append(sending)
                loop.call_soon_threadsafe(begun.set)
                assert cancelled.wait(SECONDS)

            without_kafka(monkeypatch, client._client, note)
            posting = asyncio.create_task(client.post_many([NewEvent("cart-7", "page-seen")] * 100))
            await begun.wait()
            posting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await posting
            cancelled.set()
            client._batches.shutdown()  # waits for its thread
            assert len(offered) == 1

    asyncio.run(does())


@pytest.mark.parametrize("given", [list, iter])  # a list is given to librdkafka in pieces
def test_a_batch_says_what_was_posted_when_kafka_ceases_to_answer(
    monkeypatch: pytest.MonkeyPatch, given: Callable[[Iterable[NewEvent]], Iterable[NewEvent]]
) -> None:
    with Client("localhost:1") as client:
        asked = iter([0, 0])

        def end(_: int) -> int:
            for it in asked:
                return it
            raise KafkaUnavailable("no answer")

        monkeypatch.setattr(without_kafka(monkeypatch, client)._log_ends, "of", end)
        with pytest.raises(
            PartlyPosted, match=r"2 of 4 .* the first is record 2 \(event 'e2' of WfRun 'cart-7'\): no answer"
        ) as it:
            client.post_many(given(NewEvent("cart-7", "page-seen", f"/{n}", f"e{n}") for n in range(4)))
        assert [None if one is None else one.id for one in it.value.posted] == ["e0", "e1", None, None]
        with pytest.raises(KafkaUnavailable):
            client.post_many([NewEvent("cart-7", "page-seen")])


class Slow:
    """A producer that keeps all records until it is polled, and then takes some."""

    def __init__(self) -> None:
        self.kept: deque[Sending] = deque()

    def poll(self, _: float) -> int:
        for _ in range(min(20, len(self.kept))):
            self.kept.popleft().report(None, cast("Any", Report()))
        return 20


def test_a_slow_generator_is_asked_for_the_next_event_once_the_last_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[Sending] = []
    with Client("localhost:1") as client:
        without_kafka(monkeypatch, client, offered.append)

        def events() -> Iterator[NewEvent]:
            for n in range(300):
                assert len(offered) == n
                yield NewEvent("cart-7", "page-seen")

        client.post_many(events())
        client.post_many([NewEvent("cart-7", "page-seen", None, f"e{n}") for n in range(AT_ONCE + 1)])
    assert len(offered) == 300 + AT_ONCE + 1


@pytest.mark.parametrize(("length", "most"), [(1, IN_FLIGHT_MAX), (5_000, IN_FLIGHT_BYTES_MAX // 5_000)])
def test_of_a_batch_without_end_no_more_is_on_its_way_than_may_be(
    monkeypatch: pytest.MonkeyPatch, length: int, most: int
) -> None:
    with Client("localhost:1") as client:
        slow, seen = Slow(), 0
        without_kafka(monkeypatch, client)
        monkeypatch.setattr(client._sender, "offer", lambda sending, *_: slow.kept.append(sending) or True)
        monkeypatch.setattr(type(client._sender), "_producer", slow)

        def events() -> Iterator[NewEvent]:
            nonlocal seen
            for n in range(15_000):
                seen = max(seen, len(slow.kept))
                yield NewEvent("cart-7", "page-seen", "x" * length, f"e{n}")

        assert [it.id for it in client.post_many(events())] == [f"e{n}" for n in range(15_000)]
        assert most * 0.9 < seen <= most + LOOK_EVERY


def test_what_is_no_event_and_no_number_of_threads_is_refused() -> None:
    with Client("localhost:1") as client, pytest.raises(PartlyPosted, match="expected NewEvents, found tuple"):
        client.post_many(cast("Any", [("cart-7", "page-seen")]))
    with pytest.raises(InvalidArgument, match="threads: expected a whole number of at least 1, found 0"):
        AsyncClient("localhost:1", threads=0)


def record(key: bytes, error: KafkaError | None = None) -> Message:
    return Message(topic="wf-events", partition=0, offset=1, key=key, value=b"", error=error)


class Records:
    """A consumer that has these records, one at a time; None where it waits in vain."""

    def __init__(self, *records: Message | None) -> None:
        self._records: Iterator[Message | None] = iter(records)

    def poll(self, _: float) -> Message | None:
        return next(self._records)

    def consume(self, *_: Any) -> list[Message]:
        return []

    def assign(self, _: Any) -> None: ...

    def unassign(self) -> None: ...

    def close(self) -> None: ...


def reader_of(*records: Message | None) -> PartitionReader:
    reader = PartitionReader(settings := Settings.load(None, {}, {}), settings.topics())
    reader._as_expected.add("wf-events")
    reader._idle[FOLLOWS_MS, "read_committed"] = [cast("Any", Records(*records))]
    return reader


def test_nobody_hears_that_there_is_no_more_before_the_end_was_read() -> None:
    other, ours, end = record(b"other"), record(b"cart-7"), record(b"", KafkaError(KafkaError._PARTITION_EOF))
    reader = reader_of(other, None, other, ours, other, end, other, None)
    batches = reader.follow_all("wf-events", {0: 0}, b"cart-7")
    assert [next(batches)[0] for _ in range(4)] == [[ours], [], [], []]
    batches.close()


NEWER = b"\xc3\x01" + bytes(8) + b"new"
"""A record whose schema a later release has."""


def test_rows_and_definitions_of_a_later_release_are_told_with_their_places() -> None:
    with Client("localhost:1") as client:
        rows = WfRunRows(client.reader, client.topics, client.codec)
        definition = Message(topic="definitions", partition=0, offset=7, key=b"x", value=NEWER, error=None)
        for read, said in {
            lambda: rows._row("wf-runs", b"cart-7", NEWER): "wf-runs, key cart-7: this row was ",
            lambda: rows._position(NEWER, 3): "fold-positions, key 3: this FoldPosition was ",
            lambda: client._definitions._take(definition): r"definitions\[0\]@7: this Definition was ",
        }.items():
            with pytest.raises(LaterRelease, match=said + "written by a newer release .*: upgrade this program"):
                read()


def test_an_event_of_a_later_release_is_told_with_its_place() -> None:
    with Client("localhost:1") as client:
        newer = Message(topic="wf-events", partition=2, offset=7, key=b"w", value=NEWER, error=None)
        said = r"wf-events\[2\]@7: this event was .* newer release .*: upgrade this program \("
        with pytest.raises(LaterRelease, match=said):
            client._outcomes.entry(newer)


def test_who_is_overtaken_by_retention_hears_that_the_offset_is_gone() -> None:
    reader = reader_of(record(b"", KafkaError(KafkaError._AUTO_OFFSET_RESET)))
    with pytest.raises(OffsetGone, match="wf-events"):
        next(reader.follow_all("wf-events", {0: 0}))


def test_who_waits_for_the_end_of_a_wf_run_hears_that_it_was_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    with Client("localhost:1") as client:
        nothing, there, ended = WfRun("cart-7"), WfRun("cart-7", wf_spec=WfSpecId("cart", 0, 0)), WfRun("cart-7")
        there.index = index_of(there)
        monkeypatch.setattr(client.wf_runs, "at_end", lambda _: (there, 0))
        monkeypatch.setattr(client.wf_runs, "ended", lambda _: ended)
        wait = client._outcomes.state_wait("cart-7", "ended")
        cause = Cause("wf-commands", 0, 0, None, 0)
        deletion = LogEntry("cart-7", there.incarnation, there.seq + 1, 0, cause, WfRunDeleted("somebody asked"))
        assert (wait.result(), wait.take(None), wait.take(deletion), wait.result()) == (None, False, True, ended)
        monkeypatch.setattr(client.wf_runs, "at_end", lambda _: (nothing, 0))
        with pytest.raises(NotEnded, match="nothing was started"):
            client._outcomes.state_wait("cart-7", "ended").late(0)
