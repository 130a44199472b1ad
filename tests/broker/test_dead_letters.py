"""Dead letters on a real Kafka: each is retried once, whoever tries and however often, and its event keeps its id."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halter import Client, CommandRejected
from halter.client import DeadLettered
from halter.client.dead_letters import (
    RETRY_OF,
    CannotRetry,
    DeadLetterRead,
    NoDeadLetter,
    RetriedBefore,
    _holding,
    command_of,
    corrected,
    read_dead_letter,
    retried_as,
    retry,
)
from halter.client.reading import FROM_THE_START
from processors.core.records.commands import ExternalEvent
from processors.kafka.headers import headers_of
from tests.support.buried import buried, letters
from tests.support.halter_processes import Halter, halter_with_the_cart
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def halter(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    with halter_with_the_cart(bootstrap, tmp_path_factory.mktemp("dead-letters")) as installation:
        yield installation


@pytest.fixture(scope="module")
def client(halter: Halter) -> Iterator[Client]:
    with halter.client() as it:
        yield it


@pytest.fixture(scope="module")
def cart(client: Client) -> str:
    posted = client.run("cart", {"customer": "Ann", "card": "card-1"}, wf_run_id="cart-1")
    posted.outcome()
    return posted.wf_run_id


NUMBERS = iter(range(1_000))


def misspelt(client: Client) -> DeadLetterRead:
    """A dead letter of an ExternalEvent that was posted under another key than its WfRun id."""
    event = ExternalEvent("cart-1", "page-seen", f"seen-{next(NUMBERS)}", "/secret-path")
    return buried(client, client.codec.encode(event), b"cart-one")


def is_sent_once(client: Client, letter: DeadLetterRead) -> bool:
    """Wait until there is a committed record that is a retry of a dead letter, and say whether it is the only one.

    That of a transaction becomes visible a little later than its commit returns.
    """
    wait_until("the retry can be read", lambda: sent_again(client, letter), 20)
    return sent_again(client, letter) == 1


def sent_again(client: Client, letter: DeadLetterRead) -> int:
    """How many committed records there are that are retries of a dead letter."""
    wanted = (RETRY_OF, letter.name.encode())
    topic = client.topics.external_events
    return sum(
        wanted in (headers_of(message) or ())
        for partition in range(client.topics.partitions)
        for message in client.reader.read(topic, partition, FROM_THE_START)
    )


def test_a_corrected_record_has_its_effect_and_keeps_its_id(client: Client, cart: str) -> None:
    letter = misspelt(client)
    assert (letter.reason, letter.key, letter.headers) == ("KEY_MISMATCH", b"cart-one", (("source", b"shop"),))
    command = command_of(client, letter)
    assert isinstance(command, ExternalEvent)
    retried = retry(client, letter, corrected(command, {"thread": 0}), operator="anna", reason="see #77")
    posted = client._posted(command, retried.partition, retried.offset, 0)
    assert type(posted.outcome()[0].event).__name__ == "ExternalEventPosted"
    run = client.get(cart)
    assert run is not None
    assert ("page-seen", command.external_event_id) in run.external_events
    found = retried_as(client, letter)
    assert found == retried
    assert (found.operator, found.reason) == ("anna", "see #77")
    with pytest.raises(CommandRejected, match="ALREADY_EXISTS"):
        client.post(cart, "page-seen", "/", event_id=command.external_event_id).outcome()


def test_a_second_retry_is_refused_by_the_record_of_the_first(halter: Halter, client: Client, cart: str) -> None:
    letter = misspelt(client)
    retry(client, letter, operator="anna")
    with (
        halter.client() as other,
        pytest.raises(RetriedBefore, match=r"retried before: .*external-events.* by anna"),
    ):
        retry(other, letter)
    assert is_sent_once(client, letter)


def test_as_it_was_it_becomes_a_dead_letter_of_its_own_that_can_be_retried(client: Client, cart: str) -> None:
    letter = misspelt(client)
    retried = retry(client, letter)
    command = command_of(client, letter)
    assert isinstance(command, ExternalEvent)
    with pytest.raises(DeadLettered, match="KEY_MISMATCH"):
        client._posted(command, retried.partition, retried.offset, 0).outcome()
    again = next(it for it in letters(client) if it.source_offset == retried.offset and it.name != letter.name)
    assert (RETRY_OF, letter.name.encode()) in again.headers
    retry(client, again, command)
    assert is_sent_once(client, again)


def test_of_two_that_retry_at_once_exactly_one_does(halter: Halter, client: Client, cart: str) -> None:
    for letter in [misspelt(client) for _ in range(3)]:
        start = threading.Barrier(3)

        def tries(letter: DeadLetterRead = letter, start: threading.Barrier = start) -> str:
            with halter.client() as own:
                start.wait()
                try:
                    return retry(own, letter).place
                except RetriedBefore as before:
                    return type(before).__name__

        with ThreadPoolExecutor(3) as threads:
            came = [it.result() for it in [threads.submit(tries) for _ in range(3)]]
        assert came.count("RetriedBefore") == 2, came
        assert is_sent_once(client, letter)


def test_a_retry_that_died_before_its_commit_did_nothing(halter: Halter, client: Client, cart: str) -> None:
    letter = misspelt(client)
    with halter.client() as dying, _holding(dying, letter) as producer:
        producer.begin_transaction()
        headers: Any = [(RETRY_OF, letter.name.encode())]
        producer.produce(client.topics.external_events, letter.value, letter.key, 0, headers=headers)
        producer.flush(10)
    assert retried_as(client, letter) is None
    retry(client, letter)
    assert is_sent_once(client, letter)


def test_what_cannot_be_retried_is_said(client: Client, cart: str) -> None:
    letter = misspelt(client)
    command = command_of(client, letter)
    assert command is not None
    with pytest.raises(CannotRetry, match="ExternalEvent has no field 'wf_run': it has wf_run_id"):
        corrected(command, {"wf_run": "x"})
    with pytest.raises(CannotRetry, match="external_event_id stays 'seen-"):
        corrected(command, {"external_event_id": "other"})
    another = replace(command, external_event_id="other")
    for sent in ((another, None), (None, client.codec.encode(another))):
        with pytest.raises(CannotRetry, match="external_event_id stays 'seen-"):
            retry(client, letter, *sent)
    with pytest.raises(CannotRetry, match=r"corrected: .*wf_run_id.* expected"):
        retry(client, letter, corrected(command, {"wf_run_id": 7}))
    with pytest.raises(NoDeadLetter, match="there is no dead letter 0@999999"):
        read_dead_letter(client, 0, 999_999)
    with pytest.raises(NoDeadLetter, match="expected a partition from 0 to 2, found 9"):
        read_dead_letter(client, 9, 0)
    assert sent_again(client, letter) == 0


def test_the_commands_show_and_retry(halter: Halter, client: Client, cart: str, tmp_path: Path) -> None:
    whole = misspelt(client)
    assert "secret-path" not in halter.command("dead-letters", "show", whole.name).stdout
    assert "secret-path" in halter.command("dead-letters", "show", whole.name, "--unmask").stdout
    junk = buried(client, b"junk", b"cart-1")
    shown = halter.command("dead-letters", "show", junk.name)
    assert junk.reason in shown.stdout, shown.stderr
    value = tmp_path / "value.json"
    value.write_text('{"ExternalEvent": {"wf_run_id": "cart-1", "external_event_def": "page-seen", '
                     '"external_event_id": "mended", "content": "/"}}')  # fmt: skip
    out = halter.command("dead-letters", "retry", junk.name, "--value", str(value), "--reason", "mended by hand")
    assert "ExternalEventPosted" in out.stdout, out.stderr
    assert "retried" in halter.command("dead-letters", "show", junk.name).stdout
    again = halter.command("dead-letters", "retry", junk.name, "--set", "thread=0")
    assert (again.returncode, again.stdout) == (2, "")
    assert "--set: the bytes of" in again.stderr
