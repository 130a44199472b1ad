"""Without Kafka, every command says why it fails, in time, and Ctrl-C ends it at once."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from processors.kafka.settings import Settings
from processors.runtime.group.readiness import Readiness, State
from processors.worker import app
from tests.support.command_line import all_commands, halter

ROOT = Path(__file__).parents[2]
CART = str(ROOT / "examples" / "cart" / "cart.yaml")
BINDINGS = str(ROOT / "examples" / "cart" / "bindings.yaml")
SCENARIO = str(next((ROOT / "tests" / "scenarios").glob("*.yaml")))

ARGUMENTS = {
    "demo": [],
    "topics plan": [],
    "doctor": [],
    "topics apply": ["--yes"],
    "spec show": ["cart"],
    "spec put": [CART],
    "spec list": [],
    "spec get": ["cart"],
    "spec delete": ["cart", "--yes"],
    "scenario run": [SCENARIO],
    "scenario from-history": ["w"],
    "run": ["cart"],
    "send": ["w", "e"],
    "correlate": ["k", "e"],
    "correlations": ["k", "e"],
    "show": ["w"],
    "history": ["w"],
    "state": ["w"],
    "diff": ["w"],
    "export": ["w", "-o", "w.halter"],
    "timeline": ["w", "-o", "w.html"],
    "verify": ["w"],
    "check-state": ["--partition", "0"],
    "replay": ["--into", "debug-"],
    "why": ["w"],
    "why-not": ["w", "e"],
    "cause": ["external-events", "0", "0"],
    "stop": ["w"],
    "resume": ["w"],
    "rescue": ["w"],
    "migrate": ["w", "--to", "0.1"],
    "delete": ["w"],
    "fork": ["w", "--at", "1", "--as", "v"],
    "reset": ["w", "--at", "1"],
    "quarantine": ["w"],
    "release": ["w"],
    "skip": ["external-events", "0", "0"],
    "bulk": ["stop", "--all", "--run"],
    "dead-letters show": ["0@0"],
    "dead-letters retry": ["0@0"],
    "task-worker": ["examples/cart/tasks.py:worker"],
    "bind check": [BINDINGS],
    "sink check": ["examples/cart/sink.yaml"],
    "bind run": [BINDINGS, "--dry-run"],
    "sink run": ["examples/cart/sink.yaml"],
    "up": [],
}
"""Every command that gives up without Kafka -> what it cannot do without it."""
LOGS = {"task-worker", "sink run"}
"""Those that have a log: lines on stderr before the sentence."""
WAITS = {"worker": list[str]()}
"""The commands that wait as long as it takes."""
ASKS_NOBODY = {"topics acls", "topics asyncapi"}
"""The commands that only use the address."""
GOES_ON = {"console"}
"""The commands that run without Kafka, and say what they cannot do meanwhile (tests/console)."""

PATIENCE_S = 0.3
MORE_S = 1.0
"""Seconds that a command may take beyond its patience, and after Ctrl-C."""
BUSY_S = 1.5
"""Seconds that a busy machine may add to that."""


@dataclass
class Nobody:
    """An address where no Kafka answers, and what an error about it must say."""

    address: str
    tells: tuple[str, ...]


@pytest.fixture(scope="module", params=["nothing listens", "no such host", "silence", "no Kafka"])
def nobody(request: pytest.FixtureRequest) -> Iterator[Nobody]:
    """Yield each way in which no Kafka answers."""
    match request.param:
        case "nothing listens":
            yield Nobody("127.0.0.1:1", ("within 0.3 s",))
        case "no such host":
            # No server is asked for a label of more than 63 characters. One that does not answer takes five seconds.
            yield Nobody(f"no-such-host-{51 * 'x'}:9092", ("within 0.3 s", "the host is not known"))
        case "silence":
            with silent_server() as server:
                yield Nobody(address(server), ("within 0.3 s", "nothing came back"))
        case _:
            with socket.create_server(("127.0.0.1", 0)) as server:
                threading.Thread(target=speak_http, args=(server,), daemon=True).start()
                yield Nobody(address(server), ("within 0.3 s", "does not speak Kafka's protocol"))


def silent_server() -> socket.socket:
    """Accept connections, as the system does for a listening socket, and say nothing."""
    return socket.create_server(("127.0.0.1", 0), backlog=100)


def address(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def speak_http(server: socket.socket) -> None:
    """Answer every connection as a web server does, until the socket is closed."""
    try:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    except OSError:
        pass


def test_every_command_that_has_an_address_is_in_a_table_of_this_test() -> None:
    with_address = {name for name, options in all_commands().items() if "--bootstrap" in options}
    assert with_address == {*ARGUMENTS, *WAITS, *ASKS_NOBODY, *GOES_ON}


def test_patience_with_kafka_has_one_name() -> None:
    assert {name for name, options in all_commands().items() if "--connect-timeout" in options} == {*ARGUMENTS}


@pytest.mark.parametrize("command", ARGUMENTS)
def test_a_command_that_finds_no_kafka_says_why_in_one_sentence_and_in_time(
    capsys: pytest.CaptureFixture[str], command: str, nobody: Nobody
) -> None:
    where = ["--bootstrap", nobody.address, "--connect-timeout", str(PATIENCE_S)]
    begun = time.monotonic()
    code, out, err = halter(capsys, *command.split(), *ARGUMENTS[command], *where)
    assert time.monotonic() - begun < PATIENCE_S + MORE_S + BUSY_S
    assert (code, out) == (1, "")
    *log, sentence = err.splitlines()
    assert sentence.startswith(f"halter: Kafka at {nobody.address} (from a flag) has not answered ")
    assert not log or command in LOGS
    assert "--connect-timeout" in err
    assert not [part for part in nobody.tells if part not in err], err


def test_three_seconds_are_a_commands_patience(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    code, _, err = halter(capsys, "show", "w", "--bootstrap", "127.0.0.1:1")
    assert 2.5 <= time.monotonic() - begun < 3.0 + BUSY_S
    assert code == 1
    assert "within 2.5 s" in err


@pytest.mark.parametrize("command", sorted(ASKS_NOBODY))
def test_a_command_that_asks_nobody_needs_no_kafka(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = halter(capsys, *command.split(), "--bootstrap", "127.0.0.1:1")
    assert code == 0
    assert out


@pytest.mark.parametrize("command", [*ARGUMENTS, *WAITS])
def test_ctrl_c_ends_a_command_that_waits_for_kafka_at_once(command: str) -> None:
    words = [*command.split(), *{**ARGUMENTS, **WAITS}[command]]
    patience = [] if command in WAITS else ["--connect-timeout", "600"]
    with silent_server() as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "halter", *words, "--bootstrap", address(server), *patience],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            server.settimeout(60)
            connection, _ = server.accept()  # it is waiting by now
            with connection:
                process.send_signal(signal.SIGINT)
                begun = time.monotonic()
                out, err = process.communicate(timeout=60)
            assert time.monotonic() - begun < MORE_S + BUSY_S
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err


def test_sigterm_ends_a_worker_that_waits_for_kafka_as_one_that_folds() -> None:
    with silent_server() as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "halter", "worker", "--bootstrap", address(server)], stderr=subprocess.DEVNULL
        )
        try:
            server.settimeout(60)
            connection, _ = server.accept()
            with connection:
                process.terminate()
                begun = time.monotonic()
                assert process.wait(60) == 0, (
                    "a signal without a handler is no signal to the first process of a container"
                )
            assert time.monotonic() - begun < MORE_S + BUSY_S
        finally:
            process.kill()
            process.wait()


def test_a_worker_says_within_three_seconds_that_it_waits_for_kafka_and_is_live_and_not_ready(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready"
    ready_file.write_text("left by one that was killed")
    with silent_server() as server, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "halter",
                "worker",
                "--bootstrap",
                address(server),
                "--health-port",
                str(port),
                "--ready-file",
                str(ready_file),
            ],
            env=os.environ | {"HALTER_HEALTH_HOST": "127.0.0.2"},
            stderr=subprocess.PIPE,
        )
        try:
            server.settimeout(60)
            connection, _ = server.accept()
            with connection:
                assert process.stderr is not None
                said, deadline = "", time.monotonic() + 3.0 + BUSY_S
                while "waiting_for_kafka" not in said:
                    assert select.select([process.stderr], [], [], max(0.0, deadline - time.monotonic()))[0], said
                    said += os.read(process.stderr.fileno(), 10_000).decode()
                status = {path: status_of(f"http://127.0.0.2:{port}{path}") for path in ("/live", "/ready")}
        finally:
            process.kill()
            process.wait()
    assert "started" in said.splitlines()[0]
    assert "nothing came back" in said
    assert status == {"/live": 200, "/ready": 503}
    assert not ready_file.exists()


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_worker_goes_on_once_kafka_answers_and_says_now_and_then_that_it_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "FIRST_WORD_SECONDS", 0.05)
    monkeypatch.setattr(app, "WORD_SECONDS", 0.1)
    kafka = AdminClient({"test.mock.num.brokers": 1})
    (broker,) = kafka.list_topics(timeout=10).brokers.values()
    with silent_server() as server, capture_logs() as said:
        server.settimeout(60)
        settings = Settings.load(None, {}, {"bootstrap.servers": address(server)})
        readiness = Readiness()
        waiting = threading.Thread(target=app.await_kafka, args=(settings, settings.topics(), readiness), daemon=True)
        waiting.start()
        deadline = time.monotonic() + 60
        while sum(it["event"] == "waiting_for_kafka" for it in said) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert waiting.is_alive()
        assert readiness.snapshot.state is State.WAITING_FOR_KAFKA
        # From now on connections are passed on to a Kafka.
        threading.Thread(target=pass_on, args=(server, (broker.host, broker.port)), daemon=True).start()
        waiting.join(60)
        assert not waiting.is_alive()
        assert readiness.snapshot.state is State.STARTING


def pass_on(server: socket.socket, to: tuple[str, int]) -> None:
    """Connect every client with another address."""
    try:
        while True:
            connection, _ = server.accept()
            beyond = socket.create_connection(to)
            for source, target in ((connection, beyond), (beyond, connection)):
                threading.Thread(target=copy, args=(source, target), daemon=True).start()
    except OSError:
        pass


def copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while some := source.recv(65_536):
            target.sendall(some)
    except OSError:
        pass
