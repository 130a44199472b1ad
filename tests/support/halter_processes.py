"""A real installation for tests of what people use: topics under a prefix, `halter worker`, the command line."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from confluent_kafka.admin import AdminClient

from halter.client import Client, CommandRejected
from halter.topics import admin as topic_admin
from processors.kafka.settings import Settings
from tests.support.command_line import Ended, run_here
from tests.support.keys import one_key_each
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
NOTHING: Mapping[str, str] = MappingProxyType({})


class Halter:
    """An installation under a prefix of its own. `variables` are further variables for everything in it."""

    python, root = sys.executable, ROOT
    """The interpreter and the checkout of its processes."""

    def __init__(
        self,
        bootstrap: str,
        prefix: str,
        folder: Path,
        partitions: int = 3,
        variables: Mapping[str, str] = NOTHING,
        *,
        makes_topics: bool = True,
    ) -> None:
        overrides: dict[str, str | None] = {"bootstrap.servers": bootstrap}
        self.settings = Settings.load(None, variables, overrides, prefix=prefix, partitions=partitions)
        self.topics = self.settings.topics()
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_"))},
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "HALTER_PREFIX": prefix,
            "HALTER_PARTITIONS": str(partitions),
            "COLUMNS": "200",
            **variables,
        }
        if makes_topics:
            self.make_topics()

    def make_topics(self) -> None:
        """Create the topics."""
        topic_admin.make_so(self.topics, AdminClient(self.settings.admin()), replication="auto")

    @contextmanager
    def started(self, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a Python process that ends with the block, perhaps before it is ready. `NAME.ready` is its ready file."""
        log_file, ready_file = self.folder / f"{name}.log", self.folder / f"{name}.ready"
        ready_file.unlink(missing_ok=True)  # left by a process that was killed
        with log_file.open("ab") as log:
            command = [self.python, *arguments, "--ready-file", str(ready_file)]
            process = subprocess.Popen(
                command, env=self.environment, cwd=self.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)

    @contextmanager
    def process(self, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the same, once it is ready."""
        with self.started(name, *arguments) as process:

            def is_ready() -> bool:
                assert process.poll() is None, (self.folder / f"{name}.log").read_text()
                return (self.folder / f"{name}.ready").exists()

            wait_until(f"readiness of {name}", is_ready, 60)
            yield process

    def worker(self, name: str = "worker") -> Any:
        """Run `halter worker`."""
        return self.process(name, "-m", "halter", "worker", "--slot", name)

    def client(self) -> Client:
        return Client.of(self.settings, self.topics)

    def command(self, *arguments: str) -> Ended:
        """Run `halter ARGUMENTS` in this process."""
        return run_here(self.environment, *arguments)

    def command_in_a_process(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `halter ARGUMENTS` in a process of its own: beside others, or where the process itself matters."""
        return subprocess.run(
            [self.python, "-m", "halter", *arguments],
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            stdin=subprocess.DEVNULL,
        )


def register_the_cart(client: Client) -> None:
    """Register the cart of the examples, and return once every shard has read it.

    A client that has read no definitions names no position of them: what it starts would be refused until then.
    """
    client.register(ROOT / "examples" / "cart" / "cart.yaml")
    asked = [client.run("is-in-no-file", wf_run_id=it) for it in one_key_each(client.topics.partitions, "asks-")]
    for one in asked:
        with suppress(CommandRejected):
            one.outcome()


@contextmanager
def halter_with_the_cart(bootstrap: str, folder: Path) -> Iterator[Halter]:
    """Yield an installation with a worker, where the cart of the examples is registered."""
    installation = Halter(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", folder)
    with installation.worker():
        with installation.client() as client:
            register_the_cart(client)
        yield installation
