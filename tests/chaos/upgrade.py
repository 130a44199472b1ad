"""An upgrade under attack: workers of an earlier release, whose code is in a folder, become today's one by one.

The steps are those of docs/upgrades.md, each between two faults: the topics; then each worker as today's, which writes
the schemas of the release; then each worker as today's without that variable.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka.admin import AdminClient

from halter.topics import admin as topic_admin
from processors.core.records.errors import HalterError
from processors.kafka.settings import Settings
from tests.chaos.fleet import Fleet, Program
from tests.chaos.reading import wait_for

GONE_SECONDS = 30.0
SCHEMAS = "HALTER_SCHEMAS"


class NotSetUp(HalterError):
    """The earlier release could not create its topics. Look whether the folder has its code."""


def kept_for_ever(document: dict[str, Any], path: Path) -> Path:
    """Write a topics.yaml that deletes nothing, because the verdict reads everything."""
    for topic in document["topics"].values():
        if topic["configs"]["cleanup.policy"] == "delete":
            topic["configs"] |= {"retention.ms": -1, "retention.bytes": -1}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


@dataclass
class Upgrade:
    """`code` has the code of the release. Files may be put into `folder`."""

    code: Path
    release: str
    folder: Path

    def begin(self, bootstrap: str, environment: Mapping[str, str]) -> Program:
        """Let the release create its topics, and return the program of its workers. Raises NotSetUp."""
        document = yaml.safe_load((self.code / "topics.yaml").read_text(encoding="utf-8"))
        topics = kept_for_ever(document, self.folder / "topics-before.yaml")
        old = Program(self.release, self.code, {"HALTER_TOPICS": str(topics)})
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_"))}
        variables |= {**environment, **old.variables, "KAFKA_BOOTSTRAP_SERVERS": bootstrap}
        done = subprocess.run(
            [sys.executable, "-m", "halter", "topics", "apply", "--yes", "--replication", "auto"],
            env=variables, cwd=self.code, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NotSetUp(f"{self.release} could not make its topics: {done.stderr}")
        return old

    def steps(self, fleet: Fleet, settings: Settings, admin: AdminClient) -> Iterator[str]:
        """Take a step, and return its description."""
        beside, today = replace(settings, schemas=self.release).topics(), settings.topics()
        topic_admin.make_so(beside, admin, replication="auto")
        yield "topics"
        yield from self._workers(fleet, Program(f"today's, beside {self.release}", variables={SCHEMAS: self.release}))
        shapes = [topic.name for topic in today.all if topic not in beside.all]
        for future in admin.delete_topics(shapes).values() if shapes else ():
            future.result()
        wait_for(
            "the end of topics", lambda: admin.list_topics(timeout=10).topics.keys().isdisjoint(shapes), GONE_SECONDS
        )
        topic_admin.make_so(today, admin, replication="auto")
        yield f"anew: {', '.join(shapes) or 'no topic'}"
        yield from self._workers(fleet, Program())

    @staticmethod
    def _workers(fleet: Fleet, program: Program) -> Iterator[str]:
        fleet.program = program
        for worker in list(fleet.workers):
            worker.stop()
            worker.program = program
            fleet.wait_ready()
            yield f"{worker.name} is {program.name}"

    @staticmethod
    def count(workers: int) -> int:
        """The number of steps."""
        return 2 + 2 * workers
