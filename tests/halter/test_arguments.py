"""What is wrong with the arguments of a command is told before Kafka is asked: no connection is made."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.halter.test_no_kafka import ARGUMENTS
from tests.support.command_line import all_commands, halter

LONG = "x" * 5_000
MOMENT = "expected a seq (57), a number of events back (-3) or a time"
EMPTY = "found an empty text"
NO_RECORD = str(Path(__file__).parents[2] / "docs" / "monitoring" / "dashboard.json")
NO_FOLDER = "found no folder /nowhere"

WRONG: dict[str, list[tuple[list[str], str]]] = {
    "run": [
        ([""], EMPTY),
        (["cart", "--id", ""], EMPTY),
        (["cart", "--version", "x"], "expected MAJOR"),
        (["cart", "--version", "9" * 20], "expected MAJOR"),
        (["cart", "--var", "x"], "expected NAME=VALUE"),
        (["cart", "--timeout", "nan"], "expected a number of seconds, found nan"),
        (["cart", "--timeout", "inf"], "expected a number of seconds, found inf"),
        (["cart", "--connect-timeout", "nan"], "expected a number of seconds, found nan"),
    ],
    "send": [
        (["w", ""], EMPTY),
        (["w", "e", "x", "--no-content"], "expected CONTENT or --no-content, found both"),
        (["w", "e", "--id", ""], EMPTY),
        (["w", "e", "--start", ""], EMPTY),
        (["w", "e", "--start", "s", "--version", "1.x"], "expected MAJOR"),
        (["w", "e", "--thread", "9" * 20], "is not in the range"),
        (["w", "e", "--var", "a=1"], "add --start SPEC"),
    ],
    "stop": [
        (["w", "--thread", "9" * 20], "is not in the range"),
        (["w", "--reason", LONG], "--reason: expected at most 1,000 characters, found 5,000"),
        (["w", "--operator", LONG], "--operator: expected at most 256 characters, found 5,000"),
    ],
    "resume": [(["w", "--reason", LONG], "expected at most")],
    "rescue": [(["w", "--reason", LONG], "expected at most")],
    "delete": [(["w", "--reason", LONG], "expected at most")],
    "quarantine": [(["w", "--reason", LONG], "expected at most")],
    "release": [(["w", "--operator", LONG], "expected at most")],
    "migrate": [(["w", "--to", "x"], "expected MAJOR")],
    "show": [([""], EMPTY)],
    "correlate": [
        (["", "e"], EMPTY),
        (["k", ""], EMPTY),
        (["k", "e", "--id", ""], EMPTY),
        (["k", "e", "x", "--no-content"], "found both"),
    ],
    "correlations": [(["", "e"], EMPTY), (["k", ""], EMPTY)],
    "fork": [
        (["w", "--at", "12x", "--as", "v"], MOMENT),
        (["w", "--at", "1", "--as", ""], EMPTY),
        (["w", "--at", "1", "--as", "v", "--spec", "x"], "expected MAJOR"),
        (["--at", "1", "--as", "v"], "expected WF_RUN"),
    ],
    "reset": [(["w", "--at", "12x"], MOMENT)],
    "state": [
        (["w", "--at", "12x"], MOMENT),
        (["w", "--at", ""], MOMENT),
        (["w", "--at", LONG], "found 5,000 characters"),
        ([""], EMPTY),
        ([], "expected WF_RUN"),
    ],
    "diff": [
        (["w", "12x"], MOMENT),
        (["w", "1", "12x"], MOMENT),
        (["w", "--with", ""], EMPTY),
        ([], "expected WF_RUN"),
    ],
    "history": [
        (["w", "--from", "12x"], MOMENT),
        (["w", "--to", "25:99"], MOMENT),
        (["w", "--event", "Nosuch"], "expected the name of an event"),
        ([], "expected WF_RUN"),
    ],
    "timeline": [(["w", "-o", "/nowhere/x.html"], NO_FOLDER), ([], "expected WF_RUN")],
    "export": [
        (["w", "-o", "/nowhere/x.halter"], NO_FOLDER),
        (["w", "-o", "/tmp"], "expected to write /tmp, found a folder there"),
        (["w", "", "-o", "x.halter"], EMPTY),
        (["w", "--otlp", "nosuch://x"], "expected http://HOST:PORT"),
        (["w", "--otlp", "http://"], "expected http://HOST:PORT"),
        (["w", "--otlp", "/nowhere/x.json"], NO_FOLDER),
    ],
    "why": [(["w", "--at", "12x"], MOMENT), ([], "expected WF_RUN")],
    "why-not": [(["w", ""], EMPTY), (["", "e"], EMPTY)],
    "cause": [
        (["nosuch", "0", "0"], "expected one of the topics"),
        (["external-events", "99", "0"], "has the partitions 0 to 7, found 99"),
        (["--wf-run", "", "--event", "1"], EMPTY),
    ],
    "verify": [
        ([""], EMPTY),
        (["partition/3"], "expected the id of a WfRun, found a partition"),
        (["w", "--rules", "/nowhere"], "expected a checkout of Halter"),
        ([], "found none"),
    ],
    "check-state": [(["--partition", "99"], "expected 0 to 7, found 99")],
    "replay": [
        (["--into", ""], "found an empty one"),
        (["--into", "a b"], "--into: expected letters, digits"),
        (["--into", "d-", "--from", "12x"], "--from: expected a time"),
        (["--into", "d-", "--to", "nosuch[0]@1"], "--to: expected an input record"),
        (["--into", "d-", "--from", "external-events[99]@1"], "expected 0 to 7, found 99"),
        (["--into", "d-", "--partition", "99"], "expected 0 to 7, found 99"),
        (["--into", "d-", "--wf-run", ""], EMPTY),
    ],
    "skip": [
        (["nosuch", "0", "0"], "expected one of the inputs"),
        (["wf-events", "0", "0"], "expected one of the inputs"),
        (["external-events", "99", "0"], "expected a partition from 0 to 7"),
    ],
    "dead-letters show": [(["x"], "expected PARTITION@OFFSET"), (["99@0"], "expected a partition from 0 to 7")],
    "dead-letters retry": [
        (["99@0"], "expected a partition from 0 to 7"),
        (["0@0", "--set", "x"], "expected FIELD=VALUE"),
        (["0@0", "--value", "/nowhere"], "/nowhere cannot be read"),
        (["0@0", "--value", NO_RECORD], "where RECORD is one of"),
    ],
    "bulk": [
        (["stop", "--all", "--run", "--rate", "nan"], "expected a number"),
        (["nosuch", "--all", "--run"], "ACTION: 'nosuch' is none"),
        (["fork", "--all", "--run", "--at", "12x"], MOMENT),
        (["stop", "--where", "x", "--run"], "--where: expected NAME=VALUE"),
        (["stop", "--where", "older-than=x", "--run"], "expected a duration"),
        (["stop", "--all", "--run", "--job", "nosuch"], "--job: expected the id"),
    ],
    "spec put": [(["/nowhere.yaml"], "there is no such file")],
    "spec get": [([""], EMPTY), (["cart", "--version", "x"], "expected MAJOR")],
    "spec show": [(["cart", "--version", "x"], "expected MAJOR")],
    "spec delete": [([""], EMPTY), (["cart", "--version", "x"], "expected MAJOR")],
    "scenario run": [(["/nowhere.yaml"], "there is no such file")],
    "scenario from-history": [
        (["w", "--to", "12x"], MOMENT),
        (["w", "-o", "/nowhere/x.yaml"], NO_FOLDER),
        (["w", "--keep", "nonsense"], "--keep: expected"),
        ([], "expected WF_RUN"),
    ],
    "topics plan": [(["--replication", "0"], "expected a whole number")],
    "topics apply": [(["--replication", "x", "--yes"], "expected a whole number")],
    "doctor": [(["--health", "x"], "expected HOST:PORT"), (["--service", "nosuch"], "there are: ")],
    "bind check": [(["/nowhere.yaml"], "there is no such file")],
    "bind run": [(["/nowhere.yaml"], "there is no such file")],
    "sink check": [(["/nowhere.yaml"], "there is no such file")],
    "sink run": [(["/nowhere.yaml"], "there is no such file")],
    "task-worker": [(["nosuch:worker"], "expected a module 'nosuch'")],
}
"""Command -> arguments that are wrong by themselves or by topics.yaml, each with what is told."""
ONLY_WHERE_KAFKA_IS = {"demo", "spec list", "up"}
"""Commands of which only the options can be wrong that say where Kafka is."""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Yield what listens at an address and has no connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def where(server: socket.socket) -> tuple[str, str]:
    return "--bootstrap", f"127.0.0.1:{server.getsockname()[1]}"


def expect_no_connection(server: socket.socket) -> None:
    with pytest.raises(BlockingIOError):
        server.accept()


def asking() -> set[str]:
    return {name for name, options in all_commands().items() if "--connect-timeout" in options}


def test_every_command_that_asks_kafka_is_in_the_table() -> None:
    assert asking() == {*WRONG, *ONLY_WHERE_KAFKA_IS}


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [(command, arguments, says) for command, rows in WRONG.items() for arguments, says in rows],
    ids=lambda it: " ".join(it)[:40] if isinstance(it, list) else None,
)
def test_an_argument_that_is_wrong_is_told_before_kafka_is_asked(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    listening: socket.socket,
    command: str,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    code, out, err = halter(capsys, *command.split(), *where(listening), *arguments)
    assert code in {1, 2}
    assert says in out + err
    expect_no_connection(listening)


@pytest.mark.parametrize("command", sorted(it for it in asking() if "--property" in all_commands()[it]))
def test_a_property_that_librdkafka_does_not_know_is_told_before_kafka_is_asked(
    capsys: pytest.CaptureFixture[str], listening: socket.socket, command: str
) -> None:
    words = [*command.split(), *ARGUMENTS[command], *where(listening)]
    code, _, err = halter(capsys, *words, "-X", "nosuch.property=1")
    assert code == 1
    assert "librdkafka has no such property" in err
    expect_no_connection(listening)


READY_FILES = {
    "worker": [],
    "broker": [],
    "view": [],
    "task-worker": ["examples/cart/tasks.py:worker"],
    "bind run": ["examples/cart/bindings.yaml"],
    "sink run": ["examples/cart/sink.yaml"],
}


def test_every_command_with_a_ready_file_is_in_the_table() -> None:
    found = {name for name, options in all_commands().items() if "--ready-file" in options}
    assert {*found, "view"} == {*READY_FILES}, "view is a group that has options itself"


@pytest.mark.parametrize("command", READY_FILES)
def test_a_ready_file_that_cannot_be_made_is_told_before_anything_is_begun(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Otherwise a process would end once it is ready."""
    words = [*command.split(), *READY_FILES[command], "--ready-file", "/nowhere/ready"]
    code, out, err = halter(capsys, *words)
    assert (code, out) == (1, "")
    assert err == "halter: expected to write /nowhere/ready, found no folder /nowhere\n"


def test_what_is_wrong_with_a_property_is_told_before_the_client_is_imported() -> None:
    """To import it takes most of the second that a command takes."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "halter", "show", "w", "-X", "nosuch.property=1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "librdkafka has no such property" in ended.stderr
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if line.startswith("import time")}
    assert "processors.kafka.settings" in imported
    assert "halter.client" not in imported
