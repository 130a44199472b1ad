"""Rules of `halter demo`: it runs its example on a Kafka of its own, and its check finds what is wrong."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from halter.client import Client
from halter.demo.ledger import Ledger, LedgerReader
from processors.codec import Record
from processors.core.records.commands import ExternalEvent, StopWfRun
from processors.core.records.events import Cause, LogEntry, Rejected, RejectionCode, TaskRequest, ThreadHalted
from tests.support.halter_processes import Halter
from tests.support.waiting import wait_until


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KAFKA_")}
    # Variables for other clusters must not reach the demo's processes.
    environment |= {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "halter", "demo", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
        stdin=subprocess.DEVNULL,
    )


def processes_naming(text: str) -> list[int]:
    """Return the ids of processes whose command line has this text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text in (folder / "cmdline").read_text(encoding="utf-8", errors="replace"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.timeout(180)
def test_the_demo_runs_the_main_job_on_a_kafka_of_its_own_and_leaves_nothing(tmp_path: Path) -> None:
    os.environ["TMPDIR"] = str(tmp_path)
    try:
        answer = demo("--records", "900", "--rate", "300", "--partitions", "3")
    finally:
        del os.environ["TMPDIR"]
    said = answer.stdout
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert said.endswith("CHECK PASSED\n")
    for name in ("Halt", "ThreadHalted", "SpawnChild", "Resume"):
        assert re.search(rf"E  {name} .*(external-events|task-reports|wf-commands)\[\d\]@\d+", said), said
    assert "Rejected ALREADY_EXISTS ExternalEvent" in said
    assert "dead letter UNDECODABLE external-events" in said
    assert "ok  every input has exactly one outcome" in said
    assert re.search(r"kill -9 +after \d+ of 900 records", said)
    assert re.search(r"latency +p50 \d+ ms, p99 \d+ ms", said)
    assert "\033[" not in said
    assert list(tmp_path.iterdir()) == []
    if Path("/proc").is_dir():
        assert processes_naming(str(tmp_path)) == []


@pytest.mark.timeout(180)
def test_what_is_kept_goes_on_until_a_signal(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    options = ("--bootstrap", bootstrap, "--prefix", prefix, "--records", "300", "--partitions", "3")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KAFKA_")}
    said = tmp_path / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "halter", "demo", "--keep", *options],
            env={**environment, "TMPDIR": str(tmp_path)},
            stdout=out,
            stderr=out,
        )
    try:

        def is_up() -> bool:
            assert process.poll() is None, said.read_text()
            return "Ctrl-C ends everything" in said.read_text()

        wait_until("the demo", is_up, 150)
        text = said.read_text()
        exports = re.search(r"^  (export .*)$", text, re.MULTILINE)
        assert exports, text
        commands = re.findall(r"^  (halter .*)$", text, re.MULTILINE)
        assert len(commands) == 7, text
        for command in commands:
            pasted = f"{exports[1]}\n{command}"
            done = subprocess.run(
                ["bash", "-c", pasted], env=environment, capture_output=True, text=True, check=False, timeout=60
            )
            assert done.returncode == 0, f"{command}: {done.stderr}"
            assert done.stdout, command
        process.terminate()
        assert process.wait(30) == 0
        assert processes_naming(str(tmp_path)) == []
        assert [it.name for it in tmp_path.iterdir()] == ["said"]
    finally:
        process.kill()


# The check.


@pytest.fixture
def halter(bootstrap: str, prefix: str, tmp_path: Path) -> Halter:
    return Halter(bootstrap, prefix, tmp_path, partitions=1)


@pytest.fixture
def client(halter: Halter) -> Iterator[Client]:
    with halter.client() as it:
        yield it


def check(client: Client) -> Ledger:
    return LedgerReader(client.reader, client.topics, client.codec).read()


def problems(client: Client) -> str:
    ledger = check(client)
    assert not ledger.holds
    return "\n".join(problem for check in ledger.checks for problem in check.problems)


def write(client: Client, topic: str, record: Record, key: str = "c1") -> None:
    """Write records that no worker would have written."""
    producer = Producer(client.settings.producer())
    producer.produce(client.topics.prefix + topic, key=key.encode(), value=client.codec.encode(record), partition=0)
    assert producer.flush(20) == 0


def rejected(offset: int) -> LogEntry:
    cause = Cause("external-events", 0, offset, None, 0)
    event = Rejected("ExternalEvent", RejectionCode.INVALID_ARGUMENT, "there is no ExternalEventDef 'x'")
    return LogEntry("c1", -1, 0, 0, cause, event)


def test_the_check_passes_what_a_worker_wrote(halter: Halter, client: Client) -> None:
    with halter.worker():
        client.put_external_event_def("seen")
        client.post_all([ExternalEvent("c1", "seen", "e1"), StopWfRun("c1")])
        write(client, "external-events", StopWfRun("c1"))
        wait_until("all is folded", lambda: check(client).holds)
    ledger = check(client)
    assert ledger.holds
    assert {(refusal.what, refusal.code) for refusal in ledger.refusals()} >= {
        ("StopWfRun", "Rejected NOT_FOUND"), ("external-events", "dead letter WRONG_RECORD"),
    }  # fmt: skip


def test_the_check_finds_an_input_without_an_outcome(client: Client) -> None:
    client.post_all([ExternalEvent("c1", "x", "e1"), ExternalEvent("c1", "x", "e2")])
    write(client, "wf-events", rejected(0))
    assert "external-events[0]@1 has 0 outcomes" in problems(client)


def test_the_check_finds_a_second_outcome(client: Client) -> None:
    client.post_all([ExternalEvent("c1", "x", "e1"), ExternalEvent("c1", "x", "e2")])
    for offset in (0, 1, 0):
        write(client, "wf-events", rejected(offset))
    assert "external-events[0]@0 has a second outcome at wf-events[0]@2" in problems(client)


def test_the_check_finds_a_refusal_twice_in_a_row(client: Client) -> None:
    client.post_all([ExternalEvent("c1", "x", "e1")])
    for _ in range(2):
        write(client, "wf-events", rejected(0))
    assert "external-events[0]@0 was refused and had effects" in problems(client)


def test_the_check_finds_an_outcome_of_nothing(client: Client) -> None:
    write(client, "wf-events", rejected(7))
    assert "external-events[0]@7 has an outcome, but is not there" in problems(client)


def test_the_check_finds_a_gap_and_a_task_that_nobody_asked_for(client: Client) -> None:
    cause = Cause("external-events", 0, 0, None, 0)
    client.post_all([ExternalEvent("c1", "x", "e1")])
    write(client, "wf-events", LogEntry("c1", 0, 3, 0, cause, ThreadHalted(0)))
    write(client, "task-requests", TaskRequest("c1", 0, 0, 1, 1, "charge", {}, 0, 0))
    found = problems(client)
    assert "WfRun c1: expected event 1, found 3" in found
    assert "0 times on the log, 1 times on task-requests" in found
    assert "WfRun c1: its log cannot be replayed" in found
