"""What bad input gets: within three seconds a sentence that says what was tried, what was found, and what to do.

Each row of the table is tried by `Client`, by `AsyncClient` and, where there is one, by a command.
"""

import asyncio
import logging
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from confluent_kafka import Message, Producer

from halter import (
    AsyncClient,
    Client,
    ClientClosed,
    CommandRejected,
    DeadLettered,
    HalterError,
    InvalidArgument,
    KafkaUnavailable,
    NoOutcome,
    PartitionsDiffer,
    RecordTooLarge,
    TopicMissing,
)
from halter.client import Posted
from tests.support.halter_processes import Halter, halter_with_the_cart
from tests.support.waiting import wait_until

SECONDS: Final = 3.0
SLACK: Final = 2.0
"""The machine that runs the tests has other things to do too. A command starts a process besides."""
NO_KAFKA: Final = "127.0.0.1:1"
WORKED, IDLE, NO_TOPICS, NOWHERE, OTHER_N = "a worker runs", "no worker runs", "no topics", "no Kafka", "another N"


@dataclass
class Row:
    """Something that is tried, and what it gets."""

    tried: str
    where: str
    call: tuple[Any, ...]
    """The name of a method of both clients, and its arguments."""
    error: type[HalterError]
    sentence: str
    command: tuple[str, ...] = ()
    """What is tried on the command line; empty if that cannot be typed."""
    code: int = 1
    keywords: dict[str, Any] = field(default_factory=dict)
    typed: str = ""
    """The sentence of the command, where it is another one."""


WAIT: Final = {"wait": True}
ROWS: Final = (
    Row("Kafka that is not there", NOWHERE, ("run", "cart"), KafkaUnavailable,
        r"127\.0\.0\.1:1 \(from .*\) has not answered within 2.5 s: .*", ("run", "cart")),
    Row("topics that are not there", NO_TOPICS, ("run", "cart"), TopicMissing,
        r"topic '.*' does not exist at .*`halter topics apply` creates the topics", ("run", "cart")),
    Row("another number of partitions", OTHER_N, ("stop", "w"), PartitionsDiffer,
        r"expected .*5 partitions.*found 3", ("stop", "w")),
    Row("no value", WORKED, ("post", "w", "page-seen", object()), InvalidArgument,
        "content: expected .*, found object"),
    Row("JSON that is cut", WORKED, ("post", "w", "page-seen", {"a": float("nan")}), InvalidArgument,
        r"content\['a'\]: expected a finite number, found NaN", ("send", "w", "item-added", '{"a":'), code=2,
        typed="CONTENT: expected JSON, found"),
    Row("no id", WORKED, ("stop", "no id"), InvalidArgument, "expected an id of 1 to 128 letters", ("stop", "no id")),
    Row("no number of a thread", WORKED, ("stop", "w", "0"), InvalidArgument, "thread: expected an int, found str",
        ("stop", "w", "--thread", "x"), code=2, typed="'x' is not a valid int"),
    Row("too much", WORKED, ("post", "w", "page-seen", "x" * 300_000), RecordTooLarge, "at most 262144 bytes"),
    Row("no WfSpec of that name", WORKED, ("run", "crat"), CommandRejected,
        "NOT_FOUND: .*: there is no WfSpec 'crat'; did you mean 'cart'?", ("run", "crat"), keywords=WAIT),
    Row("no version of that number", WORKED, ("run", "cart"), CommandRejected,
        r"NOT_FOUND: .*: there is no WfSpec 'cart' 7 \(registered: 0\.0\)", ("run", "cart", "--version", "7"),
        keywords={**WAIT, "major": 7}),
    Row("no version of that number to go on by", WORKED, ("migrate", "cart-1", 9), CommandRejected,
        r"NOT_FOUND: .*: there is no WfSpec 'cart' 9 \(registered: 0\.0\)", ("migrate", "cart-1", "--to", "9"),
        keywords=WAIT),
    Row("no version of that number to try", WORKED, ("try_migration", "cart-1", 0, 7), CommandRejected,
        r"NOT_FOUND: .*: there is no WfSpec 'cart' 0 7 \(registered: 0\.0\)",
        ("migrate", "cart-1", "--to", "0.7", "--dry-run")),
    Row("no Variable of that name", WORKED, ("run", "cart", {"custmer": "Ann"}), CommandRejected,
        "INVALID_ARGUMENT: .*has no Variable 'custmer'; it has .*; did you mean 'customer'?",
        ("run", "cart", "--var", "custmer=Ann"), code=2, keywords=WAIT,
        typed=r"--var custmer: expected a Variable .*, found none \(did you mean customer\?\)"),
    Row("no ExternalEventDef of that name", WORKED, ("post", "w", "page-sene"), CommandRejected,
        "INVALID_ARGUMENT: .*: there is no ExternalEventDef 'page-sene'; did you mean 'page-seen'?",
        ("send", "w", "page-sene"), keywords=WAIT),
    Row("content of another type", WORKED, ("post", "w", "page-seen", 5), CommandRejected,
        "INVALID_ARGUMENT: .*expected STR.*", keywords=WAIT),
    Row("no WfRun of that id", WORKED, ("stop", "nobody"), CommandRejected, "NOT_FOUND: .*: there is no such WfRun",
        ("stop", "nobody"), keywords=WAIT),
    Row("nobody to decide it", IDLE, ("stop", "w"), NoOutcome,
        r"no outcome yet of wf-commands\[\d\]@\d+ within 1 s: no worker is running: group '.*halter' has no member, "
        r"and partition \d of wf-commands is folded up to 0, the record is at \d+\. "
        r"`halter worker` starts one; one that was started just now joins soon\. Kafka "
        "has the record", ("stop", "w", "--timeout", "1"), keywords={"wait": 1}),
)  # fmt: skip


@pytest.fixture(scope="module")
def places(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Halter]]:
    def place(address: str, name: str, partitions: int = 3, *, makes_topics: bool = False) -> Halter:
        folder = tmp_path_factory.mktemp("bad")
        return Halter(address, name, folder, partitions, makes_topics=makes_topics)

    with halter_with_the_cart(bootstrap, tmp_path_factory.mktemp("worked")) as worked:
        with worked.client() as client:
            client.run("cart", {"customer": "Ann", "card": "card-1"}, wf_run_id="cart-1", wait=True)
        yield {
            WORKED: worked,
            IDLE: place(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", makes_topics=True),
            NO_TOPICS: place(bootstrap, f"test-{uuid.uuid4().hex[:12]}-"),
            NOWHERE: place(NO_KAFKA, ""),
            OTHER_N: place(bootstrap, worked.settings.prefix, 5),
        }


def the_rows(*, typed: bool = False) -> list[Any]:
    return [pytest.param(it, id=it.tried) for it in ROWS if it.command or not typed]


@pytest.mark.parametrize("row", the_rows())
def test_both_clients_say_it_within_three_seconds(places: dict[str, Halter], row: Row) -> None:
    name, *arguments = row.call

    async def asynchronously() -> None:
        async with AsyncClient.from_env(env=places[row.where].environment) as client:
            await getattr(client, name)(*arguments, **row.keywords)

    def synchronously() -> None:
        with Client.from_env(env=places[row.where].environment) as client:
            getattr(client, name)(*arguments, **row.keywords)

    for call in (synchronously, lambda: asyncio.run(asynchronously())):
        begun = time.monotonic()
        with pytest.raises(row.error, match=row.sentence):
            call()
        assert time.monotonic() - begun < SECONDS + SLACK


@pytest.mark.parametrize("row", the_rows(typed=True))
def test_a_command_says_it_in_one_sentence_and_with_an_exit_code(places: dict[str, Halter], row: Row) -> None:
    begun = time.monotonic()
    ended = places[row.where].command(*row.command)
    assert time.monotonic() - begun < SECONDS + 2 * SLACK
    assert (ended.returncode, ended.stdout) == (row.code, "")
    assert re.search(row.typed or row.sentence, ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr


def test_who_waits_long_for_no_worker_hears_it_once_and_waits_on(
    places: dict[str, Halter], caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[BaseException] = []
    client = Client.from_env(env=places[IDLE].environment)

    def wait() -> None:
        try:
            client.stop("w", wait=60)
        except BaseException as error:  # noqa: BLE001  looked at below
            raised.append(error)

    waiting = threading.Thread(target=wait)
    with caplog.at_level(logging.WARNING, "halter"):
        begun = time.monotonic()
        waiting.start()
        wait_until("a warning", lambda: caplog.messages, 10)
        assert time.monotonic() - begun < SECONDS + SLACK
        time.sleep(2.5)  # the time of the next look
    assert len(caplog.messages) == 1
    assert re.search("within 2 s: no worker is running: .*Waiting on, for 60 s in all", caplog.messages[0])
    assert waiting.is_alive()
    client.close()
    waiting.join(10)
    assert [type(it) for it in raised] in ([ClientClosed], [NoOutcome])


def test_a_thousand_who_wait_for_no_worker_hear_it_once(
    places: dict[str, Halter], caplog: pytest.LogCaptureFixture
) -> None:
    async def wait() -> list[Any]:
        async with AsyncClient.from_env(env=places[IDLE].environment) as client:
            calls = (client.stop(f"w-{n}", wait=4) for n in range(1_000))
            return await asyncio.gather(*calls, return_exceptions=True)

    with caplog.at_level(logging.WARNING, "halter"):
        ended = asyncio.run(wait())
    assert {type(it) for it in ended} == {NoOutcome}
    assert len(caplog.messages) == 1


def test_a_command_that_waits_says_on_stderr_that_no_worker_runs(places: dict[str, Halter]) -> None:
    idle = places[IDLE]
    command = [sys.executable, "-m", "halter", "stop", "w", "--timeout", "60"]
    process = subprocess.Popen(command, env=idle.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        begun, said = time.monotonic(), process.stderr.readline().decode()
        assert time.monotonic() - begun < SECONDS + 2 * SLACK
        assert re.search("no worker is running: .*Waiting on, for 60 s in all", said)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_an_older_worker_that_cannot_read_a_record_is_told_at_once(places: dict[str, Halter]) -> None:
    environment = places[WORKED].environment
    with Client.from_env(env=environment) as client:
        partition = client.post("w", "page-seen", "/", wait=True).partition
        log_end = client.reader.end(client.topics.wf_events, partition)
        delivered: list[Message] = []
        producer = Producer(client.settings.producer())
        value = b"\xc3\x01" + bytes(range(8)) + b"of a later release"
        producer.produce(
            client.topics.external_events, key=b"w", value=value, on_delivery=lambda _, it: delivered.append(it)
        )
        producer.flush(10)
        posted = Posted(client._outcomes, "w", "external-events", partition, delivered[0].offset() or 0, log_end)
        begun = time.monotonic()
        with pytest.raises(DeadLettered, match=r"UNKNOWN_SCHEMA: .*of an earlier release.*upgrade the workers first"):
            posted.outcome(60)
        assert time.monotonic() - begun < SECONDS + SLACK
