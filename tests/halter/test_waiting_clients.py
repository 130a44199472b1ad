"""Who waits, and for what: callers of an AsyncClient that wait for the log, batches, and whoever follows it.

Kafka is not there: what would ask it is replaced.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Message

from halter import (
    AsyncClient,
    Client,
    InvalidArgument,
    KafkaUnavailable,
    NewEvent,
    NotEnded,
    OffsetGone,
    PartlyPosted,
    WfRun,
)
from halter.client.reading import FOLLOWS_MS, PartitionReader
from halter.client.sending import Sending
from processors.core.records.model import WfSpecId
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


def test_a_batch_says_what_was_posted_when_kafka_ceases_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with Client("localhost:1") as client:
        asked = iter([0, 0])

        def end(_: int) -> int:
            for it in asked:
                return it
            raise KafkaUnavailable("no answer")

        monkeypatch.setattr(without_kafka(monkeypatch, client)._log_ends, "of", end)
        with pytest.raises(
            PartlyPosted, match="2 of 4 records were not posted; the first is record 2: no answer"
        ) as it:
            client.post_many(NewEvent("cart-7", "page-seen", f"/{n}", f"e{n}") for n in range(4))
        assert [None if one is None else one.id for one in it.value.posted] == ["e0", "e1", None, None]
        with pytest.raises(KafkaUnavailable):
            client.post_many([NewEvent("cart-7", "page-seen")])


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
    assert [next(batches) for _ in range(4)] == [[ours], [], [], []]
    batches.close()


def test_who_is_overtaken_by_retention_hears_that_the_offset_is_gone() -> None:
    reader = reader_of(record(b"", KafkaError(KafkaError._AUTO_OFFSET_RESET)))
    with pytest.raises(OffsetGone, match="wf-events"):
        next(reader.follow_all("wf-events", {0: 0}))


def test_who_waits_for_the_end_of_a_wf_run_hears_that_it_was_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    with Client("localhost:1") as client:
        nothing, there, ended = WfRun("cart-7"), WfRun("cart-7", wf_spec=WfSpecId("cart", 0, 0)), WfRun("cart-7")
        monkeypatch.setattr(client.wf_runs, "states", lambda _: iter([there, nothing]))
        monkeypatch.setattr(client.wf_runs, "ended", lambda _: ended)
        assert client.get("cart-7", until="ended", timeout_s=SECONDS) is ended
        monkeypatch.setattr(client.wf_runs, "states", lambda _: iter([nothing]))
        with pytest.raises(NotEnded, match="nothing was started"):
            client.get("cart-7", until="ended", timeout_s=0)
