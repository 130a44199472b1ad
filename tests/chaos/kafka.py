"""The brokers under attack: embedded ones, each with a second listener behind a proxy."""

import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from halter.broker import EmbeddedBroker
from halter.broker.cluster import choose_ports
from halter.broker.configuration import HOST, as_text, properties
from halter.broker.node import Node
from tests.chaos.proxy import Proxies
from tests.chaos.reading import wait_for

IN_SYNC_SECONDS: Final = 120.0


class TwoListeners(Node):
    """A broker with a second listener for the clients behind the proxy."""

    routes: ClassVar[dict[int, tuple[int, int]]]
    """Index of the broker -> the port of its proxy, and its own port behind it."""

    def configure(self) -> None:
        settings = properties(self.ports, self._log_folder)
        proxied, own = self.routes[self.index] = choose_ports(2)
        settings["listeners"] += f",PROXIED://{HOST}:{own}"
        settings["advertised.listeners"] += f",PROXIED://{HOST}:{proxied}"
        settings["listener.security.protocol.map"] += ",PROXIED:PLAINTEXT"
        settings["inter.broker.listener.name"] = "PLAINTEXT"
        self._properties.write_text(as_text(settings), encoding="utf-8")


class Brokers:
    """One broker or three. A context manager."""

    def __init__(self, folder: Path, count: int) -> None:

        class Behind(TwoListeners):
            routes: ClassVar = {}

        class Cluster(EmbeddedBroker):
            node_class = Behind

        self.count = count
        self._cluster = Cluster(folder, count, report=lambda _: None)
        self._routes = Behind.routes
        self._back: threading.Thread | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._cluster.start()
        self.proxies = Proxies(dict(self._routes.values()))
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        return self

    def __exit__(self, *_: object) -> None:
        if self._back is not None:
            self._back.join(60)
        for pid in self._cluster.pids:
            self._signal(pid, signal.SIGCONT)
        self.proxies.stop()
        self._cluster.stop()

    @property
    def bootstrap(self) -> str:
        """The addresses of the brokers themselves."""
        return self._cluster.bootstrap

    @property
    def proxied_bootstrap(self) -> str:
        """The addresses of the proxies."""
        return ",".join(f"{HOST}:{port}" for port, _ in self._routes.values())

    def kill(self, index: int, back_after_s: float) -> None:
        """Kill a broker with SIGKILL, and start it again after a while, in the background."""
        self._cluster.kill(index)

        def back() -> None:
            time.sleep(back_after_s)
            self._cluster.start_again(index)  # on a busy machine it takes longer than the cluster would wait

        self._back = threading.Thread(target=back, name="broker-back", daemon=True)
        self._back.start()

    def restart(self, index: int) -> None:
        """Stop a broker as an administrator does, however long that takes, and start it again.

        `EmbeddedBroker.restart` kills it after a while: then marks of transactions may be lost. Raises TimeoutError.
        """
        self._signal(self._cluster.pids[index], signal.SIGTERM)
        wait_for("the end of the broker", lambda: not self._cluster.is_running(index), IN_SYNC_SECONDS)
        self._cluster.start_again(index)

    def stall(self, index: int, seconds: float) -> None:
        """Stop a broker for a while, as a hanging disk would, and let it go on."""
        pid = self._cluster.pids[index]
        self._signal(pid, signal.SIGSTOP)
        time.sleep(seconds)
        self._signal(pid, signal.SIGCONT)

    @staticmethod
    def _signal(pid: int | None, number: signal.Signals) -> None:
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait_in_sync(self) -> None:
        """Wait until the killed broker is back, and every partition of every topic has all its replicas.

        Raises TimeoutError.
        """
        if self._back is not None:
            self._back.join(IN_SYNC_SECONDS)
            self._back = None
        wait_for("all replicas in sync", self._in_sync, IN_SYNC_SECONDS)

    def _in_sync(self) -> bool:
        try:
            found = self.admin.list_topics(timeout=5)
        except KafkaException:
            return False
        if len(found.brokers) < self.count:
            return False
        return all(
            len(partition.isrs) == len(partition.replicas) and partition.leader >= 0
            for topic in found.topics.values()
            for partition in topic.partitions.values()
        )


def versions() -> Sequence[str]:
    """Return the versions that ran."""
    import platform

    import confluent_kafka
    import fastavro
    import faust

    from halter.broker.jars import KAFKA_VERSION

    return (
        f"Apache Kafka {KAFKA_VERSION}",
        f"confluent-kafka {confluent_kafka.__version__}",
        f"librdkafka {confluent_kafka.libversion()[0]}",
        f"faust-streaming {faust.__version__}",
        f"fastavro {fastavro.__version__}",
        f"Python {platform.python_version()}",
    )
