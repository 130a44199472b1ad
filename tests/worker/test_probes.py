"""Rules of the probes of a worker."""

import asyncio
import http.client
import json
import socket
import threading
import time

import pytest

from processors.fold.tally import Tally
from processors.runtime.group.readiness import Readiness, Snapshot, State
from processors.runtime.turn.measures import Measures
from processors.worker.metrics import Metrics
from processors.worker.probes import OPEN_MAX, HostUnfit, PortTaken, Probes


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


def test_probes_answer_ready_and_live_and_metrics_and_nothing_else(unused_port: int) -> None:
    readiness = Readiness()
    with Probes(
        lambda: readiness.snapshot,
        Metrics(lambda: readiness.snapshot, Measures(), Tally()).text,
        "127.0.0.1",
        unused_port,
    ):
        assert get(unused_port, "/ready")[0] == 503
        assert get(unused_port, "/live")[0] == 200
        readiness.lives(State.FOLDING)
        status, answer = get(unused_port, "/ready")
        assert (status, answer["state"]) == (200, "folding")
        status, kind, body = read(unused_port, "/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert "\nhalter_ready 1.0\n" in body
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
    with Probes(
        lambda: readiness.snapshot,
        Metrics(lambda: readiness.snapshot, Measures(), Tally()).text,
        "127.0.0.1",
        unused_port,
    ):
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

    with Probes(Snapshot, Metrics(Snapshot, Measures(), Tally()).text, "127.0.0.1", unused_port):
        assert asyncio.run(fold())


def test_however_many_say_nothing_a_probe_is_answered_and_the_end_leaves_no_traceback(
    unused_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    held = list[socket.socket]()
    with Probes(Snapshot, lambda: b"", "127.0.0.1", unused_port):
        for number in range(1, 2 * OPEN_MAX + 1):
            held.append(socket.create_connection(("127.0.0.1", unused_port), timeout=10))
            held[-1].sendall(b"GET /live HTTP/1.1\r\nX: ")
            if number % OPEN_MAX == 0:
                assert get(unused_port, "/live")[0] == 200
    assert [it.getMessage() for it in caplog.records if it.name == "asyncio"] == []
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    ("host", "asked"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "::1")],
)
def test_probes_are_answered_at_any_address_of_the_machine(unused_port: int, host: str, asked: str) -> None:
    if ":" in host and not can_listen("::1"):
        pytest.skip("this machine has no IPv6")
    with Probes(Snapshot, Metrics(Snapshot, Measures(), Tally()).text, host, unused_port):
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
        with (
            pytest.raises(HostUnfit) as refused,
            Probes(Snapshot, Metrics(Snapshot, Measures(), Tally()).text, host, unused_port),
        ):
            pass
        refusals.append(refused.value)

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    listening.join(30)
    assert [str(it).startswith(f"cannot answer probes at {at}{unused_port}: ") for it in refusals] == [True]


def test_a_port_that_is_taken_is_named(unused_port: int) -> None:
    with (
        Probes(Snapshot, Metrics(Snapshot, Measures(), Tally()).text, "127.0.0.1", unused_port),
        pytest.raises(PortTaken, match=f"127.0.0.1:{unused_port}: something else listens there"),
        Probes(Snapshot, Metrics(Snapshot, Measures(), Tally()).text, "127.0.0.1", unused_port),
    ):
        pass
