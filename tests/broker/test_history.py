"""The commands for debugging on a real Kafka and what a real worker wrote; and that an export of it says the same."""

import gzip
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from halter.client import Client
from halter.client.wf_run_rows import WfRunRows
from halter.files.definition_files import read_definition_file
from processors.core.records.commands import ExternalEvent, ReportTaskRun, TaskStatus
from processors.core.records.events import LogEntry, TaskAttemptRequested
from processors.kafka.partitioner import partition_of
from tests.support.command_line import halter
from tests.support.halter_processes import Halter
from tests.support.waiting import wait_until

CART = Path(__file__).parents[2] / "examples" / "cart" / "cart.yaml"
CARD = "card-12345678"
MUG = {"sku": "mug", "name": "Mug", "quantity": 2, "price_cents": 1450}
PARTITIONS = 3
IN_AN_EXPORT = ("cart-done", "cart-live", "cart-busy", "cart-again", "cart-gone", "cart-kept")


def installation(bootstrap: str, folder: Path, partitions: int) -> Halter:
    return Halter(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", folder, partitions)


def define(client: Client, folder: Path) -> None:
    """Register the cart, with tasks that do not time out while a slow machine runs the tests."""
    text = CART.read_text(encoding="utf-8")
    for task in ("timeout_s: 60", "task: release-stock, "):
        assert text.count(task) == 1
        text = text.replace(task, task.replace("60", "36000") if "60" in task else f"{task}timeout_s: 36000, ")
    file = folder / "cart.yaml"
    file.write_text(text, encoding="utf-8")
    for command in read_definition_file(file).commands:
        client.put(command)


def start(client: Client, wf_run_id: str) -> None:
    client.run("cart", {"customer": "Ann", "card": CARD}, wf_run_id=wf_run_id).outcome()


def post(client: Client, wf_run_id: str, name: str, event_id: str, content: Any = None) -> list[LogEntry]:
    return client.post(wf_run_id, name, content, event_id=event_id).outcome()


def report(client: Client, entries: list[LogEntry], output: str | None) -> None:
    """Report the task attempt that is requested in some events."""
    (entry,) = (it for it in entries if isinstance(it.event, TaskAttemptRequested))
    event: Any = entry.event
    attempt = (entry.wf_run_id, entry.incarnation, event.thread, event.position, event.attempt)
    client.send(ReportTaskRun(*attempt, TaskStatus.SUCCESS, output)).outcome()


@pytest.fixture(scope="module")
def carts(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Halter:
    """An installation in which carts had happen to them all that these commands tell of. Its worker has stopped."""
    it = installation(bootstrap, tmp_path_factory.mktemp("carts"), PARTITIONS)
    with it.worker(), it.client() as client:
        define(client, it.folder)
        for wf_run_id in IN_AN_EXPORT:
            start(client, wf_run_id)
        post(client, "cart-done", "item-added", "e1", MUG)
        post(client, "cart-done", "slot-chosen", "s1", "monday")
        charging = post(client, "cart-done", "checkout", "c1")
        post(client, "cart-done", "address-changed", "a1", "12 Harbour Street")
        for event_id in ("p1", "p2"):
            post(client, "cart-done", "page-seen", event_id, "/mugs")
        report(client, charging, "receipt-1")
        for wf_run_id in ("cart-again", "cart-gone"):
            client.delete(wf_run_id).outcome()
        start(client, "cart-again")
        client.quarantine("cart-kept", "to see", "ann").outcome()
        post(client, "cart-kept", "page-seen", "p1", "/mugs")
        post(client, "cart-live", "item-added", "e1", MUG)
        with pytest.raises(Exception, match="ALREADY_EXISTS"):
            post(client, "cart-live", "item-added", "e1", MUG)
        post(client, "cart-live", "cancelled", "x1", "too dear")
        post(client, "cart-busy", "slot-chosen", "s1", "monday")
        post(client, "cart-busy", "checkout", "c1")
        post(client, "cart-busy", "address-changed", "a1", "12 Harbour Street")
        misplace(it, client, "cart-live", "lost")
        post(client, "cart-live", "slot-chosen", "s1", "monday")
    return it


def misplace(it: Halter, client: Client, wf_run_id: str, event_id: str) -> None:
    """Produce an ExternalEvent with the key of another WfRun, which becomes a dead letter."""
    producer = Producer(it.settings.producer())
    value = client.codec.encode(ExternalEvent(wf_run_id, "page-seen", event_id, "/"))
    partition = partition_of(wf_run_id.encode(), PARTITIONS)
    producer.produce(it.topics.external_events, value, b"another", partition=partition)
    assert producer.flush(10) == 0


@dataclass
class Asking:
    """Runs commands of one installation in this process."""

    capsys: pytest.CaptureFixture[str]
    where: tuple[str, ...]

    def said(self, *words: str) -> tuple[int, str, str]:
        code, out, err = halter(self.capsys, *words, *(() if "--file" in words else self.where))
        assert CARD not in out + err, "masked"
        return code, out, err

    def text(self, *words: str) -> str:
        code, out, err = self.said(*words)
        assert code == 0, err
        return out

    def data(self, *words: str) -> Any:
        """What a command says as JSON; of `history` a list."""
        out = self.text(*words, "--json")
        return list(map(json.loads, out.splitlines())) if words[0] == "history" else json.loads(out)

    def refused(self, *words: str) -> str:
        code, out, err = self.said(*words)
        assert (code in (1, 2), out) == (True, ""), out
        *_, sentence = err.splitlines()
        assert sentence.startswith("halter: "), err
        assert "unexpected" not in err, err
        return sentence


def asking(it: Halter, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> Asking:
    patch.setenv("HALTER_PARTITIONS", str(it.topics.partitions))
    return Asking(capsys, ("--bootstrap", it.settings.bootstrap, "--prefix", it.settings.prefix))


@pytest.fixture
def ask(carts: Halter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Asking:
    return asking(carts, capsys, monkeypatch)


@pytest.fixture
def exported(ask: Asking, tmp_path: Path) -> Path:
    file = tmp_path / "carts.halter"
    ask.text("export", *IN_AN_EXPORT, "--previous", "-o", str(file))
    return file


# An export says what Kafka says.

SAME = [
    ("history", "cart-live"),
    ("history", "cart-again"),
    ("history", "cart-again", "--previous"),
    ("history", "cart-gone"),
    ("history", "cart-kept", "--thread", "0"),
    ("state", "cart-live"),
    ("state", "cart-live", "--at", "5"),
    ("state", "cart-done", "--at", "-3"),
    ("diff", "cart-live", "1"),
    ("diff", "cart-live", "--with", "cart-done"),
    ("why", "cart-done"),
    ("why", "cart-gone"),
    ("why", "cart-kept", "--at", "-1"),
    ("why", "cart-live", "--at", "-1"),
    ("why-not", "cart-live", "e1"),
    ("why-not", "cart-done", "p1"),
    ("why-not", "cart-busy", "a1"),
    ("why-not", "cart-live", "s1"),
    ("why-not", "cart-kept", "p1"),
    ("cause", "--wf-run", "cart-live", "--event", "1"),
    ("cause", "--wf-run", "cart-done", "--event", "14"),
]  # fmt: skip


def test_an_export_says_what_kafka_says(ask: Asking, exported: Path) -> None:
    for words in SAME:
        assert ask.data(*words, "--file", str(exported)) == ask.data(*words), words
    live, of_file = (ask.data("verify", "cart-live", *where) for where in ((), ("--file", str(exported))))
    assert live["same"]
    assert of_file["same"]
    assert live["events"] == of_file["events"]
    pages = [ask.text("timeline", "cart-live", "--mermaid", *where) for where in ((), ("--file", str(exported)))]
    assert pages[0] == pages[1]


def test_an_export_of_a_live_wf_run_becomes_a_test_that_is_ok(ask: Asking, exported: Path, tmp_path: Path) -> None:
    for number, where in enumerate(((), ("--file", str(exported)))):
        document = str(tmp_path / f"{number}.yaml")
        ask.text("scenario", "from-history", "cart-live", "-o", document, *where)
        code, out, _ = halter(ask.capsys, "scenario", "run", document)
        assert code == 0, out


# What each of them says.


def test_a_history_has_the_former_wf_runs_only_if_they_are_asked_for(ask: Asking) -> None:
    now, ever = ask.data("history", "cart-again"), ask.data("history", "cart-again", "--previous")
    assert [it["event"] for it in now] == ["WfRunStarted", *(it["event"] for it in now[1:])]
    assert ever[-len(now) :] == now
    assert [it["event"] for it in ever].count("WfRunStarted") == 2


def test_a_history_that_is_followed_goes_on_with_what_happens(carts: Halter) -> None:
    command = [sys.executable, "-m", "halter", "history", "cart-again", "--follow", "--json"]
    with (
        carts.worker("again"),
        carts.client() as client,
        subprocess.Popen(
            command, env=carts.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as following,
    ):
        assert following.stdout is not None
        first = json.loads(following.stdout.readline())
        assert first["event"] == "WfRunStarted"
        entries = post(client, "cart-again", "address-changed", "a9", "3 Mill Lane")
        seen: list[int] = []
        while entries[-1].seq not in seen and (line := following.stdout.readline()):
            seen.append(json.loads(line)["seq"])
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 130
    assert seen == list(range(2, entries[-1].seq + 1))


def test_a_state_and_a_difference_have_what_was_then(ask: Asking) -> None:
    before = ask.data("state", "cart-done", "--at", "1")["state"]["threads"]["0"]["variables"]
    assert (before["total_cents"], before["card"]) == (0, "[redacted]")
    changes = ask.data("diff", "cart-live", "1")["changes"]
    assert {"path": ["threads", 0, "variables", "total_cents"], "before": 0, "after": 2900} in changes


def test_why_follows_a_halted_cart_down_to_the_task_that_frees_it(ask: Asking) -> None:
    told = ask.text("why", "cart-live")
    assert "because ExternalEvent cancelled x1 (external-events[" in told
    assert "which waits for task release-stock, attempt 1 of 1, out since " in told
    assert "is QUARANTINED since " in ask.text("why", "cart-kept")
    assert " is COMPLETED since " in ask.text("why", "cart-done")


WHY_NOT = [
    ("cart-live", "s1", ["UNCLAIMED"], "takes it at node choose when it runs again"),
    ("cart-live", "e1", ["HANDLED", "REJECTED"], "ALREADY_EXISTS"),
    ("cart-done", "p1", ["SUPERSEDED"], "was superseded by p2"),
    ("cart-busy", "a1", ["PENDING"], "its handler has not started"),
    ("cart-live", "lost", ["DEAD_LETTER"], "is a dead letter (dead-letters["),
    ("cart-kept", "p1", ["KEPT"], "`halter release cart-kept` has it decided"),
    ("cart-done", "c1", ["CLAIMED"], "was claimed by node wait"),
]


@pytest.mark.parametrize(("wf_run_id", "event_id", "fates", "words"), WHY_NOT, ids=str)
def test_why_not_tells_each_fate(ask: Asking, wf_run_id: str, event_id: str, fates: list[str], words: str) -> None:
    told = ask.data("why-not", wf_run_id, event_id)["became"]
    assert [it["fate"] for it in told] == fates
    assert words in told[-1]["sentence"]


def test_what_no_worker_has_folded_is_not_folded_yet_and_then_it_is(ask: Asking, carts: Halter) -> None:
    with carts.client() as client:
        posted = client.post("cart-again", "page-seen", "/", event_id="new")
        (told,) = ask.data("why-not", "cart-again", "new")["became"]
        assert told["fate"] == "NOT_FOLDED"
        assert "it is next" in told["sentence"]
        with carts.worker("again"):
            posted.outcome()
    (told,) = ask.data("why-not", "cart-again", "new")["became"]
    assert told["fate"] == "HANDLED"


def place(record: dict[str, Any]) -> list[str]:
    return [str(record[name]) for name in ("topic", "partition", "offset")]


def test_a_cause_leads_from_a_record_to_what_it_caused_and_from_each_of_these_back(ask: Asking, carts: Halter) -> None:
    by_event = ask.data("cause", "--wf-run", "cart-live", "--event", "1")
    caused = ask.data("cause", *place(by_event["record"]))
    assert caused["events"] == by_event["events"]
    assert caused["command"] == "RunWf"
    partition = partition_of(b"cart-live", PARTITIONS)
    for event in caused["events"]:
        back = ask.data("cause", "wf-events", str(partition), str(event["offset"]))
        assert back["record"] == by_event["record"]
    lines = ask.text("cause", "dead-letters", str(partition), str(dead_letter(carts, partition))).splitlines()
    assert lines[0].endswith("is a dead letter")
    assert "external-events[" in lines[1]
    request = newest(carts, "task-requests", b"cart-live")
    lines = ask.text("cause", "task-requests", *map(str, request)).splitlines()
    assert "is the TaskRequest for release-stock, attempt 1" in lines[0]
    assert "ExternalEvent" in lines[1]
    row = newest(carts, "thread-runs", b"cart-live/0")
    assert "is a ThreadRun of event " in ask.text("cause", "thread-runs", *map(str, row)).splitlines()[0]


def newest(it: Halter, topic: str, key: bytes) -> tuple[int, int]:
    """Return partition and offset of the last record of a key."""
    with it.client() as client:
        found = [
            (partition, message.offset() or 0)
            for partition in range(PARTITIONS)
            for message in client.reader.read(it.topics.prefix + topic, partition, 0)
            if message.key() == key
        ]
    return found[-1]


def dead_letter(it: Halter, partition: int) -> int:
    with it.client() as client:
        (message,) = client.reader.read(it.topics.dead_letters, partition, 0)
    return message.offset() or 0


def test_everything_verifies_and_rows_are_what_the_log_says(ask: Asking, carts: Halter) -> None:
    found = ask.data("verify", "--all")
    assert (found["same"], found["not_verified"], found["dead_letters"]) == (True, {}, 1)
    for partition in range(PARTITIONS):
        assert ask.data("check-state", "--partition", str(partition))["same"]


# What bad input gets.

UNKNOWN = [
    ("show", "cart-liv"),
    ("history", "cart-liv"),
    ("state", "cart-liv"),
    ("diff", "cart-liv", "1"),
    ("why", "cart-liv"),
    ("why-not", "cart-liv", "e1"),
    ("cause", "--wf-run", "cart-liv", "--event", "1"),
    ("timeline", "cart-liv"),
    ("verify", "cart-liv"),
    ("export", "cart-liv", "-o", "never"),
    ("scenario", "from-history", "cart-liv"),
]


@pytest.mark.parametrize("words", UNKNOWN, ids=lambda words: words[0])
def test_an_id_that_is_not_there_gets_one_that_is_like_it(ask: Asking, words: tuple[str, ...]) -> None:
    assert "did you mean 'cart-live'?" in ask.refused(*words)


def test_of_a_deleted_wf_run_there_is_what_the_log_has(ask: Asking) -> None:
    assert ask.data("history", "cart-gone")[-1]["event"] == "WfRunDeleted"
    assert "cart-gone was deleted at " in ask.text("why", "cart-gone")
    assert ask.data("state", "cart-gone", "--at", "1")["state"]["status"] == "RUNNING"
    code, out, err = ask.said("state", "cart-gone")
    assert (code, out.count("\n")) == (0, 1), "no threads"
    seq = ask.data("history", "cart-gone")[-2]["seq"]
    assert f"it was deleted; --at {seq} shows it as it was before" in err
    assert "if it was deleted, `halter history cart-gone` shows its events" in ask.refused("show", "cart-gone")


def test_a_time_before_the_first_event_and_a_seq_beyond_the_last_get_a_sentence(ask: Asking) -> None:
    assert "has no event up to 1999-12-31" in ask.refused("state", "cart-live", "--at", "1999-12-31")
    assert "has no event 4711: there are 1 to " in ask.refused("state", "cart-live", "--at", "4711")


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def without_a_line(data: bytes) -> bytes:
    lines = gzip.decompress(data).splitlines(keepends=True)
    return gzip.compress(b"".join([*lines[:4], *lines[5:]]))


@pytest.mark.parametrize("change", [truncated, without_a_line], ids=lambda it: it.__name__)
def test_an_export_that_was_changed_gets_a_sentence(
    ask: Asking, exported: Path, change: Callable[[bytes], bytes]
) -> None:
    exported.write_bytes(change(exported.read_bytes()))
    for command in ("history", "state", "why", "verify"):
        sentence = ask.refused(command, "cart-done", "--file", str(exported))
        assert ("cut off" in sentence) == (change is truncated)
        assert ("was changed" in sentence) == (change is without_a_line)


def test_verify_finds_an_event_that_somebody_put_in_the_place_of_another(ask: Asking, exported: Path) -> None:
    lines = list(map(json.loads, gzip.decompress(exported.read_bytes()).splitlines()))
    events = [line for line in lines if line["kind"] == "event"]
    events[4]["value"] = events[7]["value"]
    exported.write_bytes(gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines)))
    code, out, _ = ask.said("verify", "cart-done", "--file", str(exported))
    assert code == 1
    assert "cart-done, event 5, because of wf-commands[" in out
    for command in ("history", "state", "why", "diff"):
        _, _, err = ask.said(command, "cart-done", *(["2"] if command == "diff" else []), "--file", str(exported))
        assert "unexpected" not in err


# A log that was cut.


def folded_into_rows(client: Client) -> int:
    """Return how many records of `external-events` the rows of partition 0 stand for."""
    _, position = WfRunRows(client.reader, client.topics, client.codec).of("cart-half", 0)
    return 0 if position is None else position.offsets["external-events"]


@pytest.fixture(scope="module")
def cut(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Halter:
    """An installation whose log has lost the first events of one cart, and all of another, as by its retention."""
    it = installation(bootstrap, tmp_path_factory.mktemp("cut"), 1)
    with it.worker(), it.client() as client:
        define(client, it.folder)
        for wf_run_id in ("cart-lost", "cart-half"):
            start(client, wf_run_id)
        post(client, "cart-half", "item-added", "e1", MUG)
        _, _, begin, *_ = (placed.offset for placed in client.wf_runs.events("cart-half", from_start=True))
        wait_until("the rows", lambda: folded_into_rows(client) == 1)
    admin = AdminClient(it.settings.admin())
    partition = TopicPartition(it.topics.wf_events, 0, begin)
    for future in admin.delete_records([partition]).values():
        future.result(20)
    with it.client() as client:
        wait_until("the cut", lambda: client.reader.bounds(it.topics.wf_events, 0)[0] == begin)
    return it


@pytest.fixture
def ask_cut(cut: Halter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Asking:
    return asking(cut, capsys, monkeypatch)


def test_of_a_wf_run_that_lost_its_beginning_there_is_what_is_left(ask_cut: Asking, tmp_path: Path) -> None:
    code, out, err = ask_cut.said("history", "cart-half")
    assert (code, "SpawnChild" in out) == (0, True), err
    assert "no longer has the beginning" in err
    for words in (("state", "cart-half"), ("diff", "cart-half", "-1"), ("scenario", "from-history", "cart-half")):
        assert "`halter history cart-half` shows the events that are left" in ask_cut.refused(*words)
    code, out, err = ask_cut.said("why", "cart-half")
    assert (code, "waits for ExternalEvent checkout" in out) == (0, True), err
    assert "some causes are unknown" in err
    file = str(tmp_path / "half.halter")
    ask_cut.text("export", "cart-half", "-o", file)
    assert ask_cut.data("history", "cart-half", "--file", file) == ask_cut.data("history", "cart-half")


def test_of_a_wf_run_whose_log_is_gone_there_is_its_row(ask_cut: Asking) -> None:
    assert "there is no event of a WfRun 'cart-lost'" in ask_cut.refused("history", "cart-lost")
    assert "waits for ExternalEvent checkout" in ask_cut.text("show", "cart-lost")


def test_a_log_that_was_cut_is_verified_as_far_as_it_is_there(ask_cut: Asking) -> None:
    found = ask_cut.data("verify", "--all")
    assert found["same"]
    assert found["not_verified"], found
