"""A bug in a rule, on a real Kafka: its partition waits, others go on, nobody dies, and an operator gets it going."""

import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from halter.client import CannotSkip, Client, CommandSkipped, NoOutcome, NotSkipped, Posted, PostedSkip
from halter.client.reading import FROM_THE_START
from halter.show.wf_run_text import data
from halter.task_worker import TaskWorker
from processors.core.records.commands import PutExternalEventDef, PutTaskDef, PutWfSpec, SkipRecord
from processors.core.records.events import SkipAccepted
from processors.core.records.model import Status
from processors.core.rules.engine import new_run, replay
from processors.kafka.partitioner import partition_of
from tests.fold.test_shard_fold import CART
from tests.support.command_line import Ended, run_here
from tests.support.installation import Installation, WorkerProcess
from tests.support.waiting import wait_until

PARTITIONS = 4
BAD = "bad-1"
PARTITION = partition_of(BAD.encode(), PARTITIONS)
IDS = [f"good-{number}" for number in range(40)]
NEIGHBOUR = next(it for it in IDS if partition_of(it.encode(), PARTITIONS) == PARTITION)
ELSEWHERE = [
    next(it for it in IDS if partition_of(it.encode(), PARTITIONS) == number)
    for number in range(PARTITIONS)
    if number != PARTITION
]
BRIEFLY = 1.0
"""Where a partition waits, nothing comes; where it does not, an outcome takes some tenths of this."""


@pytest.fixture
def store() -> str:
    """Where workers keep state."""
    return "memory"


@pytest.fixture
def installation(bootstrap: str, prefix: str, tmp_path: Path, store: str) -> Iterator[Installation]:
    # Sessions that a busy machine does not end: what a pause says once, the next owner says again.
    variables: dict[str, str] = {}
    if store != "memory":
        variables |= {"HALTER_STORE": store, "HALTER_STORE_DIR": str(tmp_path / "store")}
    with Installation(bootstrap, prefix, tmp_path, partitions=PARTITIONS, variables=variables) as it:
        yield it


@pytest.fixture
def client(installation: Installation) -> Iterator[Client]:
    with Client.of(installation.settings, installation.topics) as it:
        yield it


def worker(installation: Installation, slot: str, breaks: str = "", **more: str) -> WorkerProcess:
    return installation.worker(slot, module="tests.support.breaking_worker", HALTER_TEST_BREAKS=breaks, **more)


def put_cart(client: Client) -> None:
    for command in (PutExternalEventDef("add"), PutExternalEventDef("checkout"), PutTaskDef("charge")):
        client.put(command)
    client.put(PutWfSpec("cart", json.dumps(CART)))


def names(posted: Posted, seconds: float = 30.0) -> list[str]:
    return [type(entry.event).__name__ for entry in posted.outcome(seconds)]


def skip_accepted(skip: PostedSkip) -> bool:
    """Wait until the log has what became of a SkipRecord, which may be before the record comes."""
    (entry,) = Posted.outcome(skip)
    return isinstance(entry.event, SkipAccepted)


def add(client: Client, wf_run_id: str, number: int) -> Posted:
    return client.post(wf_run_id, "add", 5, event_id=f"a{number}")


def total(client: Client, wf_run_id: str) -> Any:
    run = client.get(wf_run_id)
    assert run is not None
    return run.threads[0].variables["total"]


def command(installation: Installation, *arguments: str) -> Ended:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_"))}
    environment |= {
        "KAFKA_BOOTSTRAP_SERVERS": installation.bootstrap,
        "HALTER_PREFIX": installation.prefix,
        "HALTER_PARTITIONS": str(PARTITIONS),
    }
    return run_here(environment, *arguments)


def metrics(port: int) -> list[str]:
    """The samples that a worker shows."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text: str = answer.read().decode()
    return text.splitlines()


def hole(installation: Installation, topic: str) -> int:
    """The offset of a record whose transaction was aborted: with its mark, two offsets at which nobody reads one."""
    placed: list[Any] = []
    producer = Producer(installation.settings.producer(transactional_id=f"{installation.prefix}holes-in-{topic}"))
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(
        installation.prefix + topic, b"", partition=PARTITION, on_delivery=lambda _, message: placed.append(message)
    )
    producer.flush()
    producer.abort_transaction()
    offset: int = placed[0].offset()
    return offset


def paused(process: WorkerProcess) -> int:
    return process.log.count("partition_paused")


# (rule broken-rule-pauses-partition)
@pytest.mark.parametrize("store", ["memory", "rocksdb"])
def test_the_partition_waits_the_others_go_on_and_quarantine_and_release_make_it_as_if_nothing_had_been(
    installation: Installation, client: Client
) -> None:
    first = worker(installation, "first")
    first.wait_ready()
    put_cart(client)
    for wf_run_id in (BAD, NEIGHBOUR, *ELSEWHERE):
        client.run("cart", wf_run_id=wf_run_id).outcome()
    first.stop()
    broken = worker(installation, "first", "rule")
    broken.wait_ready()
    before = add(client, NEIGHBOUR, 1)
    bad = add(client, BAD, 1)
    behind = add(client, NEIGHBOUR, 2)
    assert names(before)[-1] == "Resume"
    wait_until("the pause", lambda: paused(broken))
    for wf_run_id in ELSEWHERE:
        assert names(add(client, wf_run_id, 1))[-1] == "Resume"
    with pytest.raises(NoOutcome):
        behind.outcome(BRIEFLY)
    assert paused(broken) == 1
    (line,) = (line for line in broken.log.splitlines() if "partition_paused" in line)
    for words in (
        f"external-events[{PARTITION}]@{bad.offset}",
        "ExternalEvent",
        "RuleBroke: told to",
        f"halter quarantine {BAD}",
        f"halter release {BAD}",
        f"halter skip external-events {PARTITION} {bad.offset}",
    ):
        assert words in line
    assert broken.ready is None  # degraded

    # The next owner pauses as well, and lives.
    broken.kill()
    second = worker(installation, "second", "rule")
    wait_until("its pause", lambda: paused(second), 60)
    assert second.process.poll() is None

    quarantined = command(installation, "quarantine", BAD, "--reason", "it breaks", "--operator", "ann")
    assert (quarantined.returncode, quarantined.stdout) == (0, "E  WfRunQuarantined     by ann: it breaks\n")
    assert names(behind)[-1] == "Resume"
    assert names(bad) == ["InputKept"]
    assert names(add(client, BAD, 2)) == ["InputKept"]
    assert names(client.stop(BAD)) == ["InputKept"]
    second.wait_ready()
    shown = command(installation, "show", BAD)
    assert "QUARANTINED" in shown.stdout
    assert "3 inputs are kept" in shown.stdout

    # The rule is mended.
    second.kill()
    mended = worker(installation, "second")
    mended.wait_ready()
    released = command(installation, "release", BAD)
    assert (released.returncode, released.stdout.split()[:2]) == (0, ["E", "WfRunReleased"])
    names(client.resume(BAD))
    assert total(client, BAD) == total(client, NEIGHBOUR) == 10
    run, neighbour = client.get(BAD), client.get(NEIGHBOUR)
    assert run is not None
    assert neighbour is not None
    assert (run.status, run.threads[0].node.node) == (Status.RUNNING, neighbour.threads[0].node.node)
    entries = client.history(BAD).entries
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert data(replay(entries, new_run(BAD))) == data(run)
    kept = {message.key(): message.value() for message in installation.ledger.read(installation.topics.kept_inputs)}
    assert set(kept.values()) == {None}


def test_readiness_says_what_is_wrong_and_a_record_that_is_skipped_lets_the_partition_go_on(
    installation: Installation, client: Client
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    broken = worker(installation, "one", "rule", HALTER_TEST_PORT=str(port))
    broken.wait_ready()
    put_cart(client)
    bad = client.run("cart", wf_run_id=BAD)
    behind = client.run("cart", wf_run_id=NEIGHBOUR)
    wait_until("the pause", lambda: paused(broken))
    with pytest.raises(urllib.error.HTTPError) as answered:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/ready")
    state = json.loads(answered.value.read())
    assert (answered.value.code, state["state"]) == (503, "degraded")
    assert f"wf-commands[{PARTITION}]@{bad.offset}" in state["paused"][str(PARTITION)]
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/live").status == 200
    assert f'halter_partition_paused{{partition="{PARTITION}"}} 1.0' in metrics(port)
    for place, sentence in (
        (("wf-commands", PARTITION, behind.offset), f"it stands at {bad.offset}"),
        (("wf-commands", PARTITION, behind.offset + 1), "no record"),
        (("wf-commands", PARTITION, 999_999), "no record"),
        (("wf-commands", PARTITIONS, bad.offset), f"from 0 to {PARTITIONS - 1}"),
        (("wf-events", PARTITION, 0), "expected one of the inputs"),
        (("definition-commands", 1, 0), "expected partition 0"),
        (("definition-commands", 0, 0), "folded already"),
    ):
        refused = command(installation, "skip", *map(str, place))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert sentence in refused.stderr
    skipped = command(installation, "skip", "wf-commands", str(PARTITION), str(bad.offset), "--operator", "ann")
    assert (skipped.returncode, skipped.stdout.splitlines()) == (
        0,
        [
            f"E  SkipAccepted         wf-commands[{PARTITION}]@{bad.offset}, by ann",
            "E  RecordSkipped        RunWf, by ann",
        ],
    )
    for wait in (bad.outcome, bad.until_ended):
        with pytest.raises(CommandSkipped, match="skipped by ann"):
            wait()
    assert names(behind)[0] == "WfRunStarted"
    again = command(installation, "skip", "wf-commands", str(PARTITION), str(bad.offset))
    assert again.returncode == 1
    assert "folded already" in again.stderr
    broken.wait_ready()
    assert paused(broken) == 1
    assert f'halter_partition_paused{{partition="{PARTITION}"}} 0.0' in metrics(port)
    assert names(client.quarantine(BAD)) == ["WfRunQuarantined"]
    wait_until("the count", lambda: f'halter_quarantined_wf_runs{{partition="{PARTITION}"}} 1.0' in metrics(port))


def test_a_release_that_breaks_again_can_be_passed_over(installation: Installation, client: Client) -> None:
    broken = worker(installation, "one", "rule")
    broken.wait_ready()
    put_cart(client)
    assert names(client.quarantine(BAD)) == ["WfRunQuarantined"]
    assert names(client.run("cart", wf_run_id=BAD)) == ["InputKept"]
    release = client.release(BAD)
    wait_until("the pause", lambda: paused(broken))
    # A new owner stands there, too; and a quarantine cannot be decided before the release that came first.
    broken.kill()
    broken = worker(installation, "two", "rule")
    wait_until("its pause", lambda: paused(broken), 60)
    # Not before: the new owner may meet the other inputs first, and folds what it can until the release breaks.
    behind = client.run("cart", wf_run_id=NEIGHBOUR)
    late = client.quarantine("bad-2")
    with pytest.raises(NoOutcome):
        behind.outcome(BRIEFLY)
    assert names(client.skip("operator-commands", PARTITION, release.offset)) == ["SkipAccepted", "RecordSkipped"]
    with pytest.raises(CommandSkipped):
        release.outcome()
    assert names(behind)[0] == "WfRunStarted"
    assert names(late) == ["WfRunQuarantined"]
    run = client.get(BAD)
    assert run is not None
    assert run.quarantined_ms is not None
    broken.wait_ready()


def test_whoever_waits_for_a_skipped_record_is_told_and_a_skip_of_another_record_lapses(
    installation: Installation, client: Client
) -> None:
    healthy = worker(installation, "one")
    healthy.wait_ready()
    put_cart(client)
    client.run("cart", wf_run_id=BAD).outcome()
    healthy.stop()
    # From here on a rule breaks on all that is to be skipped, so that none of it is folded before its SkipRecord.
    broken = worker(installation, "one", "rule")
    with ThreadPoolExecutor() as pool, Client.of(installation.settings, installation.topics) as another:
        topic = installation.topics.definition_commands
        put = pool.submit(another.put, PutTaskDef("bad-pack"))
        wait_until("the pause", lambda: paused(broken))
        offset = list(client.reader.read(topic, 0, FROM_THE_START))[-1].offset()
        assert f"definition-commands[0]@{offset}" in broken.log
        definition = client.skip("definition-commands", 0, offset, None, "ann")
        with pytest.raises(CommandSkipped, match="skipped by ann"):
            put.result()
    assert names(definition) == ["SkipAccepted", "RecordSkipped"]
    for topic in ("external-events", "wf-commands"):
        with pytest.raises(CannotSkip, match="there is no record"):
            client.skip(topic, PARTITION, hole(installation, topic))
    unlike, event = add(client, BAD, 1), add(client, BAD, 2)
    stop = client.stop(BAD)
    wait_until("the next pause", lambda: paused(broken) > 1)
    with pytest.raises(CannotSkip, match=f"stands at {unlike.offset}"):
        client.skip("external-events", PARTITION, event.offset)
    # What has another time is another record.
    of_another = SkipRecord("external-events", PARTITION, unlike.offset, 1, operator="ann")
    lapsing = PostedSkip(of_another, *client._post(of_another, PARTITION))
    assert skip_accepted(lapsing)
    skip = client.skip("wf-commands", PARTITION, stop.offset, "not now", "ann")
    assert skip_accepted(skip)
    broken.stop()
    worker(installation, "one").wait_ready()
    with pytest.raises(NotSkipped, match=rf"external-events\[{PARTITION}\]@{unlike.offset} was not skipped"):
        lapsing.outcome()
    assert names(unlike)[-1] == names(event)[-1] == "Resume"
    assert names(skip) == ["SkipAccepted", "RecordSkipped"]
    with pytest.raises(CommandSkipped, match=r"skipped by ann \(not now\)"):
        stop.outcome()
    assert total(client, BAD) == 10


def test_a_task_worker_is_told_of_a_report_that_was_skipped(installation: Installation, client: Client) -> None:
    healthy = worker(installation, "one")
    healthy.wait_ready()
    put_cart(client)
    client.run("cart", wf_run_id=BAD).outcome()
    assert names(client.post(BAD, "checkout"))[-1] == "TaskAttemptRequested"
    healthy.stop()
    broken = worker(installation, "one", "rule")
    with capture_logs() as logs, TaskWorker(client, {"charge": lambda _: "receipt"}) as tasks:
        thread = Thread(target=tasks.run)
        thread.start()
        try:
            broken.wait_logged(f"task-reports[{PARTITION}]@0")
            skip = client.skip("task-reports", PARTITION, 0, "not now", "ann")
            assert names(skip) == ["SkipAccepted", "RecordSkipped"]
            wait_until("the word", lambda: [it for it in logs if it["event"] == "report_skipped"])
        finally:
            tasks.stop()
            thread.join()
    (told,) = (it for it in logs if it["event"] == "report_skipped")
    assert (told["wf_run_id"], told["task_def"], told["operator"]) == (BAD, "charge", "ann")


def test_rows_that_cannot_be_made_pause_their_partition_after_the_log_has_what_they_would_say(
    installation: Installation, client: Client
) -> None:
    broken = worker(installation, "one", "rows")
    broken.wait_ready()
    put_cart(client)
    posted = [client.run("cart", wf_run_id=it) for it in (NEIGHBOUR, BAD)]
    wait_until("the pause", lambda: paused(broken), 60)
    assert f"cannot write the rows of {BAD}" in broken.log
    assert [names(it)[0] for it in posted] == ["WfRunStarted", "WfRunStarted"]
    shown = client.get(BAD)
    assert shown is not None
    assert shown.status is Status.RUNNING, "no row says so"
    assert names(client.quarantine(BAD)) == ["WfRunQuarantined"]
    assert names(add(client, NEIGHBOUR, 1))[0] == "ExternalEventPosted"
    assert names(add(client, BAD, 1)) == ["InputKept"]
    broken.wait_ready()


def test_timers_that_break_pause_their_partition_and_are_quiet_in_quarantine(
    installation: Installation, client: Client
) -> None:
    broken = worker(installation, "one", "timers")
    broken.wait_ready()
    put_cart(client)
    soon = json.loads(json.dumps(CART).replace('"timeout_s": 3600', '"timeout_s": 1'))
    client.put(PutWfSpec("soon", json.dumps({**soon, "name": "soon"})))
    client.run("soon", wf_run_id=BAD).outcome()
    wait_until("the pause", lambda: paused(broken))
    behind = client.run("cart", wf_run_id=NEIGHBOUR)
    with pytest.raises(NoOutcome):
        behind.outcome(BRIEFLY)
    assert broken.process.poll() is None
    assert names(client.quarantine(BAD)) == ["WfRunQuarantined"]
    assert names(behind)[0] == "WfRunStarted"
    broken.stop()
    mended = worker(installation, "one")
    mended.wait_ready()
    assert names(client.release(BAD)) == ["WfRunReleased"]
    wait_until("the timer", lambda: (run := client.get(BAD)) is not None and run.status is Status.ERROR)


@pytest.mark.parametrize(("crash_at", "store"), [("after-fold:4", "memory"), ("after-send-offsets:4", "rocksdb")])
def test_a_kill_in_between_loses_and_doubles_nothing(installation: Installation, client: Client, crash_at: str) -> None:
    healthy = worker(installation, "one")
    healthy.wait_ready()
    put_cart(client)
    client.run("cart", wf_run_id=BAD).outcome()
    healthy.stop()
    broken = worker(installation, "one", "rule", HALTER_CRASH_AT=crash_at)
    bad = [add(client, BAD, number) for number in range(3)]
    behind = client.run("cart", wf_run_id=NEIGHBOUR)
    operated = client.quarantine(BAD)
    numbers = count()

    def is_dead() -> bool:
        add(client, NEIGHBOUR, next(numbers))
        return broken.process.poll() is not None

    wait_until("its end", is_dead)
    again = worker(installation, "one", "rule")
    assert names(operated) == ["WfRunQuarantined"]
    assert names(behind)[0] == "WfRunStarted"
    again.stop()
    mended = worker(installation, "one")
    mended.wait_ready()
    client.release(BAD).outcome()
    assert total(client, BAD) == 15
    caused = [entry.cause for entry in client.history(BAD).entries]
    for posted in bad:
        assert {(it.topic, it.offset) for it in caused} >= {(posted.topic, posted.offset)}
    entries = client.history(BAD).entries
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    run = client.get(BAD)
    assert run is not None
    assert data(replay(entries, new_run(BAD))) == data(run)
