"""Kafka in Docker for tests, with the settings of the embedded broker."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from halter.broker.cluster import choose_ports
from halter.broker.configuration import HOST, BrokerPorts, properties

IMAGE = "apache/kafka:4.3.1"
READY_SECONDS = 60
# Settings that depend on the machine that runs the broker.
OURS_ALONE = {"log.dirs", "listeners", "advertised.listeners", "controller.quorum.voters"}


@contextmanager
def kafka_in_docker() -> Iterator[str]:
    """Run one broker in a container, and yield its address.

    The container is a generic one. The Kafka container of testcontainers knows only other images, and leaves the
    transaction log at three replicas, for which one broker waits for ever.
    """
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    # Kafka tells its clients this address, so it must be known before the container runs.
    [port] = choose_ports(1)
    settings = properties(BrokerPorts(0, (port,), (9093,)), Path("/unused"))
    settings = {name: value for name, value in settings.items() if name not in OURS_ALONE} | {
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.quorum.voters": "0@localhost:9093",
    }
    container = DockerContainer(IMAGE).with_bind_ports(9092, port)
    for name, value in settings.items():
        container = container.with_env(f"KAFKA_{name.replace('.', '_').upper()}", value)
    ready = LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(READY_SECONDS)
    with container.waiting_for(ready):
        yield f"{HOST}:{port}"
