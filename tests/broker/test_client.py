"""Rules of the client, the task worker and the command line, with a real Kafka and a real worker."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message, Producer
from structlog.testing import capture_logs
from typer.testing import CliRunner

from halter.cli import app
from halter.client import (
    Client,
    CommandRejected,
    DeadLettered,
    DefinitionKind,
    DefinitionRefused,
    NoOutcome,
    NotEnded,
    PartitionsDiffer,
    Posted,
    RecordTooLarge,
    TopicMissing,
    events_of_wf_run,
)
from halter.client.ids import new_id
from halter.client.wf_run_rows import WfRunRows
from halter.scenarios.comparison import difference
from halter.task_worker import BusinessException, Task, TaskWorker
from processors.core.records.commands import ExternalEvent, StopWfRun
from processors.core.records.events import TaskCancellation
from processors.core.records.model import Status, TaskStatus, WfRun
from processors.core.records.values import Value, VariableType
from processors.core.rules.evolve import new_run, replay
from processors.core.rules.indexing import index_of
from processors.kafka.errors import KafkaUnavailable
from processors.kafka.settings import Settings
from tests.support.command_line import all_commands, logging_as_before, slow_imports
from tests.support.halter_processes import Halter, halter_with_the_cart
from tests.support.waiting import wait_until

CART = Path(__file__).parents[2] / "examples" / "cart"
MUG: Value = {"sku": "mug", "name": "Mug", "quantity": 2, "price_cents": 1450}
CARD = "card-12345678"


@pytest.fixture(scope="module")
def halter(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    """An installation with a worker, where the cart is registered."""
    with halter_with_the_cart(bootstrap, tmp_path_factory.mktemp("client")) as installation:
        yield installation


@pytest.fixture
def client(halter: Halter) -> Iterator[Client]:
    with halter.client() as it:
        yield it


def start(client: Client) -> str:
    posted = client.run("cart", {"customer": "Ann", "card": CARD})
    posted.outcome()
    return posted.wf_run_id


def names(entries: object) -> list[str]:
    return [type(entry.event).__name__ for entry in entries]  # type: ignore[attr-defined]


# Definitions.


def test_a_wf_spec_that_was_put_can_be_run_at_once(client: Client) -> None:
    for number in range(5):
        name = f"nap-{number}"
        nodes = {"a": {"kind": "ENTRYPOINT", "next": "b"}, "b": {"kind": "EXIT"}}
        put = client.put_wf_spec({"name": name, "entrypoint": "main", "threads": {"main": {"nodes": nodes}}})
        assert (put.accepted.name, put.version, put.accepted.changed) == (name, "0.0", True)
        # Two WfRuns in different partitions: each worker has to know it, not the one that registered it.
        for _ in range(2):
            assert names(client.run(name).outcome())[0] == "WfRunStarted"


# (rule unknown-definitions-looked-for)
def test_what_was_put_can_be_used_at_once_by_whoever_has_read_no_definition(halter: Halter, client: Client) -> None:
    nodes = {"a": {"kind": "ENTRYPOINT", "next": "b"}, "b": {"kind": "EXIT"}}
    with halter.client() as other:
        for number in range(10):
            name = f"new-{number}"
            client.put_external_event_def(name)
            client.put_wf_spec({"name": name, "entrypoint": "main", "threads": {"main": {"nodes": nodes}}})
            posted = [
                other.run(name, major=0),
                other.run_and_post(name, new_id(), name),
                other.post(new_id(), name),
                other.post_correlated("key", name),
            ]
            for it in posted:
                it.outcome()
        assert other.definitions_position == 0


def test_what_is_registered_already_is_unchanged(client: Client) -> None:
    again = client.put_external_event_def("checkout")
    assert not again.accepted.changed


def test_a_changed_and_a_deleted_task_def_are_visible_to_all_when_the_call_returns(client: Client) -> None:
    client.put_task_def("price", {"cents": VariableType.INT}, VariableType.DOUBLE)
    changed = client.put_task_def(
        "price", {"cents": VariableType.INT, "note": VariableType.STR}, VariableType.INT, optional=["note"]
    )
    assert changed.version == "0.1"
    with pytest.raises(DefinitionRefused, match=r"input: expected the input cents \(INT\) as in 0.1, found it gone"):
        client.put_task_def("price", {})
    deleted = client.delete_definition(DefinitionKind.TASK_DEF, "price")
    again = client.delete_definition(DefinitionKind.TASK_DEF, "price")
    assert (deleted.accepted.changed, again.accepted.changed) == (True, False)
    assert changed.position < deleted.position == again.position
    with Client.of(client.settings) as other:
        found = other.definitions().versions(DefinitionKind.TASK_DEF, "price")
    assert [(str(it.version), it.optional, it.deleted) for it in found] == [("0.0", [], True), ("0.1", ["note"], True)]


def test_a_refused_definition_tells_all_that_is_wrong_with_it(client: Client) -> None:
    document = {
        "name": "bad",
        "entrypoint": "main",
        "threads": {
            "main": {
                "interrupts": [{"event": "no-such-event", "handler": "nobody"}],
                "nodes": {"a": {"kind": "ENTRYPOINT", "next": "b"}, "b": {"kind": "EXIT"}},
            }
        },
    }
    with pytest.raises(DefinitionRefused) as raised:
        client.put_wf_spec(document)
    assert len(raised.value.rejected.problems) >= 2
    assert "no-such-event" in str(raised.value)
    assert "nobody" in str(raised.value)


def test_a_definition_with_types_comes_back_as_it_was_put(client: Client) -> None:
    client.put_task_def("price", {"sku": VariableType.STR}, VariableType.INT)
    client.put_workflow_event_def("sold-out", VariableType.STR)
    task_def = client.definitions().task_def("price")
    assert task_def is not None
    assert (task_def.input, task_def.output) == ({"sku": VariableType.STR}, VariableType.INT)


# Commands and their outcomes.


def test_an_interrupt_has_its_whole_effect_as_outcome(client: Client) -> None:
    wf_run_id = start(client)
    outcome = client.post(wf_run_id, "address-changed", "12 Harbour Street", event_id="e1").outcome()
    assert names(outcome) == [
        "ExternalEventPosted", "Halt", "Halt", "ThreadHalted", "ThreadHalted", "SpawnChild", "NodeCompleted",
        "ThreadCompleted", "Resume", "Resume",
    ]  # fmt: skip
    assert {entry.cause.command_id for entry in outcome} == {"e1"}


def test_a_second_event_of_the_same_id_is_rejected(client: Client) -> None:
    wf_run_id = start(client)
    client.post(wf_run_id, "page-seen", "/", event_id="e1").outcome()
    with pytest.raises(CommandRejected, match=r"ALREADY_EXISTS.*'e1' was posted before") as raised:
        client.post(wf_run_id, "page-seen", "/", event_id="e1").outcome()
    assert raised.value.code == "ALREADY_EXISTS"


@pytest.mark.parametrize("name", ["stop", "resume", "rescue"])
def test_a_command_to_a_wf_run_that_is_not_there_is_rejected(client: Client, name: str) -> None:
    with pytest.raises(CommandRejected, match=f"NOT_FOUND.*{name.capitalize()}"):
        getattr(client, name)(new_id()).outcome()


def test_stop_resume_and_delete_do_what_they_say(client: Client) -> None:
    wf_run_id = start(client)
    client.stop(wf_run_id).outcome()
    stopped = client.get(wf_run_id)
    assert stopped is not None
    assert stopped.status is Status.HALTED
    client.resume(wf_run_id).outcome()
    resumed = client.get(wf_run_id)
    assert resumed is not None
    assert resumed.status is Status.RUNNING
    assert names(client.delete(wf_run_id).outcome()) == ["WfRunDeleted"]


def test_a_record_that_is_too_large_is_not_sent(client: Client) -> None:
    with pytest.raises(RecordTooLarge, match="at most 262144 bytes"):
        client.post("c", "page-seen", "x" * 300_000)


@pytest.mark.parametrize("wait_s", [0, 0.005, 0.02])
def test_however_short_the_wait_an_outcome_is_found_or_not_folded_yet(client: Client, wait_s: float) -> None:
    wf_run_id = start(client)
    for number in range(25):
        posted = client.post(wf_run_id, "page-seen", "/", event_id=f"{wait_s}-{number}")
        try:
            found = posted.outcome(wait_s)
        except NoOutcome as behind:
            sentence = str(behind)
            assert "starts, is behind, or the partition is paused" in sentence
            found = posted.outcome()
        assert names(found)[0] == "ExternalEventPosted"
        assert posted.outcome(0) == found, "it is found also by who asks late"


def test_who_waits_for_a_dead_letter_hears_why_it_is_one(client: Client) -> None:
    topic, partition = client.topics.external_events, client.post("c", "page-seen", "/").partition
    log_end = client.reader.end(client.topics.wf_events, partition)
    delivered: list[Message] = []
    producer = Producer(client.settings.producer())
    for value in (b"no record", client.codec.encode(ExternalEvent("other", "page-seen", "1"))):
        producer.produce(
            topic, key=b"c", value=value, partition=partition, on_delivery=lambda _, it: delivered.append(it)
        )
    producer.flush(10)
    for message, reason in zip(delivered, ("UNDECODABLE", "KEY_MISMATCH"), strict=True):
        offset = message.offset()
        assert offset is not None
        posted = Posted(client._outcomes, "c", "external-events", partition, offset, log_end)
        with pytest.raises(DeadLettered, match=f"external-events.{partition}.@{offset}.*{reason}: expected") as raised:
            posted.outcome(1)
        assert raised.value.reason == reason


# Looking.


def test_show_is_as_new_as_the_outcome_and_equals_the_replayed_history(client: Client) -> None:
    client.post("early-1", "item-added", MUG, event_id="e0").outcome()
    wf_run_id = client.run("cart", {"customer": "Ann", "card": CARD}, wf_run_id="early-1").wf_run_id
    for number in range(10):
        client.post(wf_run_id, "page-seen", f"/{number}").outcome()
        rows = client.get(wf_run_id)
        history = client.history(wf_run_id)
        assert rows is not None
        assert rows.threads[0].variables["last_page"] == f"/{number}"
        replayed = history.state()
        rows.index, replayed.index = index_of(rows), index_of(replayed)
        assert difference(replayed, rows) is None
    entries = history.entries
    assert [entry.seq for entry in entries] == [0, *range(1, len(entries))]


def expect_replayed(client: Client, shown: WfRun) -> None:
    """Check that a WfRun is what a replay of its log gives, up to the event that it has last."""
    replayed = new_run(shown.wf_run_id)
    replay((entry for entry in client.history(shown.wf_run_id).entries if entry.seq <= shown.seq), replayed)
    replayed.index, shown.index = index_of(replayed), index_of(shown)
    assert difference(replayed, shown) is None


def test_show_is_right_while_a_wf_run_and_its_neighbours_are_busy(client: Client) -> None:
    wf_run_id, neighbours = start(client), [start(client) for _ in range(5)]
    is_over = threading.Event()

    def be_busy() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            for it in (wf_run_id, *neighbours):
                client.post(it, "page-seen", f"/{number}")

    busy = threading.Thread(target=be_busy)
    busy.start()
    try:
        seqs = []
        for _ in range(25):
            shown = client.get(wf_run_id)
            assert shown is not None
            expect_replayed(client, shown)
            seqs.append(shown.seq)
    finally:
        is_over.set()
        busy.join()
    assert seqs == sorted(seqs)
    assert len(set(seqs)) > 5, "it was busy"


def test_show_is_right_if_the_worker_died_before_the_rows_followed(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    halter = Halter(bootstrap, prefix, tmp_path, partitions=1)
    with halter.worker() as worker, halter.client() as client:
        client.put_external_event_def("seen")
        for number in range(100):
            posted = client.post("w", "seen", event_id=f"e{number}")
        posted.outcome()
        worker.kill()
        worker.wait()
        shown = client.get("w")
        assert shown is not None
        assert [event_id for _, event_id in shown.external_events] == [f"e{number}" for number in range(100)]
        rows, _ = WfRunRows(client.reader, client.topics, client.codec).of("w", 0)
        assert len(rows) < 100, "the rows are behind"


def test_history_from_the_start_has_earlier_incarnations(client: Client) -> None:
    wf_run_id = start(client)
    client.delete(wf_run_id).outcome()
    client.run("cart", {"customer": "Bo", "card": CARD}, wf_run_id=wf_run_id).outcome()
    everything = client.history(wf_run_id, from_start=True)
    assert [entries.entries[0].seq for entries in everything.incarnations] == [1, 1]
    assert everything.complete


def test_history_is_whole_although_it_leaps_over_its_neighbours(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_of_wf_run, "FAR", 2)
    wf_run_id, neighbours = start(client), [start(client) for _ in range(10)]
    for number in range(5):
        for it in (wf_run_id, *neighbours):
            posted = client.post(it, "page-seen", f"/{number}")
        posted.outcome()
    client.stop(wf_run_id).outcome()  # no row says when
    client.resume(wf_run_id).outcome()
    entries = client.history(wf_run_id).entries
    assert [entry.seq for entry in entries] == [*range(1, len(entries) + 1)]
    assert entries == client.history(wf_run_id, from_start=True).entries


def test_no_batch_is_empty_where_only_an_aborted_transaction_is_left_before_the_end(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    with Halter(bootstrap, prefix, tmp_path, 1).client() as client:
        topic, stops = client.topics.wf_events, (2, 4)  # each transaction is a record and a mark
        producer = Producer(client.settings.producer(transactional_id=f"{prefix}marks"))
        producer.init_transactions(30)
        for finish in (producer.abort_transaction, producer.commit_transaction):
            producer.begin_transaction()
            producer.produce(topic, b"x")
            producer.flush(30)
            finish(30)
        wait_until("the last mark", lambda: client.reader.end(topic, 0) == stops[-1])
        read = [[len(records) for records in client.reader.batches(topic, 0, 0, stop)] for stop in stops]
    assert read == [[], [1]]


def test_show_and_history_of_nothing_are_nothing(client: Client) -> None:
    assert client.get("nothing") is None
    assert client.history("nothing").incarnations == []


# Tasks.


def test_a_task_worker_reports_what_its_handlers_did(client: Client) -> None:
    def charge(task: Task) -> Value:
        if task.input["card"] == "declined":
            raise BusinessException("card-declined", "the bank said no", {"limit": 500})
        if task.input["card"] == "broken":
            raise RuntimeError("the bank is closed")
        if task.input["card"] == "unfit":
            return object()  # type: ignore[return-value]
        return "receipt-1"

    with TaskWorker(client, {"charge-card": charge}) as worker:
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            ends = {}
            for card in ("fine", "declined", "broken", "unfit"):
                posted = client.run("cart", {"customer": "Ann", "card": card})
                client.post(posted.wf_run_id, "slot-chosen", "tomorrow")
                client.post(posted.wf_run_id, "checkout")
                ends[card] = posted.until_ended()
        finally:
            worker.stop()
            thread.join()
    assert ends["fine"].threads[0].output == "receipt-1"
    failures = {card: ends[card].threads[0].failure for card in ("declined", "broken", "unfit")}
    assert {card: ends[card].status for card in ends} == {
        "fine": Status.COMPLETED, "declined": Status.EXCEPTION, "broken": Status.ERROR, "unfit": Status.ERROR,
    }  # fmt: skip
    assert "card-declined" in str(failures["declined"])
    assert "RuntimeError: the bank is closed" in str(failures["broken"])
    assert "its result cannot be reported" in str(failures["unfit"])


def test_a_refused_report_is_logged_with_the_sentence_of_the_engine(client: Client) -> None:
    card, charged = "first", threading.Event()

    def charge(task: Task) -> Value:
        if task.input["card"] == card:  # somebody else has reported it, as after a rebalance
            client.report_task(task.request, TaskStatus.SUCCESS, "receipt-0").outcome()
        charged.set()
        return "receipt-1"

    with capture_logs() as logs, TaskWorker(client, {"charge-card": charge}) as worker:
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            ends = []
            for given in (card, "second", "third"):
                posted = client.run("cart", {"customer": "Ann", "card": given})
                client.post(posted.wf_run_id, "slot-chosen", "tomorrow")
                client.post(posted.wf_run_id, "checkout")
                ends.append(posted.until_ended())
            refused = eventually(lambda: [it for it in logs if it["event"] == "report_refused"])
            assert worker._session is not None
            seen = worker._session._refused
            assert seen is not None
            eventually(lambda: not seen._undecided and not seen._new)
        finally:
            worker.stop()
            thread.join()
    assert [it.threads[0].output for it in ends] == ["receipt-0", "receipt-1", "receipt-1"]
    assert len([it for it in logs if it["event"] == "report_refused"]) == 1
    assert (refused[0]["wf_run_id"], refused[0]["code"]) == (ends[0].wf_run_id, "FAILED_PRECONDITION")
    assert "that attempt is over" in refused[0]["reason"]
    assert not [it for it in logs if it["event"] == "refused_reports_not_seen"]


def eventually(look: Callable[[], Any], seconds: float = 20) -> Any:
    """The answer of `look`, once it has one."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_a_wf_run_that_goes_on_is_not_waited_for_for_ever(client: Client) -> None:
    posted = client.run("cart", {"customer": "Ann", "card": CARD})
    with pytest.raises(NotEnded, match=r"has not ended within 0\.5 s"):
        posted.until_ended(0.5)


# What can be wrong around it.


def test_without_a_worker_the_client_says_so(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    alone = Halter(bootstrap, prefix, tmp_path, partitions=1)
    with alone.client() as client:
        posted = client.post("c1", "page-seen", "/")
        behind = r"external-events\[0\]@0 within 0\.5 s.*up to 0, the record is at 0"
        with pytest.raises(NoOutcome, match=f"{behind}.* the same id \\(of a command: `--id {posted.repeat_id}`\\)$"):
            posted.outcome(0.5)
        with pytest.raises(NoOutcome, match="no worker is running"):
            client.put_external_event_def("page-seen", timeout_s=0.5)


def test_who_looks_at_a_wf_run_hears_that_no_worker_is_running(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    halter = Halter(bootstrap, prefix, tmp_path, partitions=1)
    dynamic = halter.process("worker", "-m", "halter", "worker")  # a member with a slot stays for the session time-out
    with dynamic as worker, halter.client() as client:
        client.put_external_event_def("seen")
        client.post("w", "seen", wait=True)
        for command in ("show", "why"):
            assert "no worker" not in halter.command(command, "w").stderr
        worker.terminate()
        worker.wait()
        for command in ("show", "why"):
            said = halter.command(command, "w")
            assert (said.returncode, "no worker is running: group" in said.stderr) == (0, True), said.stderr


def test_the_first_record_of_a_new_client_waits_for_no_second_round(halter: Halter) -> None:
    """A producer that gets its id only half a second later is one of three, if nothing is done about it."""
    took = list[float]()
    for number in range(20):
        with halter.client() as client:
            client.prepare_to_send(client.topics.external_events)
            begun = time.monotonic()
            client.post(f"new-{number}", "cancel")
            took.append(time.monotonic() - begun)
    assert sum(it > 0.45 for it in took) <= 2, took


def test_missing_topics_are_named(bootstrap: str, prefix: str) -> None:
    settings = Settings.load(None, {}, {"bootstrap.servers": bootstrap}, prefix=prefix)
    with Client.of(settings) as client, pytest.raises(TopicMissing, match=f"'{prefix}wf-events' does not exist"):
        client.stop("c1")


ELSEWHERE: dict[str, tuple[str, ...] | str] = {
    "run": ("cart", "--id", "c1", "--var", "customer=Ann", "--var", "card=1"),
    "send": ("c1", "checkout"),
    "correlate": ("k1", "checkout"),
    "correlations": ("k1", "checkout"),
    "bind check": "asks for definitions alone, which are in one partition",
    "bind run": "the loop compares the topics that it writes (tests/broker/test_transform.py)",
    "sink check": "asks for definitions and names of topics alone",
    "sink run": ("examples/cart/sink.yaml",),
    "schemas document": "asks no cluster",
    "list": "asks the view",
    "bulk": "asks the view, and sends as 'stop' and the others do",
    "dead-letters list": "asks the view",
    "dead-letters show": ("2@0",),
    "dead-letters retry": ("2@0",),
    "stats": "asks the view",
    "console": "asks Kafka for a page, and then the page says it",
    "show": ("c1",),
    "history": ("c1",),
    "state": ("c1",),
    "diff": ("c1",),
    "export": ("c1", "-o", "c1.halter"),
    "scenario from-history": ("c1",),
    "why": ("c1",),
    "why-not": ("c1", "e1"),
    "cause": ("external-events", "0", "0"),
    "timeline": ("c1", "-o", "c1.html"),
    "verify": ("c1",),
    "check-state": ("--partition", "0"),
    "doctor": (),
    "replay": ("--into", "debug-"),
    "explore": "asks no cluster",
    "stop": ("c1",),
    "resume": ("c1",),
    "rescue": ("c1",),
    "migrate": ("c1", "--to", "0.1"),
    "delete": ("c1",),
    "fork": ("c1", "--at", "1", "--as", "c2"),
    "reset": ("c1", "--at", "1"),
    "quarantine": ("c1",),
    "release": ("c1",),
    "skip": ("external-events", "0", "0"),
    "up": "makes the topics, as topics apply does, and starts a worker",
    "worker": (),
    "task-worker": ("examples/cart/tasks.py:worker",),
    "topics plan": (),
    "topics apply": ("--yes",),
    "topics acls": "asks no cluster",
    "topics asyncapi": "asks no cluster",
    "schemas register": "asks no cluster",
    "spec check": "asks no cluster",
    "spec show": "reads definitions, of which there is one partition",
    "spec put": "reads and writes definitions, of which there is one partition",
    "spec list": "reads definitions, of which there is one partition",
    "spec get": "reads definitions, of which there is one partition",
    "spec delete": "reads and writes definitions, of which there is one partition",
    "scenario run": "makes its topics",
    "demo": "makes its topics",
    "broker": "is Kafka",
    "view status": "asks no cluster",
    "schemas list": "asks no cluster",
    "schemas show": "asks no cluster",
    "schemas export": "asks no cluster",
}
"""Command -> how to call it; or why it does not matter to it how many partitions there are."""


def test_every_command_knows_whether_partitions_matter_to_it() -> None:
    assert set(all_commands()) <= set(ELSEWHERE), "say how it is called, or why they do not"


@pytest.mark.parametrize("command", ["show", "send", "history"])
def test_a_command_that_people_wait_for_imports_nothing_that_is_slow(
    halter: Halter, client: Client, command: str
) -> None:
    more = ("page-seen", "/") if command == "send" else ()
    assert slow_imports(command, start(client), *more, environment=halter.environment) == set()


@pytest.mark.parametrize("command", [name for name, call in ELSEWHERE.items() if isinstance(call, tuple)])
def test_no_command_looks_into_the_wrong_partition(
    halter: Halter, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for name, value in {**halter.environment, "HALTER_PARTITIONS": "4"}.items():
        if name.startswith(("KAFKA_", "HALTER_")):
            monkeypatch.setenv(name, value)
    with logging_as_before():
        answer = CliRunner().invoke(app, [*command.split(), *ELSEWHERE[command]])
    assert answer.exit_code != 0
    said = answer.output + str(answer.exception)
    sentences = (  # of clients, of the doctor and of `topics plan`
        "expected 4 partitions, found 3",
        "have 3 partitions, not 4",
        "has 3 partitions, topics.yaml wants 4",
    )
    assert any(it in said for it in sentences), said
    assert "HALTER_PARTITIONS=3" in said


@pytest.mark.parametrize(
    "read",
    [
        lambda client: client.get("c1"),
        lambda client: client.history("c1"),
        lambda client: client.ended("c1"),
        lambda client: client.run("cart"),
        lambda client: client.post("c1", "checkout"),
        lambda client: client.post_all([StopWfRun("c1", 0, None)]),
        lambda client: client.send_soon(StopWfRun("c1", 0, None)),
        lambda client: client.quarantine("c1"),
        lambda client: client.skip("external-events", 0, 0),
        lambda client: list(client.reader.read(client.topics.dead_letters, 0, 0)),
        lambda client: next(client.reader.follow(client.topics.wf_events, 0, 0)),
        lambda client: client.reader.bounds(client.topics.wf_events, 0),
        lambda client: client.reader.end(client.topics.wf_events, 0),
        lambda client: client.reader.offset_at(client.topics.wf_events, 0, 0),
        lambda client: TaskWorker(client, {"t": lambda _: None}).run(),
    ],
)
def test_nothing_of_the_client_looks_into_the_wrong_partition(halter: Halter, read: Callable[[Client], object]) -> None:
    overrides: dict[str, str | None] = {"bootstrap.servers": halter.settings.bootstrap}
    settings = Settings.load(None, {}, overrides, prefix=halter.settings.prefix, partitions=4)
    with Client.of(settings) as client, pytest.raises(PartitionsDiffer, match=r"found 3; .* set HALTER_PARTITIONS=3"):
        read(client)


def test_a_kafka_that_is_not_there_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halter.client.reading.REQUEST_SECONDS", 1.0)
    with (
        Client("127.0.0.1:1") as client,
        pytest.raises(KafkaUnavailable, match=r"127\.0\.0\.1:1"),
    ):
        client.get("c1")


# The command line.


def test_the_command_line_does_the_main_job(halter: Halter) -> None:
    put = halter.command("spec", "put", str(CART / "cart.yaml"))
    assert (put.returncode, put.stderr) == (0, "")
    assert "unchanged    WfSpec cart 0.0" in put.stdout
    # A card number is text, because the Variable says so.
    run = halter.command("run", "cart", "--id", "cli-1", "--var", "customer=Ann", "--var", "card=4711")
    assert (run.stdout, run.stderr) == ("cli-1\n", "")
    send = halter.command("send", "cli-1", "address-changed", "12", "--id", "e1")
    assert [line.split()[1] for line in send.stdout.splitlines()][:2] == ["ExternalEventPosted", "Halt"]
    again = halter.command("send", "cli-1", "address-changed", "12", "--id", "e1")
    assert again.returncode == 1
    assert again.stderr.startswith("halter: ALREADY_EXISTS:")
    show = halter.command("show", "cli-1")
    assert 'address = "12"' in show.stdout
    assert "4711" not in show.stdout
    assert "4711" in halter.command("show", "cli-1", "--unmask").stdout
    history = halter.command("history", "cli-1")
    assert "external-events[" in history.stdout
    assert "@" in history.stdout
    assert "4711" not in history.stdout
    as_json = [json.loads(line) for line in halter.command("history", "cli-1", "--json").stdout.splitlines()]
    assert [entry["seq"] for entry in as_json] == list(range(1, len(as_json) + 1))
    assert halter.command("stop", "cli-1").returncode == 0
    assert json.loads(halter.command("show", "cli-1", "--json").stdout)["status"] == "HALTED"
    assert "Resume" in halter.command("resume", "cli-1").stdout
    assert "WfRunDeleted" in halter.command("delete", "cli-1").stdout


def test_the_command_line_says_what_becomes_of_an_event_that_nothing_takes(halter: Halter, client: Client) -> None:
    early = halter.command("send", "too-early", "page-seen", "/", "--id", "e1")
    assert (early.returncode, "ExternalEventPosted" in early.stdout) == (0, True)
    assert "there is no WfRun 'too-early' yet: page-seen e1 is kept for the one" in " ".join(early.stderr.split())
    ended = client.get(client.run("nap-0").wf_run_id, until="ended").wf_run_id
    late = halter.command("send", ended, "page-seen", "/", "--id", "e1", "--json")
    assert json.loads(late.stdout)["note"] == f"page-seen e1 changes nothing: WfRun '{ended}' is COMPLETED"


def test_the_command_line_starts_a_wf_run_for_an_event(halter: Halter) -> None:
    to_start = ("--start", "cart", "--var", "customer=Ann", "--var", "card=4711")
    send = halter.command("send", "cli-2", "page-seen", "/", "--id", "p1", *to_start)
    told = [line.split()[1] for line in send.stdout.splitlines()]
    assert told[0] == "WfRunStarted"
    assert "ExternalEventPosted" in told
    assert "4711" not in send.stdout
    again = halter.command("send", "cli-2", "page-seen", "/", "--id", "p1", *to_start)
    assert again.stderr.startswith("halter: ALREADY_EXISTS: RunWfAndPost for WfRun 'cli-2'")
    history = halter.command("history", "cli-2").stdout
    assert "external-events[" not in history
    assert "by RunWf (wf-commands[" in halter.command("why", "cli-2").stdout
    refused = halter.command("send", "cli-3", "page-seen", "/", "--id", "p2", "--start", "card")
    assert "NOT_FOUND: RunWfAndPost for WfRun 'cli-3': there is no WfSpec 'card'" in refused.stderr
    assert "did you mean 'cart'" in refused.stderr
    assert "page-seen p2 was rejected" in halter.command("why-not", "cli-3", "p2").stdout
    for more, sentence in {
        ("--var", "a=1"): "--var says how to start a WfRun: add --start SPEC",
        ("--start", "cart", "--thread", "1"): "--thread is for a WfRun that runs already",
    }.items():
        wrong = halter.command("send", "cli-3", "checkout", *more)
        assert (wrong.returncode, sentence in " ".join(wrong.stderr.split())) == (2, True)


def test_why_why_not_and_cause_find_what_kafka_has(halter: Halter, client: Client) -> None:
    wf_run_id = start(client)
    posted = client.post(wf_run_id, "cancelled", "too dear", event_id="e1")
    posted.outcome()
    place = posted.topic, str(posted.partition), str(posted.offset)
    told = json.loads(halter.command("why", wf_run_id, "--json").stdout)
    (leaf,) = told["threads"]["0"]["leaves"]
    hold = told["threads"]["0"]["holds"][0]
    assert [str(hold["external_event"]["cause"][it]) for it in ("topic", "partition", "offset")] == list(place)
    assert [it["input"] for it in told["threads"][str(leaf["thread"])]["holds"][leaf["hold"]]["frees"]] == [
        "ReportTaskRun", "TimerFired",
    ]  # fmt: skip
    caused = json.loads(halter.command("cause", *place, "--json").stdout)
    assert (caused["command"], caused["fields"]["content"]) == ("ExternalEvent", "too dear")
    requested = next(it for it in caused["events"] if it["event"] == "TaskAttemptRequested")
    back = halter.command("cause", "--wf-run", wf_run_id, "--event", str(requested["seq"]))
    assert back.stdout.startswith(f"{place[0]}[{place[1]}]@{place[2]} at ")
    task_requests = client.reader.read(client.topics.task_requests, posted.partition, 0)
    (of_it,) = [it.offset() for it in task_requests if it.key() == wf_run_id.encode()]
    asked = halter.command("cause", "task-requests", place[1], str(of_it)).stdout
    assert f"is the TaskRequest for release-stock, attempt 1 in #2 of event {requested['seq']}" in asked

    # What the log does not know is looked for where it may be.
    assert "started handler #2" in halter.command("why-not", wf_run_id, "e1").stdout
    producer = Producer(client.settings.producer())
    producer.produce(client.topics.external_events, b"not Avro, with e9 in it", wf_run_id, posted.partition)
    assert producer.flush(10) == 0
    wait_until("the dead letter", lambda: "is a dead letter" in halter.command("why-not", wf_run_id, "e9").stdout, 20)
    nothing = halter.command("why-not", wf_run_id, "e8").stderr
    assert (
        "there is no record with this id in its partition of external-events or wf-commands, or on dead-letters"
        in nothing
    )
    assert "expected one of the topics" in halter.command("cause", "nowhere", "0", "0").stderr
    assert "found 'wf-evnets' (did you mean wf-events?)" in halter.command("cause", "wf-evnets", "0", "0").stderr
    assert "wf-commands has the partitions 0 to 2, found 7" in halter.command("cause", "wf-commands", "7", "0").stderr


# (rules cancellation-is-advice, stops-cancel)
def test_a_stop_is_told_to_who_has_the_attempt_and_leads_back_to_its_command(halter: Halter, client: Client) -> None:
    wf_run_id = start(client)
    client.post(wf_run_id, "cancelled", "too dear", event_id="e1").outcome()
    stopped = client.stop(wf_run_id)
    [halt, *_] = stopped.outcome()

    def told() -> list[Message]:
        read = client.reader.read(client.topics.task_cancellations, stopped.partition, 0)
        return [it for it in read if it.key() == wf_run_id.encode()]

    wait_until("the cancellation", told)
    [record] = told()
    cancellation = client.codec.decode(record.value() or b"")
    assert isinstance(cancellation, TaskCancellation)
    assert (cancellation.reason, cancellation.task_def, cancellation.seq) == ("STOPPED", "release-stock", halt.seq)
    back = halter.command("cause", "task-cancellations", str(stopped.partition), str(record.offset())).stdout
    assert f"is the TaskCancellation (STOPPED) of release-stock, attempt 1 in #2 of event {halt.seq} of" in back
    assert "StopWfRun" in back


def test_what_is_not_folded_yet_is_told_with_how_far_the_partition_is(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    installation = Halter(bootstrap, prefix, tmp_path, partitions=1)
    with installation.client() as client:
        for number in range(3):
            client.post("w", "e", event_id=f"e{number}")
        said = installation.command("why-not", "w", "e2").stdout
    assert "is not folded yet (external-events[0]@2): nothing of external-events[0] has been folded" in said


def test_the_command_line_says_what_is_wrong_and_exits_with_1(halter: Halter, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("wf_specs: [{name: x, entrypoint: main, threads: {}}]\n")
    attempts = {
        ("spec", "put", str(bad)): "bad.yaml:1:",
        ("spec", "get", "nothing"): "expected a definition named 'nothing'",
        ("spec", "show", "nothing"): "expected a WfSpec or TaskDef named 'nothing'",
        ("run", "nothing"): "NOT_FOUND: RunWf",
        ("run", "cart"): "INVALID_ARGUMENT: RunWf",
        ("send", "nobody", "nothing"): "there is no ExternalEventDef 'nothing'",
        ("show", "nobody"): "there is no WfRun 'nobody'",
        ("history", "nowhere"): "there is no event of a WfRun 'nowhere' at",
        ("rescue", "nobody"): "NOT_FOUND",
    }
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda arguments: halter.command_in_a_process(*arguments), attempts))
    for (arguments, sentence), answer in zip(attempts.items(), answers, strict=True):
        assert (answer.returncode, answer.stdout) == (1, ""), arguments
        assert sentence in answer.stderr, answer.stderr
        assert "Traceback" not in answer.stderr
    assert halter.command("show").returncode == 2


def test_what_was_refused_on_the_cluster_is_told_by_spec_put(halter: Halter, tmp_path: Path) -> None:
    file = tmp_path / "refused.yaml"
    file.write_text(
        "external_events: {only-there: {}}\n"
        "wf_specs:\n"
        "  - name: refused\n"
        "    entrypoint: main\n"
        "    threads:\n"
        "      main:\n"
        "        nodes:\n"
        "          a: {kind: ENTRYPOINT, next: b}\n"
        "          b: {kind: TASK, task: no-such-task, next: c}\n"
        "          c: {kind: EXIT}\n"
    )
    answer = halter.command("spec", "put", str(file))
    assert answer.returncode == 1
    assert "not sent     ExternalEventDef only-there" in answer.stdout
    assert "refused      WfSpec refused" in answer.stdout
    assert "only-there" not in halter.command("spec", "list").stdout
    assert "no-such-task" in answer.stdout
    listed = halter.command("spec", "list", "--json")
    assert any({"kind": "WfSpec", "name": "cart"}.items() <= it.items() for it in json.loads(listed.stdout))
    assert "charge-card" in halter.command("spec", "get", "cart").stdout
    drawn = halter.command("spec", "show", "cart", "--mermaid").stdout
    assert drawn.startswith("flowchart")
    assert "add-item" in drawn
