"""What docs/python-api.md promises of Client and AsyncClient, with a real Kafka and a real worker."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from halter import (
    AsyncClient,
    Client,
    ClientClosed,
    CommandRejected,
    Followed,
    InvalidArgument,
    KafkaUnavailable,
    Live,
    NewEvent,
    NotEnded,
    NotYet,
    OffsetGone,
    PartlyPosted,
    RecordTooLarge,
    Removal,
    Status,
    TopicMissing,
    Value,
    fork_point,
)
from halter.events import ExternalEventPosted, Resume, WfRunDeleted, WfRunEnded
from tests.support.halter_processes import ROOT, Halter, halter_with_the_cart

CART = ROOT / "examples" / "cart"
CUSTOMER: dict[str, Value] = {"customer": "Ann", "card": "card-12345678"}
TOO_LARGE = "x" * 300_000
NODES = {"a": {"kind": "ENTRYPOINT", "next": "b"}, "b": {"kind": "EXIT"}}
NAP = {"name": "nap", "entrypoint": "main", "threads": {"main": {"nodes": NODES}}}
BROKEN_NODES = NODES | {"a": {"kind": "ENTRYPOINT", "next": [{"to": "b", "when": {"literal": False}}]}}
BROKEN = {"name": "broken", "entrypoint": "main", "threads": {"main": {"nodes": BROKEN_NODES}}}


@pytest.fixture(scope="module")
def halter(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    with halter_with_the_cart(bootstrap, tmp_path_factory.mktemp("api")) as installation:
        with installation.client() as client:
            client.put_wf_spec(NAP)
            client.put_wf_spec(BROKEN)
        yield installation


@pytest.fixture
def client(halter: Halter) -> Iterator[Client]:
    with Client.from_env(env=halter.environment) as it:
        yield it


def new_cart(client: Client) -> str:
    return client.run("cart", CUSTOMER, wait=True).wf_run_id


def posted_in(found: list[Followed]) -> list[str]:
    return [it.event.external_event_id for it in found if isinstance(it.event, ExternalEventPosted)]


# Ids and waiting.


def test_a_call_that_waits_has_the_outcome_and_raises_a_refusal(client: Client) -> None:
    cart = new_cart(client)
    posted = client.post(cart, "page-seen", "/", event_id="e1", wait=20)
    assert [type(it.event).__name__ for it in posted.entries][:2] == ["ExternalEventPosted", "Halt"]
    with pytest.raises(CommandRejected) as refused:
        client.post(cart, "page-seen", "/", event_id="e1", wait=True)
    assert refused.value.code == "ALREADY_EXISTS"
    assert "'e1' was posted before" in str(refused.value)
    assert client.post(cart, "page-seen", "/").entries == []


def test_the_first_event_starts_a_wf_run_and_the_others_go_to_it(client: Client) -> None:
    first = client.run_and_post(
        "cart", "cart-of-a-source", "page-seen", "/", event_id="p1", variables=CUSTOMER, wait=True
    )
    told = [type(it.event).__name__ for it in first.entries]
    assert (told[0], first.id, first.topic) == ("WfRunStarted", "p1", "wf-commands")
    assert "ExternalEventPosted" in told[1:]
    second = client.run_and_post("cart", "cart-of-a-source", "page-seen", "/a", event_id="p2", wait=True)
    assert type(second.entries[0].event).__name__ == "ExternalEventPosted"
    with pytest.raises(CommandRejected, match="'p2' was posted before"):
        client.run_and_post("cart", "cart-of-a-source", "page-seen", "/a", event_id="p2", wait=True)
    with pytest.raises(CommandRejected, match="there is no WfSpec 'card'; did you mean 'cart'"):
        client.run_and_post("card", "another", "page-seen", "/", variables=CUSTOMER, wait=True)
    with pytest.raises(CommandRejected, match="there is no ExternalEventDef 'page-sen'; did you mean 'page-seen'"):
        client.run_and_post("cart", "another", "page-sen", "/", variables=CUSTOMER, wait=True)
    assert client.get("another") is None


@pytest.mark.parametrize("wait", ["5", -1, float("nan"), None])
def test_a_wait_that_is_no_time_sends_nothing(client: Client, wait: Any) -> None:
    with client.follow() as events:
        with pytest.raises(InvalidArgument, match="wait: expected True, False or seconds"):
            client.run("nap", wait=wait)
        marker = client.run("nap", wait=True)
        assert next(events).wf_run_id == marker.wf_run_id


def test_ids_are_as_given_or_new_and_stand_on_the_log(client: Client) -> None:
    cart = client.run("cart", CUSTOMER, wf_run_id="cart-of-ids", wait=True)
    assert (cart.id, cart.wf_run_id) == ("cart-of-ids", "cart-of-ids")
    assert client.post("cart-of-ids", "page-seen", "/", event_id="mine").id == "mine"
    stopped = client.stop("cart-of-ids", command_id="the boss", wait=True)
    assert (stopped.id, {it.cause.command_id for it in stopped.entries}) == ("the boss", {"the boss"})
    for new in (client.run("nap"), client.post("cart-of-ids", "page-seen", "/"), client.resume("cart-of-ids")):
        assert uuid.UUID(new.id).version == 7
    resumed = client.resume("cart-of-ids")
    with pytest.raises(CommandRejected):
        client.rescue("cart-of-ids", wait=True)
    client.delete("cart-of-ids", wait=True)
    assert client.get("cart-of-ids") is None
    assert resumed.id != new.id


def test_a_batch_is_posted_in_order_but_for_what_cannot_be(client: Client) -> None:
    carts = [new_cart(client) for _ in range(3)]
    events = [NewEvent(carts[n % 3], "page-seen", f"/{n}", f"e{n}") for n in range(300)]
    events[7] = events[7]._replace(content=TOO_LARGE)
    events[150] = events[150]._replace(wf_run_id="no id")
    with client.follow(since="now") as following:
        with pytest.raises(
            PartlyPosted, match=r"2 of 300 records were not posted; the first is record 7 \(event 'e7' of .*\): .*bytes"
        ) as it:
            client.post_many(iter(events))
        found: list[Followed] = []
        while len(posted_in(found)) < 298:
            found.append(next(following))
    failures, posted = it.value.failures, it.value.posted
    assert {index: type(error) for index, error in failures.items()} == {7: RecordTooLarge, 150: InvalidArgument}
    assert [index for index, one in enumerate(posted) if one is None] == [7, 150]
    for number, cart in enumerate(carts):
        wanted = [f"e{n}" for n in range(number, 300, 3) if n not in {7, 150}]
        assert posted_in([one for one in found if one.wf_run_id == cart]) == wanted
    last = posted[-1]
    assert last is not None
    assert (last.id, {entry.cause.offset for entry in last.outcome()}) == ("e299", {last.offset})
    assert client.post_many([]) == []


# Getting.


def test_get_waits_for_the_end_and_returns_the_state_that_it_had(client: Client) -> None:
    ended = client.get(client.run("nap").wf_run_id, until="ended")
    assert (ended.status, [*ended.threads]) == (Status.COMPLETED, [0])
    again, row = client.get(ended.wf_run_id), client.row(ended.wf_run_id)
    assert again is not None
    assert row is not None
    assert (again.status, [*again.threads], [*row.threads]) == (Status.COMPLETED, [0], [])
    assert again.ended_ms == row.ended_ms


def test_an_end_in_error_is_an_end_until_it_is_rescued(halter: Halter, client: Client) -> None:
    posted = client.run("broken", wf_run_id="broken-1")
    for ended in (posted.until_ended(20), client.get("broken-1", until="ended", timeout_s=20)):
        assert (ended.status, ended.has_ended, ended.failure and ended.failure.name) == ("ERROR", True, "VAR_SUB_ERROR")
    # The end is of before the post: nothing comes any more that could say so. A new client reads behind it.
    with halter.client() as new:
        assert new.post("broken-1", "page-seen", "/").until_ended(20).status is Status.ERROR
    rescued = client.rescue("broken-1", wait=20)
    assert isinstance(rescued.entries[-1].event, WfRunEnded)


def test_get_sees_the_state_after_each_event(client: Client) -> None:
    cart = new_cart(client)
    seen: list[int] = []
    poster = threading.Thread(target=lambda: client.post_many(NewEvent(cart, "page-seen", f"/{n}") for n in range(20)))

    def is_there(run: Any) -> bool:
        if not seen:
            poster.start()
        seen.append(run.seq)
        return run.threads[0].variables["last_page"] == "/19"

    run = client.get(cart, until=is_there, timeout_s=20)
    poster.join()
    assert seen == [*range(seen[0], run.seq + 1)]
    assert len(seen) > 60


def test_get_says_what_it_found_when_the_time_is_over(client: Client) -> None:
    cart, begun = new_cart(client), time.monotonic()
    with pytest.raises(NotEnded, match=rf"WfRun '{cart}' has not ended within 0.5 s: it is RUNNING"):
        client.get(cart, until="ended", timeout_s=0.5)
    with pytest.raises(NotYet, match=r"within 0.5 s: nothing was started under that id"):
        client.get("never", until=lambda run: run.exists, timeout_s=0.5)
    assert time.monotonic() - begun < 5
    with pytest.raises(InvalidArgument, match="until: expected 'ended' or a function of a WfRun, found 'end'"):
        client.get(cart, until="end")  # type: ignore[call-overload]


def test_get_finds_what_begins_while_it_waits(client: Client) -> None:
    later = threading.Timer(0.5, lambda: client.run("nap", wf_run_id="later"))
    later.start()
    assert client.get("later", until="ended", timeout_s=20).status is Status.COMPLETED
    later.join()


def test_until_ended_is_not_about_an_earlier_wf_run_of_the_id(client: Client) -> None:
    """The end of the log that a client remembers may be before that of the earlier one."""
    client.run("nap", wf_run_id="again", wait=True)
    client.delete("again", wait=True)
    posted = client.run("cart", CUSTOMER, wf_run_id="again")
    with pytest.raises(NotEnded):
        posted.until_ended(1)
    client.run("nap", wf_run_id="once", wait=True)
    refused = client.run("nap", wf_run_id="once")
    assert refused.until_ended(10).status is Status.COMPLETED


# Following.


def test_follow_has_all_that_comes_after_the_call_typed_and_in_order(client: Client) -> None:
    cart = new_cart(client)
    client.post(cart, "page-seen", "/before", wait=True)
    with client.follow(cart) as events:
        client.post(cart, "page-seen", "/after", event_id="after")
        client.run("nap")
        found = []
        for it in events:
            found.append(it)
            if isinstance(it.event, Resume) and it.event.thread == 0:
                break
    assert posted_in(found) == ["after"]
    assert {it.wf_run_id for it in found} == {cart}
    seqs = [it.entry.seq for it in found]
    assert seqs == [*range(seqs[0], seqs[0] + len(seqs))]


def test_follow_goes_on_at_its_positions_without_a_gap(client: Client) -> None:
    with client.follow() as events:
        runs = [client.run("nap").wf_run_id for _ in range(30)]
        seen = [next(events) for _ in range(25)]
        positions = events.positions
    assert sorted(positions) == [*range(client.topics.partitions)]
    with client.follow(since=positions, timeout_s=3) as events:
        rest = [*events]
    places = [(it.partition, it.offset) for it in seen + rest]
    assert len(places) == len(set(places))
    assert {it.wf_run_id for it in seen + rest if isinstance(it.event, WfRunEnded)} == set(runs)


@pytest.mark.parametrize("since", ["now", "beginning"])
def test_the_positions_of_a_quiet_wf_run_go_on_with_the_log(client: Client, since: Any) -> None:
    """Otherwise what they name would be deleted one day although its follower was never away."""
    quiet = new_cart(client)
    partition = client.wf_runs.partition(quiet)
    with client.follow(quiet, since=since, timeout_s=3) as events:
        before = events.positions[partition]
        busy = [f"cart-{n}" for n in range(200) if client.wf_runs.partition(f"cart-{n}") == partition]
        client.post_many([NewEvent(it, "page-seen", "/") for it in busy])
        client.post(busy[0], "page-seen", "/", wait=True)
        found = [*events]
        assert events.positions[partition] == client.reader.end(client.topics.wf_events, partition)
        assert events.positions[partition] >= before + len(busy)
    assert {it.wf_run_id for it in found} == ({quiet} if since == "beginning" else set())
    with client.follow(quiet, since=events.positions, timeout_s=10) as events:
        client.post(quiet, "page-seen", "/", event_id="later")
        assert posted_in([next(events)]) == ["later"]


def test_positions_never_pass_an_event_that_was_not_taken(client: Client) -> None:
    with client.follow() as events:
        posted = client.post_many([NewEvent(f"nobody-{n}", "page-seen", "/") for n in range(12)])
        seen: set[tuple[int, int]] = set()
        for _ in posted:
            it = next(events)
            seen.add((it.partition, it.offset))
            with client.follow(since=events.positions, timeout_s=0.5) as others:
                rest = {(it.partition, it.offset) for it in others if posted_in([it])}
            assert (len(rest), rest & seen) == (len(posted) - len(seen), set())


def test_follow_begins_at_a_time_at_an_offset_and_at_the_beginning(client: Client) -> None:
    cart = new_cart(client)
    client.post(cart, "page-seen", "/1", event_id="e1", wait=True)
    time.sleep(0.05)
    now = datetime.now(UTC)
    last = client.post(cart, "page-seen", "/2", event_id="e2", wait=True)
    for since, wanted in ((now, ["e2"]), ("beginning", ["e1", "e2"]), (last.log_end, ["e1", "e2"])):
        with client.follow(cart, since=since, timeout_s=1) as events:  # type: ignore[arg-type]
            found = posted_in([*events])
            assert found[-1:] == ["e2"], since
            if since != last.log_end:  # which may be older than the record
                assert found == wanted, since
    whole = [it.entry for it in client.follow(cart, since="beginning", timeout_s=1)]
    assert whole == client.history(cart).entries


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"since": "yesterday"}, InvalidArgument, "expected 'now', 'beginning', a time or offsets"),
        ({"since": datetime(2026, 1, 1)}, InvalidArgument, "expected a time that has a zone"),  # noqa: DTZ001
        ({"since": 5}, InvalidArgument, "expected an offset for each partition, found one for all WfRuns"),
        ({"since": {0: 5}}, InvalidArgument, r"expected an offset for each partition, found none for \[1, 2\]"),
        ({"since": 10_000_000, "wf_run_id": "w"}, OffsetGone, "was to be followed from 10000000: was the topic made"),
        ({"since": -1, "wf_run_id": "w"}, OffsetGone, "was to be followed from -1: what was there is deleted"),
        ({"wf_run_id": 5}, InvalidArgument, "expected the id of a WfRun, or None for all, found 5"),
        ({"timeout_s": "5"}, InvalidArgument, "timeout_s: expected seconds, or None for ever"),
        ({"timeout_s": -1}, InvalidArgument, "timeout_s: expected seconds, or None for ever, found -1"),
        ({"timeout_s": float("nan")}, InvalidArgument, "timeout_s: expected seconds, or None for ever, found nan"),
    ],
)
def test_follow_refuses_a_beginning_that_is_none(
    client: Client, given: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        client.follow(**given)


def test_a_client_that_is_closed_ends_what_follows_in_another_thread(halter: Halter) -> None:
    raised: list[BaseException] = []
    client = Client.from_env(env=halter.environment)
    events = client.follow()

    def follow() -> None:
        try:
            next(events)
        except BaseException as error:  # noqa: BLE001  looked at below
            raised.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    time.sleep(0.2)
    client.close()
    thread.join(10)
    assert [type(it) for it in raised] == [ClientClosed]


# asyncio.


def asynchronously(halter: Halter, does: Callable[[AsyncClient], Awaitable[None]], **options: Any) -> None:
    """Run a test with a client, within a minute."""

    async def run() -> None:
        async with asyncio.timeout(60), AsyncClient.from_env(env=halter.environment, **options) as client:
            await does(client)

    asyncio.run(run())


@asynccontextmanager
async def heartbeat() -> AsyncIterator[list[float]]:
    """Yield a list that gets, in seconds, how much later than it should a task of the loop is called."""
    late: list[float] = []

    async def beat() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.005)
            late.append(time.perf_counter() - begun - 0.005)

    task = asyncio.create_task(beat())
    try:
        yield late
    finally:
        task.cancel()


def test_the_loop_is_not_blocked_whatever_the_client_waits_for(halter: Halter) -> None:
    async def does(client: AsyncClient) -> None:
        async with heartbeat() as late:
            carts = [it.wf_run_id for it in await asyncio.gather(*(client.run("cart", CUSTOMER) for _ in range(20)))]
            async with client.follow() as events:
                await asyncio.gather(*(client.post(carts[n % 20], "page-seen", f"/{n}") for n in range(500)))
                posted = await client.post_many([NewEvent(carts[n % 20], "page-seen", f"/{n}") for n in range(2_000)])
                await asyncio.gather(*(client.stop(it, wait=True) for it in carts))
                # Stops come on another topic, so posts may be decided after them.
                await asyncio.gather(*(it.outcome() for it in posted[-20:]))
                assert (await anext(events)).wf_run_id in carts
            histories = await asyncio.gather(*(client.history(it) for it in carts))
            assert all(len(it.entries) > 100 for it in histories)
        assert len(late) > 100
        # A call that waited in the loop would take it for as long as a request to Kafka, again and again.
        assert sorted(late)[len(late) // 2] < 0.05
        assert max(late) < 1

    asynchronously(halter, does)


def test_what_the_async_client_sends_is_decided_in_order(halter: Halter) -> None:
    async def does(client: AsyncClient) -> None:
        cart = (await client.run("cart", CUSTOMER, wf_run_id=f"cart-{uuid.uuid4()}", wait=True)).wf_run_id
        posts = [asyncio.create_task(client.post(cart, "page-seen", "/", event_id=f"e{n}")) for n in range(200)]
        posted = await asyncio.gather(*posts)
        assert [it.id for it in posted] == [f"e{n}" for n in range(200)]
        assert [it.offset for it in posted] == sorted(it.offset for it in posted)
        await posted[-1].outcome()
        found = [it.event for it in (await client.history(cart)).entries if isinstance(it.event, ExternalEventPosted)]
        assert [it.external_event_id for it in found] == [f"e{n}" for n in range(200)]
        deleted = await client.delete(cart, wait=True)
        assert isinstance(deleted.entries[-1].event, WfRunDeleted)

    asynchronously(halter, does)


def test_errors_come_through_the_async_client_as_they_are(halter: Halter) -> None:
    async def does(client: AsyncClient) -> None:
        with pytest.raises(CommandRejected, match="NOT_FOUND"):
            await client.stop("nobody", wait=True)
        with pytest.raises(RecordTooLarge):
            await client.post("w", "page-seen", TOO_LARGE)
        with pytest.raises(PartlyPosted, match="1 of 2 records"):
            await client.post_many([NewEvent("w", "page-seen", TOO_LARGE), NewEvent("w", "page-seen", "/")])
        with pytest.raises(CommandRejected, match="there is no WfSpec 'card'"):
            await client.run_and_post("card", "nobody", "page-seen", wait=True)
        with pytest.raises(NotYet):
            await client.get("nobody", until=lambda run: run.exists, timeout_s=0.2)

    asynchronously(halter, does)


def test_a_cancelled_step_of_follow_loses_nothing(halter: Halter) -> None:
    async def does(client: AsyncClient) -> None:
        for since in ("now", "beginning"):
            async with client.follow(wf_run := f"cart-{uuid.uuid4()}", since=since) as events:  # type: ignore[arg-type]
                for _ in range(3):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(anext(events), 0.3)
                await client.run("cart", CUSTOMER, wf_run_id=wf_run, wait=True)
                await client.post(wf_run, "page-seen", "/", wait=True)
                seqs: list[int] = []
                while not seqs or seqs[-1] < 10:
                    try:
                        seqs.append((await asyncio.wait_for(anext(events), 0.001)).entry.seq)
                    except TimeoutError:
                        await asyncio.sleep(0.01)
            assert seqs == [*range(1, 11)]

    asynchronously(halter, does)


def test_follow_ends_when_nothing_comes_and_after_it_was_closed(halter: Halter) -> None:
    async def does(client: AsyncClient) -> None:
        assert [it async for it in client.follow("nobody", timeout_s=0.3)] == []
        events = client.follow("nobody")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.3)
        await events.aclose()
        assert [it async for it in events] == []

    asynchronously(halter, does)


def test_a_cancelled_wait_gives_its_thread_back(halter: Halter) -> None:
    async def does(client: AsyncClient) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get("nobody", until="ended", timeout_s=50), 0.3)
        begun = time.monotonic()
        assert await client.get("nobody") is None  # with the only thread there is
        assert time.monotonic() - begun < 5

    asynchronously(halter, does, threads=1)


def test_a_thousand_who_wait_take_no_thousand_threads(halter: Halter) -> None:
    async def does(client: AsyncClient) -> None:
        before = most = threading.active_count()  # of this process, which has run other tests

        async def count() -> None:
            nonlocal most
            while True:
                most = max(most, threading.active_count())
                await asyncio.sleep(0.01)

        counting = asyncio.create_task(count())
        carts = await asyncio.gather(*(client.run("cart", CUSTOMER, wait=True) for _ in range(1_000)))
        assert {it.entries[0].cause.offset == it.offset for it in carts} == {True}
        ends = [asyncio.create_task(it.until_ended(50)) for it in carts[:100]]
        ids = [f"nap-{uuid.uuid4()}" for _ in range(10)]
        ends += [asyncio.create_task(client.get(it, until="ended", timeout_s=50)) for it in ids]
        await asyncio.gather(*(client.delete(it.wf_run_id) for it in carts[:100]))
        await asyncio.gather(*(client.run("nap", wf_run_id=it) for it in ids))
        found = {it.wf_run_id for it in await asyncio.gather(*ends)}
        assert found == {*ids, *(it.wf_run_id for it in carts[:100])}
        counting.cancel()
        assert most - before < 30

    asynchronously(halter, does)


def test_whoever_waits_hears_of_his_own_record_whatever_order_they_come_in(halter: Halter) -> None:
    async def does(client: AsyncClient) -> None:
        cart = (await client.run("cart", CUSTOMER, wait=True)).wf_run_id

        async def post(n: int) -> None:
            posted = await client.post(cart, "page-seen", f"/{n}", event_id=f"e{n}", wait=bool(n % 2) and 20)
            if n % 3 == 0:
                await asyncio.sleep(0.3)  # what it waits for was read long ago
            entries = await posted.outcome(20)
            assert {it.cause.offset for it in entries} == {posted.offset}
            assert entries == await posted.outcome(0)

        await asyncio.gather(*(post(n) for n in range(60)))
        with pytest.raises(CommandRejected, match="ALREADY_EXISTS"):
            await client.post(cart, "page-seen", "/", event_id="e7", wait=True)
        stopped = await client.stop(cart, wait=True)
        assert (await client.resume(cart, wait=True)).entries[0].seq > stopped.entries[-1].seq

    asynchronously(halter, does)


def test_a_fork_and_a_reset_await_too(halter: Halter) -> None:
    async def does(client: AsyncClient) -> None:
        cart = (await client.run("cart", CUSTOMER, wait=True)).wf_run_id
        seen = await client.post(cart, "page-seen", "/mugs", wait=True)
        moment, now_ms = str(seen.entries[-1].seq), time.time_ns() // 1_000_000
        with halter.client() as reading:
            point = await asyncio.to_thread(fork_point, Live(reading), cart, moment, now_ms)
        posted = await client.fork(point.snapshot, f"{cart}-too")
        entries = await posted.outcome(20)
        assert [type(it.event).__name__ for it in entries[:2]] == ["WfRunStarted", "WfRunForked"]
        assert posted.is_cause_of(entries[0])
        again = await client.fork(point.snapshot, f"{cart}-too")
        assert await again.outcome(20) == entries
        assert not again.is_cause_of(entries[0])
        reset = await client.reset(point.snapshot)
        assert (reset.removal, await client.get(cart)) == (Removal.DELETED, None)
        assert (await client.get(reset.forked.wf_run_id)) is not None

    asynchronously(halter, does)


def test_a_batch_of_an_async_client_that_is_partly_posted_can_be_awaited(halter: Halter) -> None:
    async def does(client: AsyncClient) -> None:
        events = [NewEvent("nobody", "page-seen", "/", f"{uuid.uuid4()}") for _ in range(3)]
        events[1] = events[1]._replace(content=TOO_LARGE)
        first = rf"the first is record 1 \(event '{events[1].event_id}' of WfRun 'nobody'\): content: expected at most"
        with pytest.raises(PartlyPosted, match=rf"1 of 3 records were not posted; {first}") as it:
            await client.post_many(events)
        assert (await it.value.posted[0].outcome(20))[0].cause.offset == it.value.posted[0].offset
        assert it.value.posted[1] is None

    asynchronously(halter, does)


def test_a_closed_async_client_says_so(halter: Halter) -> None:
    async def does(client: AsyncClient) -> None:
        await client.run("nap", wait=True)
        await client.close()
        for call in (lambda: client.run("nap"), lambda: client.get("w"), client.definitions):
            with pytest.raises(ClientClosed):
                await call()  # type: ignore[operator]

    asynchronously(halter, does)


# Kafka that is not there, or not as it should be.


def test_kafka_that_is_not_there_is_told_within_three_seconds() -> None:
    async def ask() -> None:
        async with AsyncClient("127.0.0.1:1") as client:
            await client.post("w", "e")

    for call in (lambda: Client("127.0.0.1:1").post("w", "e"), lambda: asyncio.run(ask())):
        begun = time.monotonic()
        with pytest.raises(
            KafkaUnavailable,
            match=r"127\.0\.0\.1:1 \(from the program\) has not answered within 2.5 s: "
            r".*; start it \(`halter broker`\), or correct the address$",
        ):
            call()
        assert time.monotonic() - begun < 6


def test_topics_that_are_not_there_are_told(halter: Halter) -> None:
    with (
        Client(halter.settings.bootstrap, prefix="nobody-", partitions=3) as client,
        pytest.raises(
            TopicMissing, match=r"'nobody-.*' does not exist at .*\(--prefix, HALTER_PREFIX\).*`halter topics apply`"
        ),
    ):
        client.run("nap")


# The page and the examples.


def test_the_programs_of_the_page_run_as_they_stand(halter: Halter, bootstrap: str) -> None:
    page = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    there = f'"{bootstrap}", prefix="{halter.settings.prefix}", partitions={halter.settings.partitions}'
    said = ""
    for program in programs:
        assert '"localhost:9092"' in program
        ended = subprocess.run(
            [sys.executable, "-c", program.replace('"localhost:9092"', there)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=ROOT,
        )
        assert ended.returncode == 0, ended.stderr
        said += ended.stdout
    assert "ExternalEventPosted" in said
    assert "COMPLETED" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("client.py", ["is started", "first-mug is at external-events", "Resume", "asked twice: ALREADY_EXISTS",
                       "it looks at '/mugs/99'", "it is COMPLETED: 'receipt-"]),
        ("async_client.py", ["10 of 10 carts were interrupted, and went on"]),
    ],
)  # fmt: skip
def test_the_examples_run(halter: Halter, name: str, said: list[str]) -> None:
    with halter.process("tasks", "-m", "halter", "task-worker", f"{CART / 'tasks.py'}:worker"):
        ended = subprocess.run(
            [sys.executable, str(CART / name)],
            env={**os.environ, **halter.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            cwd=Path(os.sep),
        )
    assert ended.returncode == 0, ended.stderr
    for words in said:
        assert words in ended.stdout
