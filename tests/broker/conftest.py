"""A real Kafka for tests: the one that is named, else one in Docker, else the embedded one.

Every test below this folder is marked `broker`.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from halter.broker import EmbeddedBroker
from tests.support.docker_kafka import kafka_in_docker

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.broker)


def why_no_docker() -> str | None:
    """Return why no Docker engine can be used; None if one answers. The installed client alone proves nothing."""
    if shutil.which("docker") is None:
        return "no docker client is installed"
    try:
        answer = subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"docker info: {error}"
    return None if answer.returncode == 0 else "no Docker engine answers"


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`bootstrap.servers` of a Kafka for the whole session. Tests keep apart by their `prefix`."""
    if named := os.environ.get("HALTER_BOOTSTRAP"):
        yield named
    elif why_no_docker() is None:
        with kafka_in_docker() as address:
            yield address
    else:
        with EmbeddedBroker(tmp_path_factory.mktemp("kafka")) as kafka:
            yield kafka.bootstrap
            # Nobody reads it again. It would be killed after ten seconds, at the logs of all topics of a session.
            kafka.kill()


@pytest.fixture(scope="session")
def docker_bootstrap() -> Iterator[str]:
    """`bootstrap.servers` of a Kafka in Docker. The test is skipped, with the reason, if no engine answers."""
    if reason := why_no_docker():
        pytest.skip(reason)
    with kafka_in_docker() as address:
        yield address
