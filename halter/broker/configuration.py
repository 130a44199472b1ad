"""The settings of an embedded broker, computed from its index and ports. No I/O.

Kafka's defaults suit big machines that run for years. These settings suit one machine, a start within seconds and a
quick return after kill -9. A client sees no difference to production: guarantees and protocols are the same.
"""

from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"

JVM_FLAGS = (
    # Small and quick to start rather than fast for hours.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xms128m",
    "-Xmx512m",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    # Kafka's libraries use calls that newer Java releases warn about. Our users cannot do anything about it.
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


@dataclass(frozen=True, slots=True)
class BrokerPorts:
    """The index of one broker, and the ports of all brokers by index."""

    index: int
    ports: tuple[int, ...]
    controller_ports: tuple[int, ...]

    @property
    def port(self) -> int:
        return self.ports[self.index]


def properties(broker: BrokerPorts, log_folder: Path) -> dict[str, str]:
    """Return the content of server.properties for one broker, which is a KRaft controller too."""
    brokers = len(broker.ports)
    in_sync_min = str(min(brokers, 2))
    voters = (f"{index}@{HOST}:{port}" for index, port in enumerate(broker.controller_ports))
    controller_port = broker.controller_ports[broker.index]
    return {
        "process.roles": "broker,controller",
        "node.id": str(broker.index),
        # The voters are fixed here, because ports may change between starts and a voter log would keep the old ones.
        "controller.quorum.voters": ",".join(voters),
        "listeners": f"PLAINTEXT://{HOST}:{broker.port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{broker.port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(log_folder),
        # Topics come from topics.yaml only. A mistyped name must not create one.
        "auto.create.topics.enable": "false",
        "default.replication.factor": str(brokers),
        "min.insync.replicas": in_sync_min,
        # Kafka's own topics: a replica on every broker, and few partitions, because each is a folder to open.
        "offsets.topic.replication.factor": str(brokers),
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": str(brokers),
        "transaction.state.log.min.isr": in_sync_min,
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": str(brokers),
        "share.coordinator.state.topic.min.isr": in_sync_min,
        "share.coordinator.state.topic.num.partitions": "1",
        # Groups: no wait for members that might still come, and sessions short enough for quick take-overs.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.session.timeout.ms": "6000",
        "group.consumer.min.heartbeat.interval.ms": "500",
        "group.consumer.heartbeat.interval.ms": "1000",
        # A dead worker's transaction ends when its own time-out says so, not up to ten seconds later.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        # After kill -9 a broker may register again only when its old session has expired: 9 s by default.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "num.recovery.threads.per.data.dir": "2",
        # Sized for a laptop.
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    }


def as_text(settings: dict[str, str]) -> str:
    """Return settings as the text of a Java properties file, where a backslash starts an escape."""
    return "".join(f"{name}={value.replace(chr(92), chr(92) * 2)}\n" for name, value in settings.items())
