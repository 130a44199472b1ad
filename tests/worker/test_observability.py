"""Rules of what a worker shows: ready file, probes, log."""

import asyncio
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from processors.runtime.group.readiness import Readiness, Snapshot, State
from processors.worker.observability import HostUnfit, PortTaken, Probes, ReadyFile, metrics


def read(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str, str]:
    """Status, content type and body."""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
    finally:
        connection.close()


def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, dict[str, object]]:
    status, _, body = read(port, path, host)
    return status, json.loads(body)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_probes_answer_ready_and_live_and_metrics_and_nothing_else(unused_port: int) -> None:
    readiness = Readiness()
    with Probes(readiness.as_dict, "127.0.0.1", unused_port):
        assert get(unused_port, "/ready")[0] == 503
        assert get(unused_port, "/live")[0] == 200
        readiness.lives(State.FOLDING)
        status, answer = get(unused_port, "/ready")
        assert (status, answer["state"]) == (200, "folding")
        status, kind, body = read(unused_port, "/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert "\nhalter_ready 1\n" in body
        assert get(unused_port, "/secrets")[0] == 404
    with pytest.raises(ConnectionError):
        get(unused_port, "/live")


@pytest.mark.parametrize("state", State)
def test_a_worker_is_live_in_every_state_until_its_work_is_over(unused_port: int, state: State) -> None:
    readiness = Readiness()
    readiness.lives(State.FOLDING)
    if state is State.WAITING_FOR_KAFKA:
        readiness.waits_for_kafka(True)
    elif state is State.DEGRADED:
        readiness.pauses({1: "a rule broke"})
    elif state is State.RESTORING:
        readiness.owns((), {1: 0.5})
    else:
        readiness.lives(state)
    with Probes(readiness.as_dict, "127.0.0.1", unused_port):
        status, answer = get(unused_port, "/live")
    assert (status, answer["state"]) == (503 if state is State.STOPPED else 200, state)


@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics"])
def test_probes_are_answered_while_the_event_loop_folds_and_while_others_say_nothing(
    unused_port: int, path: str
) -> None:
    answered = threading.Event()

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", unused_port)):
            read(unused_port, path)
        answered.set()

    async def fold() -> bool:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        deadline = time.monotonic() + 30
        # One record that takes long, in plain Python: the loop does not turn before it is answered.
        while not answered.is_set() and time.monotonic() < deadline:
            pass
        return answered.is_set()

    with Probes(Readiness().as_dict, "127.0.0.1", unused_port):
        assert asyncio.run(fold())


@pytest.mark.parametrize(
    ("host", "asked"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "::1")],
)
def test_probes_are_answered_at_any_address_of_the_machine(unused_port: int, host: str, asked: str) -> None:
    if ":" in host and not can_listen("::1"):
        pytest.skip("this machine has no IPv6")
    with Probes(Readiness().as_dict, host, unused_port):
        assert get(unused_port, "/live", asked)[0] == 200


def can_listen(host: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6) as found:
            found.bind((host, 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "at"),
    [("192.0.2.1", "192.0.2.1:"), ("2001:db8::1", "[2001:db8::1]:"), ("no-such-host.invalid", "no-such-host.invalid:"),
     ("a..b", "a..b:"), ("x" * 64, f"{'x' * 64}:"), ("\0", "\0:"), ("127.0.0.1 ", "127.0.0.1 :")],
)  # fmt: skip
def test_an_address_that_is_no_address_of_the_machine_is_refused(unused_port: int, host: str, at: str) -> None:
    refusals: list[HostUnfit] = []

    def listen() -> None:
        with pytest.raises(HostUnfit) as refused, Probes(dict, host, unused_port):
            pass
        refusals.append(refused.value)

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    listening.join(30)
    assert [str(it).startswith(f"cannot answer probes at {at}{unused_port}: ") for it in refusals] == [True]


def test_a_port_that_is_taken_is_named(unused_port: int) -> None:
    with (
        Probes(dict, "127.0.0.1", unused_port),
        pytest.raises(PortTaken, match=f"127.0.0.1:{unused_port}: something else listens there"),
        Probes(dict, "127.0.0.1", unused_port),
    ):
        pass


def test_a_ready_file_is_there_while_the_worker_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    path.write_text("left by a worker that was killed", encoding="utf-8")
    ready_file = ReadyFile(path)
    assert not path.exists()
    readiness = Readiness(lambda snapshot: ready_file.write(snapshot.as_dict()))
    readiness.lives(State.FOLDING)
    assert json.loads(path.read_text(encoding="utf-8"))["state"] == "folding"
    readiness.owns((1, 2), {3: 0.5})
    assert not path.exists()
    readiness.owns((1, 2, 3), {})
    assert json.loads(path.read_text(encoding="utf-8"))["shards"] == [1, 2, 3]
    readiness.waits_for_kafka(True)
    assert not path.exists()


def test_metrics_say_for_each_partition_whether_it_is_paused_and_how_many_wf_runs_are_in_quarantine() -> None:
    readiness = Readiness()
    readiness.lives(State.FOLDING)
    readiness.owns((1, 2), {5: 0.5})
    readiness.pauses({2: "a rule broke"})
    readiness.keeps({1: 3})
    samples = [line for line in metrics(readiness.snapshot.as_dict()).splitlines() if not line.startswith("#")]
    assert samples == [
        "halter_ready 0",
        'halter_partition_restoring{partition="1"} 0',
        'halter_partition_restoring{partition="2"} 0',
        'halter_partition_restoring{partition="5"} 1',
        'halter_partition_paused{partition="1"} 0',
        'halter_partition_paused{partition="2"} 1',
        'halter_partition_paused{partition="5"} 0',
        'halter_quarantined_wf_runs{partition="1"} 3',
        'halter_quarantined_wf_runs{partition="2"} 0',
    ]


def test_readiness_is_the_worst_of_what_its_parts_report() -> None:
    seen: list[Snapshot] = []
    readiness = Readiness(seen.append)
    readiness.lives(State.JOINING)
    readiness.lives(State.FOLDING)
    readiness.owns((), {0: 0.0})
    readiness.pauses({3: "a rule broke"})
    readiness.waits_for_kafka(True)
    readiness.waits_for_kafka(False)
    readiness.pauses({})
    readiness.owns((0,), {})
    readiness.owns((0,), {})
    assert [str(snapshot.state) for snapshot in seen] == [
        "joining",
        "folding",
        "restoring",
        "degraded",
        "waiting for Kafka",
        "degraded",
        "restoring",
        "folding",
    ]
    assert [snapshot.ready for snapshot in seen] == [False, True, False, False, False, False, False, True]


def test_the_log_is_one_json_object_per_line_on_stderr_also_for_libraries() -> None:
    code = """
import logging, structlog
from processors.worker.observability import configure_logging
configure_logging("json", "info", worker="slot-1")
structlog.get_logger("halter.test").info("restored", rows=3)
logging.getLogger("some.library").warning("it %s", "happened")
logging.getLogger("some.library").info("not worth a line")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["level"], line["worker"]) for line in lines] == [
        ("restored", "info", "slot-1"),
        ("it happened", "warning", "slot-1"),
    ]
    assert lines[0]["rows"] == 3
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
