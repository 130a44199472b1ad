"""`halter replay` with a real Kafka and what a real worker wrote: the same events, and nothing live is touched."""

import json
import re
import signal
import struct
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from halter.client import Client
from halter.client.reading import FROM_THE_START
from halter.files.definition_files import read_definition_file
from halter.history.rows_in_kafka import rows_in_kafka
from halter.history.state_of_log import StateOfLog
from halter.replay.destination import Destination
from halter.show.times import iso
from halter.topics.admin import make_so
from processors.core.records.commands import PutTaskDef, PutWfSpec
from processors.core.records.events import LogEntry
from processors.core.records.topic_names import (
    DEAD_LETTERS,
    QUEUE_PREFIX,
    TASK_CANCELLATIONS,
    TASK_REQUESTS,
    WF_EVENTS,
)
from processors.kafka.partitioner import partition_of
from processors.kafka.settings import Settings
from tests.support.halter_processes import Halter

CART = Path(__file__).parents[2] / "examples" / "cart"
MUG = {"sku": "mug", "name": "Mug", "quantity": 2, "price_cents": 1450}
WF_RUNS = [f"cart-{number}" for number in range(8)]
PARTITIONS = 2
TRANSACTIONS = "__transaction_state"


@dataclass
class Recorded:
    """An installation with a history in three parts. `start` and `end` are the times of the second."""

    halter: Halter
    start: int
    end: int

    @property
    def arguments(self) -> tuple[str, ...]:
        return "--from", iso(self.start), "--to", iso(self.end)


@pytest.fixture(scope="module")
def recorded(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("replay")
    halter = Halter(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", folder, partitions=PARTITIONS)
    with halter.worker(), halter.client() as client:
        for command in read_definition_file(CART / "cart.yaml").commands:
            client.put(command)
        for wf_run_id in WF_RUNS:
            client.run("cart", {"customer": "Ann", "card": "card-12345678"}, wf_run_id=wf_run_id).outcome()
        client.quarantine("cart-0", "to see", "ann").outcome()
        start = latest(halter) + 1
        for wf_run_id in WF_RUNS:
            client.post(wf_run_id, "item-added", MUG).outcome()
            client.post(wf_run_id, "slot-chosen", "monday").outcome()
        producer = Producer(halter.settings.producer())
        partition = partition_of(b"cart-1", PARTITIONS)
        producer.produce(halter.topics.external_events, b"rubbish", b"cart-1", partition=partition)
        producer.flush(10)
        for wf_run_id in WF_RUNS:
            client.post(wf_run_id, "checkout", None).outcome()
        client.release("cart-0", None, "ann").outcome()
        end = latest(halter)
        for wf_run_id in WF_RUNS:
            client.post(wf_run_id, "address-changed", "12 Harbour St").outcome()
    return Recorded(halter, start, end)


def latest(halter: Halter) -> int:
    """Return the time of the newest event. What is posted from now on is later."""
    times = [it.timestamp()[1] for number in range(PARTITIONS) for it in records(halter, WF_EVENTS, number)]
    newest = max(times)
    while time.time_ns() // 1_000_000 <= newest:  # for less than a millisecond
        pass
    return newest


def records(halter: Halter, topic: str, partition: int, prefix: str | None = None) -> list[Message]:
    with client_of(halter, prefix) as client:
        return list(client.reader.read(client.topics.prefix + topic, partition, FROM_THE_START))


def client_of(halter: Halter, prefix: str | None = None) -> Client:
    overrides: dict[str, str | None] = {"bootstrap.servers": halter.settings.bootstrap}
    named = halter.settings.prefix if prefix is None else prefix
    return Client.of(Settings.load(None, {}, overrides, prefix=named, partitions=halter.topics.partitions))


def as_written(message: Message) -> tuple[Any, ...]:
    return message.key(), message.value(), message.headers(), message.timestamp()


def replay(halter: Halter, prefix: str, *arguments: str) -> dict[str, Any]:
    done = halter.command("replay", "--into", prefix, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(halter: Halter, prefix: str, *arguments: str) -> str:
    done = halter.command("replay", "--into", prefix, *arguments)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("halter: ")
    return " ".join(done.stderr.split())


def a_prefix() -> str:
    return f"test-replay-{uuid.uuid4().hex[:8]}-"


# What it writes.


@pytest.fixture(scope="module")
def replayed(recorded: Recorded) -> Iterator[str]:
    """The prefix of a replay of the second part."""
    prefix = a_prefix()
    found = replay(recorded.halter, prefix, *recorded.arguments)
    assert (found["same"], found["left_out"], found["dead_letters"]) == (True, {}, 1)
    yield prefix
    replay(recorded.halter, prefix, "--remove")


def in_range(recorded: Recorded, partition: int) -> list[Message]:
    """Return the log from the first event that is not older than the range to the first one that is younger."""
    log = records(recorded.halter, WF_EVENTS, partition)
    times = [it.timestamp()[1] for it in log]
    begin = next(index for index, it in enumerate(times) if it >= recorded.start)
    return log[begin : next(index for index, it in enumerate(times) if it > recorded.end)]


def test_the_events_are_those_of_the_range_byte_for_byte(recorded: Recorded, replayed: str) -> None:
    for partition in range(PARTITIONS):
        expected = [as_written(it) for it in in_range(recorded, partition)]
        assert len(expected) > 10
        assert [as_written(it) for it in records(recorded.halter, WF_EVENTS, partition, replayed)] == expected


def test_task_requests_and_dead_letters_are_those_of_the_range(recorded: Recorded, replayed: str) -> None:
    letters = []
    for partition in range(PARTITIONS):
        codec = recorded.halter.settings.codec()
        live = [it for it in records(recorded.halter, TASK_REQUESTS, partition)
                if recorded.start <= codec.decode(it.value() or b"").requested_ms <= recorded.end]  # type: ignore[union-attr]  # fmt: skip
        found = records(recorded.halter, TASK_REQUESTS, partition, replayed)
        assert [(it.key(), it.value()) for it in found] == [(it.key(), it.value()) for it in live]
        letters += [(it.key(), it.value(), it.headers()) for it in records(recorded.halter, DEAD_LETTERS, partition)]
        letters += [
            (it.key(), it.value(), it.headers()) for it in records(recorded.halter, DEAD_LETTERS, partition, replayed)
        ]
    assert [it[1] for it in letters] == [b"rubbish", b"rubbish"]
    assert letters[0] == letters[1]


def test_the_rows_are_those_at_the_end_of_the_range(recorded: Recorded, replayed: str) -> None:
    halter = recorded.halter
    with client_of(halter, replayed) as client:
        for partition in range(PARTITIONS):
            state = StateOfLog(partition, client.codec)
            last = in_range(recorded, partition)[-1].offset() or 0
            for message in records(halter, WF_EVENTS, partition)[: last + 1]:
                entry = client.codec.decode(message.value() or b"")
                assert isinstance(entry, LogEntry)
                if (message.offset() or 0) <= last:
                    assert state.take(entry) is None
            expected = {(topic, row.key): row.value for topic, row in state.rows()}
            assert rows_in_kafka(client, partition).rows == expected


def test_the_commands_that_read_take_the_prefix(recorded: Recorded, replayed: str) -> None:
    halter = recorded.halter
    for wf_run_id in ("cart-0", "cart-2", "cart-3"):
        history = ("history", wf_run_id, "--json", "--unmask")
        whole = halter.command(*history).stdout.splitlines()
        lines = halter.command(*history, "--prefix", replayed).stdout.splitlines()
        assert lines
        begin = whole.index(lines[0])
        assert whole[begin : begin + len(lines)] == lines
    shown = halter.command("show", "cart-3", "--json", "--prefix", replayed)
    at_end = halter.command("state", "cart-3", "--at", iso(recorded.end), "--json")
    assert json.loads(shown.stdout)["threads"] == json.loads(at_end.stdout)["state"]["threads"]
    assert halter.command("why", "cart-3", "--prefix", replayed).returncode == 0
    assert halter.command("check-state", "--partition", "0", "--prefix", replayed).returncode == 0
    event = json.loads(halter.command("history", "cart-3", "--json", "--prefix", replayed).stdout.splitlines()[0])
    place = (str(event["cause"][name]) for name in ("topic", "partition", "offset"))
    caused = halter.command("cause", *place, "--prefix", replayed, "--json")
    assert caused.returncode == 0, caused.stderr


def test_verify_says_that_a_replay_has_no_inputs(recorded: Recorded, replayed: str) -> None:
    done = recorded.halter.command("verify", "--all", "--prefix", replayed)
    assert done.returncode == 1
    assert "if `halter replay` made this prefix, the inputs are those of its source" in " ".join(done.stderr.split())


def test_no_worker_goes_on_under_the_prefix(recorded: Recorded, replayed: str) -> None:
    done = recorded.halter.command_in_a_process("worker", "--prefix", replayed)
    assert done.returncode != 0
    assert f"topic '{replayed}wf-commands' does not exist" in done.stdout + done.stderr


def test_a_replay_that_is_complete_is_not_made_again(recorded: Recorded, replayed: str) -> None:
    before = ends(recorded.halter, replayed)
    again = recorded.halter.command("replay", "--into", replayed, *recorded.arguments)
    assert again.returncode == 0
    assert "nothing was written" in again.stderr
    assert ends(recorded.halter, replayed) == before


# What it leaves alone.


def ends(halter: Halter, prefix: str) -> dict[tuple[str, int], int]:
    """Return the end of each partition of each topic with a prefix."""
    consumer = Consumer(halter.settings.consumer(group_id="test-ends"))
    topics = consumer.list_topics(timeout=10).topics
    places = [
        (name, number) for name, topic in topics.items() if name.startswith(prefix) for number in topic.partitions
    ]
    found = {place: consumer.get_watermark_offsets(TopicPartition(*place), 10)[1] for place in places}
    consumer.close()
    return found


def transactional_ids(halter: Halter) -> Counter[str]:
    """Return how many records Kafka has about each transactional id."""
    consumer = Consumer(halter.settings.consumer(group_id="test-ids", enable_partition_eof=True))
    partitions = consumer.list_topics(TRANSACTIONS, 10).topics[TRANSACTIONS].partitions
    consumer.assign([TopicPartition(TRANSACTIONS, number, FROM_THE_START) for number in partitions])
    ids: Counter[str] = Counter()
    at_end = 0
    while at_end < len(partitions):
        for message in consumer.consume(1_000, 1):
            if message.error() is not None:
                at_end += 1
            elif (key := message.key()) is not None:
                (length,) = struct.unpack(">h", key[2:4])
                ids[key[4 : 4 + length].decode()] += 1
    consumer.close()
    return ids


def groups(halter: Halter) -> dict[str, Any]:
    """Return the offsets of each group."""
    admin = AdminClient(halter.settings.admin())
    found = {}
    for group in admin.list_consumer_groups().result().valid:
        asked = [ConsumerGroupTopicPartitions(group.group_id)]
        (answer,) = admin.list_consumer_group_offsets(asked).values()
        found[group.group_id] = sorted(
            (it.topic, it.partition, it.offset, it.metadata) for it in answer.result().topic_partitions
        )
    return found


def test_nothing_live_is_touched(recorded: Recorded) -> None:
    halter, prefix = recorded.halter, a_prefix()
    before = ends(halter, halter.settings.prefix), groups(halter), transactional_ids(halter)
    replay(halter, prefix, *recorded.arguments)
    after = ends(halter, halter.settings.prefix), groups(halter), transactional_ids(halter)
    assert after[:2] == before[:2]
    assert set(after[2] - before[2]) == {f"{prefix}halter-replay"}
    assert any(ends(halter, prefix).values())
    removed = replay(halter, prefix, "--remove")["removed"]
    assert f"{prefix}replay" in removed
    assert ends(halter, prefix) == {}
    with halter.worker(), halter.client() as client:
        assert client.post("cart-2", "page-seen", "mugs").outcome()


# Killed.


def test_a_replay_that_is_killed_goes_on_and_doubles_nothing(recorded: Recorded, replayed: str) -> None:
    halter, prefix = recorded.halter, a_prefix()
    for committed in (0, 2, 3, 4):
        command = ["-m", "tests.support.dying_replay", str(committed), "--into", prefix, *recorded.arguments]
        died = subprocess.run(
            [halter.python, *command], env=halter.environment, cwd=halter.root, check=False, capture_output=True
        )
        assert died.returncode == -signal.SIGKILL, died.stderr
    assert replay(halter, prefix, *recorded.arguments)["same"]
    for partition in range(PARTITIONS):
        for topic in (WF_EVENTS, DEAD_LETTERS, TASK_REQUESTS, TASK_CANCELLATIONS):
            whole, broken = (records(halter, topic, partition, it) for it in (replayed, prefix))
            assert [(it.key(), it.value()) for it in broken] == [(it.key(), it.value()) for it in whole]
        with client_of(halter, replayed) as one, client_of(halter, prefix) as other:
            assert rows_in_kafka(other, partition).rows == rows_in_kafka(one, partition).rows
    replay(halter, prefix, "--remove")


# Parts.


def test_from_one_input_to_another(recorded: Recorded) -> None:
    halter, prefix = recorded.halter, a_prefix()
    partition = partition_of(b"cart-3", PARTITIONS)
    codec = halter.settings.codec()
    causes = [codec.decode(it.value() or b"").cause for it in in_range(recorded, partition)]  # type: ignore[union-attr]
    its = [codec.decode(it.value() or b"").cause for it in in_range(recorded, partition) if it.key() == b"cart-3"]  # type: ignore[union-attr]
    first, last = its[3], its[-1]
    named = [f"{it.topic}[{it.partition}]@{it.offset}" for it in (first, last)]
    found = replay(halter, prefix, "--from", named[0], "--to", named[1])
    assert found["partitions"] == [partition]
    written = [codec.decode(it.value() or b"").cause for it in records(halter, WF_EVENTS, partition, prefix)]  # type: ignore[union-attr]
    assert written == causes[causes.index(first) : len(causes) - causes[::-1].index(last)]
    replay(halter, prefix, "--remove")


def test_only_one_wf_run(recorded: Recorded) -> None:
    halter, prefix = recorded.halter, a_prefix()
    replay(halter, prefix, *recorded.arguments, "--wf-run", "cart-5")
    partition = partition_of(b"cart-5", PARTITIONS)
    expected = [as_written(it) for it in in_range(recorded, partition) if it.key() == b"cart-5"]
    assert expected
    assert [as_written(it) for it in records(halter, WF_EVENTS, partition, prefix)] == expected
    replay(halter, prefix, "--remove")


# What is refused.


def test_what_cannot_be_replayed_gets_a_sentence(recorded: Recorded, replayed: str) -> None:
    halter, live = recorded.halter, recorded.halter.settings.prefix
    assert f"expected another prefix than that of the source, found '{live}'" in refused(halter, live)
    assert "found 'a b'" in refused(halter, "a b")
    assert "expected inputs that were decided in this range, found none; there are from" in refused(
        halter, a_prefix(), "--from", "2001-01-01", "--to", "2001-01-02"
    )
    assert "expected 0 to 1, found 7" in refused(halter, a_prefix(), "--partition", "7")
    assert "found none: it is a dead letter" in refused(halter, a_prefix(), "--from", "task-reports[0]@99999")
    assert "did you mean 'cart-" in refused(halter, a_prefix(), "--wf-run", "cart")
    assert "there is another replay, from" in refused(halter, replayed, "--from", iso(recorded.start))
    assert halter.command("replay", "--into", replayed, "--remove", "--partition", "0").returncode == 2


def test_topics_that_are_no_replay_are_left_alone(recorded: Recorded, tmp_path: Path) -> None:
    other = Halter(recorded.halter.settings.bootstrap, a_prefix(), tmp_path, partitions=PARTITIONS)
    prefix = other.settings.prefix
    for arguments in ((), ("--replace",), ("--remove",)):
        assert "nothing says that they are those of a replay" in refused(recorded.halter, prefix, *arguments)
    assert len({topic for topic, _ in ends(other, prefix)}) == len(other.topics.all)


def test_a_replay_that_was_killed_before_its_manifest_is_removed(recorded: Recorded) -> None:
    halter, prefix = recorded.halter, a_prefix()
    with halter.client() as client, closing(Destination(client, prefix)) as destination:
        first = replace(destination.topics, all=destination.topics.all[:1])
        make_so(first, AdminClient(halter.settings.admin()), 1)
    assert ends(halter, prefix) == {(f"{prefix}replay", 0): 0}
    assert replay(halter, prefix, "--remove") == {"removed": [f"{prefix}replay"]}
    assert ends(halter, prefix) == {}


def test_a_task_queue_whose_topic_is_gone_gets_one_and_is_removed_with_the_rest(
    recorded: Recorded, tmp_path: Path
) -> None:
    bootstrap, prefix = recorded.halter.settings.bootstrap, a_prefix()
    with_gpu = {"HALTER_TOPICS": str(topics_with_the_queue_gpu(tmp_path))}
    before = Halter(bootstrap, a_prefix(), tmp_path, partitions=1, variables=with_gpu)
    with before.worker(), before.client() as client:
        client.put(PutTaskDef("t", queue="gpu"))
        client.put(PutWfSpec("s", json.dumps(ONE_TASK)))
        client.run("s", wf_run_id="w").outcome()
    admin, queue = AdminClient(before.settings.admin()), before.topics.task_queue("gpu")
    admin.delete_topics([queue])[queue].result()
    now = Halter(bootstrap, before.settings.prefix, tmp_path, partitions=1, makes_topics=False)
    assert replay(now, prefix)["task_requests"] == 1
    assert ends(now, prefix)[f"{prefix}{QUEUE_PREFIX}gpu", 0] > 0
    assert f"{prefix}{QUEUE_PREFIX}gpu" in replay(now, prefix, "--remove")["removed"]
    assert ends(now, prefix) == {}


ONE_TASK = {
    "name": "s",
    "entrypoint": "main",
    "threads": {
        "main": {
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "work"},
                "work": {"kind": "TASK", "task": "t", "next": "end"},
                "end": {"kind": "EXIT"},
            }
        }
    },
}


def topics_with_the_queue_gpu(folder: Path) -> Path:
    """Return a topics.yaml in which the queue is declared that stands there as a comment."""
    text = (CART.parents[1] / "topics.yaml").read_text(encoding="utf-8")
    comment = re.compile(r"  # (task-requests-gpu:\n)((?:  #   .+\n)+)")
    declared, number = comment.subn(lambda it: f"  {it[1]}{it[2].replace('  #', '  ')}", text)
    assert number == 1
    file = folder / "topics.yaml"
    file.write_text(declared, encoding="utf-8")
    return file


def test_another_replay_is_replaced_on_request(recorded: Recorded) -> None:
    halter, prefix = recorded.halter, a_prefix()
    replay(halter, prefix, *recorded.arguments, "--partition", "0")
    found = replay(halter, prefix, *recorded.arguments, "--partition", "1", "--replace")
    assert found["partitions"] == [1]
    assert records(halter, WF_EVENTS, 0, prefix) == []
    assert records(halter, WF_EVENTS, 1, prefix)
    replay(halter, prefix, "--remove")


def test_what_retention_has_cut_is_refused_or_left_out(recorded: Recorded, tmp_path: Path) -> None:
    halter = Halter(recorded.halter.settings.bootstrap, a_prefix(), tmp_path, partitions=1)
    admin = AdminClient(halter.settings.admin())
    with halter.worker(), halter.client() as client:
        for command in read_definition_file(CART / "cart.yaml").commands:
            client.put(command)
        for wf_run_id in ("old", "new"):
            client.run("cart", {"customer": "Ann", "card": "card-12345678"}, wf_run_id=wf_run_id).outcome()
        client.post("old", "item-added", MUG).outcome()
        client.post("new", "item-added", MUG).outcome()
        client.post("new", "item-added", MUG).outcome()
        end = client.reader.end(halter.topics.external_events, 0)
    with halter.client() as client:
        first = next(it.offset() for it in client.reader.read(halter.topics.wf_events, 0, 0) if it.key() == b"new")
    prefix = a_prefix()
    for future in admin.delete_records([TopicPartition(halter.topics.wf_events, 0, first or 0)]).values():
        future.result()
    assert "what was before is gone. --what-is-left replays" in refused(halter, prefix)
    found = replay(halter, prefix, "--what-is-left")
    assert found["left_out"] == {"its first events are gone from the log": 1}
    assert {it.key() for it in records(halter, WF_EVENTS, 0, prefix)} == {b"new"}
    for future in admin.delete_records([TopicPartition(halter.topics.external_events, 0, end - 1)]).values():
        future.result()
    assert f"external-events[0] begins at offset {end - 1}" in refused(halter, a_prefix(), "--what-is-left")
    replay(halter, prefix, "--remove")
