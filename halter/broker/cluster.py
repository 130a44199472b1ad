"""Starts, stops, kills and restarts one or three brokers over one data folder.

Invariant: a data folder keeps the number of brokers, the cluster id and the release it was made with
(`cluster.json`), and at most one process works in it (`.lock`). Whatever happens to the processes, a new start on the
same folder brings back every acknowledged record.
"""

import base64
import fcntl
import json
import os
import random
import socket
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from halter.broker.configuration import HOST, BrokerPorts
from halter.broker.errors import BrokerFailed, DataFolderInUse, DataFolderUnfit, PortTaken
from halter.broker.jars import KAFKA_VERSION, Report, kafka_jars
from halter.broker.node import Node

SIZES = (1, 3)
READY_SECONDS = 60.0
STOP_SECONDS = 10.0
LAST_STOP_SECONDS = 0.5
POLL_SECONDS = 0.05
# A broker that was just killed may hold its port and its folder for a moment.
LET_GO_SECONDS = 2.0
STARTS_ON_CHOSEN_PORTS = 3
# Below the ranges from which Linux, macOS and the BSDs give ports to outgoing connections.
CHOSEN_PORTS = range(20_000, 32_000)
# Ports that this process has chosen before. A broker may not listen there yet, so the port would look free.
_chosen_before: set[int] = set()


def to_stderr(sentence: str) -> None:
    """Print a sentence on stderr. This is the default of every `report`."""
    print(f"halter: {sentence}", file=sys.stderr, flush=True)  # noqa: T201


@dataclass(frozen=True, slots=True)
class Identity:
    """The facts about a cluster that its data folder keeps between starts."""

    kafka: str
    cluster_id: str
    ports: tuple[int, ...]
    controller_ports: tuple[int, ...]
    formatted: bool

    @classmethod
    def read(cls, path: Path) -> "Identity | None":
        """Read `cluster.json`; return None if there is none. Raises DataFolderUnfit if it is not ours."""
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            fields["ports"] = tuple(fields["ports"])
            fields["controller_ports"] = tuple(fields["controller_ports"])
            return cls(**fields)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataFolderUnfit(
                f"expected the description of an embedded broker in {path}, found something else ({error}); "
                "name another data folder, or remove this one"
            ) from error

    def write(self, path: Path) -> None:
        new = path.with_suffix(".new")
        fields = {name: getattr(self, name) for name in self.__slots__}
        new.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
        new.replace(path)


class EmbeddedBroker:
    """A real Kafka of one broker or three on this machine: a context manager that starts and stops it.

    The folder `data` is created if needed, and kept. `port` is the port of the first broker, and the others take the
    next two; without it, the brokers take the ports of the last start on this folder, or free ones. `report` gets a
    sentence when there is a wait (downloads); it prints on stderr by default. Methods raise the classes of
    `halter.broker.errors`. Use an instance from one thread at a time.
    """

    node_class = Node

    def __init__(self, data: Path, brokers: int = 1, port: int | None = None, report: Report = to_stderr) -> None:
        if brokers not in SIZES:
            raise DataFolderUnfit(f"expected 1 broker or 3, found {brokers}: two cannot outvote the loss of one")
        if port is not None and not 0 < port <= 65_536 - brokers:
            raise PortTaken(f"expected a port between 1 and {65_536 - brokers}, found {port}")
        self.data = data.expanduser().resolve()
        self.brokers = brokers
        self._port = port
        self._report = report
        self._lock: IO[str] | None = None
        self._nodes: list[Node] = []
        self._cluster_id = ""

    @property
    def bootstrap(self) -> str:
        """`host:port` of every broker, comma-separated: the value for `bootstrap.servers`. Valid once started."""
        assert self._nodes, "the embedded broker has not been started"
        return ",".join(f"{HOST}:{node.port}" for node in self._nodes)

    @property
    def pids(self) -> list[int | None]:
        """The process ids of the JVMs, by index."""
        return [node.pid for node in self._nodes]

    def start(self) -> None:
        """Start all brokers and return when they answer. Do nothing if they were started before."""
        if self._nodes:
            return
        jars = kafka_jars(self._report)
        self._take_folder()
        try:
            self._start(jars)
        except BaseException:
            self.stop()
            raise

    def _start(self, jars: list[Path]) -> None:
        for attempt in range(1, STARTS_ON_CHOSEN_PORTS + 1):
            identity = self._fix_identity()
            self._cluster_id = identity.cluster_id
            ports = [BrokerPorts(index, identity.ports, identity.controller_ports) for index in range(self.brokers)]
            self._nodes = [self.node_class(it, self.data, jars) for it in ports]
            for node in self._nodes:
                node.configure()
            if not identity.formatted:
                # One Java each, side by side: this takes most of the time of a first start.
                with ThreadPoolExecutor(self.brokers) as pool:
                    list(pool.map(Node.format, self._nodes, [identity.cluster_id] * self.brokers))
                replace(identity, formatted=True).write(self._identity_path)
            for node in self._nodes:
                node.start()
            try:
                self._await_ready(self._nodes)
                return
            except BrokerFailed:
                # Another process may take a port after we found it free and before Java listens. Then choose again.
                if attempt == STARTS_ON_CHOSEN_PORTS or not any(node.found_a_port_taken() for node in self._nodes):
                    raise
                for node in self._nodes:
                    node.kill()

    def stop(self) -> None:
        """Stop all brokers, kill those that do not end within STOP_SECONDS, and release the folder."""
        for node in self._nodes:
            node.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while running := [node for node in self._nodes if node.is_running]:
            if len(running) * 2 < self.brokers:
                # The last of three brokers would wait five seconds for votes of brokers that are gone.
                deadline = min(deadline, time.monotonic() + LAST_STOP_SECONDS)
            if not running[0].wait(POLL_SECONDS) and time.monotonic() > deadline:
                running[0].kill()
        self._nodes = []
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def kill(self, index: int = 0) -> None:
        """Kill one broker with SIGKILL, and wait until it has ended."""
        self._nodes[index].kill()

    def restart(self, index: int = 0) -> None:
        """Stop one broker if it runs, start it again on its data and its port, and return when it answers."""
        node = self._nodes[index]
        node.terminate()
        if not node.wait(STOP_SECONDS):
            node.kill()
        node.start()
        self._await_ready([node])

    def start_again(self, index: int) -> None:
        """Start a broker that has ended on its data and its port. Return at once."""
        self._nodes[index].start()

    def is_running(self, index: int) -> bool:
        """Return True if the process of one broker runs."""
        return self._nodes[index].is_running

    def listens(self, index: int) -> bool:
        """Return True if a process listens on one broker's port, as the broker does shortly before it answers."""
        return not is_free(self._nodes[index].port)

    def failure_of(self, index: int) -> str:
        """Return what happened to a broker that ended, with the end of its log."""
        return self._nodes[index].failure()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # The folder.

    @property
    def _identity_path(self) -> Path:
        return self.data / "cluster.json"

    def _take_folder(self) -> None:
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            lock = (self.data / ".lock").open("a+")
        except OSError as error:
            raise DataFolderUnfit(f"cannot use {self.data} as data folder: {error.strerror}") from error
        deadline = time.monotonic() + LET_GO_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    lock.seek(0)
                    owner = lock.read().strip() or "unknown"
                    lock.close()
                    raise DataFolderInUse(
                        f"process {owner} runs an embedded broker on {self.data}; stop it, or name another data folder"
                    ) from error
                time.sleep(POLL_SECONDS)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _fix_identity(self) -> Identity:
        """Choose the identity of this cluster and its ports for this start, and write them to the folder."""
        last = Identity.read(self._identity_path)
        if last is not None and len(last.ports) != self.brokers:
            raise DataFolderUnfit(
                f"expected the data of {self.brokers} broker(s) in {self.data}, found that of {len(last.ports)}; "
                "name another data folder, or remove this one"
            )
        if last is not None and version_numbers(last.kafka) > version_numbers(KAFKA_VERSION):
            raise DataFolderUnfit(
                f"expected data of Kafka {KAFKA_VERSION} or older in {self.data}, found that of {last.kafka}; "
                "name another data folder, or update Halter"
            )
        if self._port is not None:
            ports = tuple(range(self._port, self._port + self.brokers))
            for port in ports:
                self._expect_free(port, patient=last is not None)
        else:
            ports = last.ports if last and all(map(becomes_free, last.ports)) else choose_ports(self.brokers)
        if last and all(map(becomes_free, last.controller_ports)) and not set(last.controller_ports) & set(ports):
            controller_ports = last.controller_ports
        else:
            controller_ports = choose_ports(self.brokers, apart_from=ports)
        identity = Identity(
            kafka=KAFKA_VERSION,
            cluster_id=last.cluster_id if last else new_cluster_id(),
            ports=ports,
            controller_ports=controller_ports,
            formatted=last is not None and last.formatted,
        )
        identity.write(self._identity_path)
        return identity

    # Ports.

    def _expect_free(self, port: int, patient: bool) -> None:
        if not (becomes_free(port) if patient else is_free(port)):
            raise PortTaken(
                f"another process listens on {HOST}:{port}; stop it or choose another port "
                "(or, if it is the Kafka you want, use it: no embedded broker is needed)"
            )

    # Readiness.

    def _await_ready(self, nodes: list[Node]) -> None:
        """Return when each of `nodes` answers and says that all of them are alive. Raises BrokerFailed.

        The answer must name our cluster: another broker may have taken the port.
        """
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        deadline = time.monotonic() + READY_SECONDS
        expected = {node.index for node in nodes}
        for node in nodes:
            while is_free(node.port):
                self._expect_running(nodes, deadline)
                time.sleep(POLL_SECONDS)
            admin = AdminClient({"bootstrap.servers": f"{HOST}:{node.port}", "log_level": 0})
            alive: set[int] = set()
            while not expected <= alive:
                self._expect_running(nodes, deadline)
                try:
                    found = admin.list_topics(timeout=1)
                except KafkaException:
                    alive = set()
                else:
                    # The type hints of the library say that it is always None.
                    cluster_id: object = found.cluster_id
                    alive = set(found.brokers) if cluster_id == self._cluster_id else set()
                if not expected <= alive:
                    time.sleep(POLL_SECONDS)

    def _expect_running(self, nodes: list[Node], deadline: float) -> None:
        late = time.monotonic() > deadline
        for node in nodes:
            if not node.is_running or late:
                raise BrokerFailed(node.failure())


def is_free(port: int) -> bool:
    """Return True if a server could listen on this port now."""
    with socket.socket() as probe:
        # Java does the same: a port whose last connections are still closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose_ports(count: int, apart_from: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Return free ports, each only once per process. They are random, so other processes rarely choose the same."""
    chosen: list[int] = []
    for port in random.sample(CHOSEN_PORTS, 1_000):
        if port not in apart_from and port not in _chosen_before and is_free(port):
            chosen.append(port)
            _chosen_before.add(port)
        if len(chosen) == count:
            return tuple(chosen)
    raise PortTaken(
        f"expected a free port between {CHOSEN_PORTS.start} and {CHOSEN_PORTS.stop}, found none; choose a port yourself"
    )


def becomes_free(port: int) -> bool:
    """Return True if a port is free, or becomes free within LET_GO_SECONDS, as that of a killed broker does."""
    deadline = time.monotonic() + LET_GO_SECONDS
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def new_cluster_id() -> str:
    """Return a random id in Kafka's form: 16 bytes in URL-safe base64. Kafka refuses one that looks like an option."""
    while True:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster_id.startswith("-"):
            return cluster_id


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, for comparison."""
    return tuple(int(number) for number in version.split(".") if number.isdigit())
