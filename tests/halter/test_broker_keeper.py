"""Rules of the keeper of the brokers, with brokers that live and die by hand and a clock that is turned by hand."""

import errno
import signal
import subprocess
from pathlib import Path

import pytest

from halter.broker import EmbeddedBroker
from halter.broker.configuration import BrokerPorts
from halter.broker.errors import BrokerFailed
from halter.broker.keeper import Keeper
from halter.broker.node import Node
from halter.cli.broker import broker
from halter.processes.restarting import RestartPolicy

POLICY = RestartPolicy(first_wait=1.0, wait_max=15.0, steady=10.0, deaths_max=5)


class Brokers:
    """A Kafka, as far as the keeper uses it."""

    def __init__(self, brokers: int) -> None:
        self.brokers = brokers
        self.running = [True] * brokers
        self.starts: list[tuple[float, int]] = []
        self.cannot_start: OSError | None = None
        self.now = 0.0
        self.said: list[str] = []
        self.keeper = Keeper(self, self.said.append, POLICY, lambda: self.now)  # type: ignore[arg-type]

    def is_running(self, index: int) -> bool:
        return self.running[index]

    def listens(self, index: int) -> bool:
        return self.running[index]

    def start_again(self, index: int) -> None:
        if self.cannot_start is not None:
            raise self.cannot_start
        self.running[index] = True
        self.starts.append((self.now, index))

    def failure_of(self, index: int) -> str:
        return f"Kafka broker {index} ended; its log"

    def pass_seconds(self, seconds: float) -> None:
        """Let the keeper look five times a second."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.2
            self.keeper.look()

    def lose(self, *indices: int) -> None:
        """End brokers, and let the keeper see it."""
        for index in indices:
            self.running[index] = False
        self.keeper.look()

    def wait_for(self, index: int) -> float:
        """Let time pass until a broker is started, and return how long that took."""
        began, starts = self.now, len(self.starts)
        while len(self.starts) == starts:
            self.pass_seconds(0.2)
            assert self.now < began + 60
        assert self.starts[-1][1] == index
        return round(self.now - began)


@pytest.mark.parametrize("brokers", [1, 3])
def test_each_end_in_a_row_is_followed_by_a_longer_wait_and_the_fifth_by_no_start(brokers: int) -> None:
    kafka = Brokers(brokers)
    waits = []
    for _ in range(4):
        kafka.lose(0)
        waits.append(kafka.wait_for(0))
    assert waits == [1, 2, 4, 8]
    if brokers == 1:
        with pytest.raises(BrokerFailed, match=r"broker 0 is given up: it ended 5 times in a row.*its log"):
            kafka.lose(0)
    else:
        kafka.lose(0)
        assert "broker 0 is given up" in kafka.said[-1]
        assert "its log" in kafka.said[-1]
        kafka.pass_seconds(60)
        assert len(kafka.starts) == 4


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EAGAIN, errno.ENOSPC])
def test_a_broker_that_cannot_be_started_is_tried_again_while_the_others_go_on(code: int) -> None:
    kafka = Brokers(3)
    kafka.cannot_start = OSError(code, "the system says why")
    kafka.lose(0)
    kafka.pass_seconds(2)
    assert "the system says why" in kafka.said[-1]
    assert "the others go on" in kafka.said[-1]
    kafka.cannot_start = None
    kafka.wait_for(0)
    kafka.pass_seconds(1)
    assert kafka.said[-1] == "Kafka broker 0 is back"


def test_two_of_three_that_are_given_up_end_kafka() -> None:
    kafka = Brokers(3)
    for index in (0, 1):
        for _ in range(4):
            kafka.lose(index)
            kafka.wait_for(index)
        if index == 0:
            kafka.lose(0)
    with pytest.raises(BrokerFailed, match="broker 1 is given up"):
        kafka.lose(1)


def test_a_broker_that_has_worked_begins_anew_with_the_shortest_wait() -> None:
    kafka = Brokers(1)
    for _ in range(9):
        kafka.lose(0)
        assert kafka.wait_for(0) == 1
        kafka.pass_seconds(POLICY.steady + 1)
    assert kafka.said[-1] == "Kafka broker 0 is back"


@pytest.mark.parametrize(
    ("brokers", "lost", "sentence"),
    [
        (3, [1], "It is started again in 1 s; the others go on"),
        (3, [0, 1], "It is started again in 1 s; nothing can be written until two run"),
        (3, [0, 1, 2], "It is started again in 1 s; nothing can be written until then"),
        (1, [0], "It is started again in 1 s; nothing can be written until then"),
    ],
)
def test_what_goes_on_meanwhile_is_told(brokers: int, lost: list[int], sentence: str) -> None:
    kafka = Brokers(brokers)
    kafka.lose(*lost)
    assert [said.partition("its log. ")[2] for said in kafka.said] == [sentence] * len(lost)
    kafka.pass_seconds(2)
    assert kafka.running == [True] * brokers
    assert kafka.said[len(lost) :] == [f"Kafka broker {index} is back" for index in lost]


def test_a_ready_file_that_one_left_who_was_killed_is_gone_before_kafka_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ready_file, found = tmp_path / "ready", []
    ready_file.write_text("left")

    def start(_: EmbeddedBroker) -> None:
        found.append(ready_file.exists())
        raise BrokerFailed("it is not started here")

    monkeypatch.setattr(EmbeddedBroker, "start", start)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the handlers of the tests stay
    with pytest.raises(BrokerFailed):
        broker(data=tmp_path / "data", ready_file=ready_file)
    assert found == [False]


LOG = """\
[2026-01-01 12:00:00,000] INFO [KafkaServer id=0] started (kafka.server.KafkaServer)
[2026-01-01 12:00:01,000] WARN a disk is slow (kafka.log.Log)
\tat kafka.Kafka.main(Kafka.scala:1)
"""


def failure_after(tmp_path: Path, script: str, log: str) -> list[str]:
    """Return the lines about a broker whose process ended so."""
    node = Node(BrokerPorts(0, (1,), (2,)), tmp_path, [])
    (tmp_path / "broker-0.log").write_text(log)
    node._process = subprocess.Popen(["sh", "-c", script])
    node._process.wait()
    return node.failure().splitlines()


@pytest.mark.parametrize("name", ["KILL", "TERM"])
def test_an_end_by_a_signal_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    (line,) = failure_after(tmp_path, f"kill -{name} $$", LOG)
    assert line == f"Kafka broker 0 was killed by SIG{name}; its log is {tmp_path / 'broker-0.log'}"
    kafka = Brokers(3)
    kafka.failure_of = lambda _: line  # type: ignore[method-assign]
    kafka.lose(0)
    assert kafka.said == [f"{line}. It is started again in 1 s; the others go on"]


def test_of_another_end_the_last_five_warnings_and_errors_are_told_each_shortened(tmp_path: Path) -> None:
    errors = [f"[2026-01-01 12:00:0{number},000] ERROR {number} {'x' * 500}" for number in range(7)]
    first, *told = failure_after(tmp_path, "exit 3", LOG + "\n".join(errors) + "\n[…] INFO the end\n")
    assert first.startswith("Kafka broker 0 ended with exit code 3; ")
    assert [line.split()[3] for line in told] == ["2", "3", "4", "5", "6"]
    assert {len(line.strip()) for line in told} == {200}
    assert failure_after(tmp_path, "exit 3", LOG)[1:] == ["  " + LOG.splitlines()[1]]


def test_what_java_says_of_itself_is_told_too(tmp_path: Path) -> None:
    said = 'Error in the VM\nException in thread "main" java.lang.OutOfMemoryError\norg.x.ConfigException: no\n'
    assert failure_after(tmp_path, "exit 1", said)[1:] == [f"  {line}" for line in said.splitlines()]
