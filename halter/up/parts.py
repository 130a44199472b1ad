"""The parts of a process tree: the command of each, when it is ready, and where to go.

Pure: starts nothing and asks nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from halter_kafka import COMMAND

MAY_BE_LEFT_OUT: Final = ("broker", "topics", "worker", "view", "console")
"""In the order in which they start."""
EXTRAS: Final = {"broker": "broker", "worker": "engine", "view": "view", "console": "console"}
"""What has to be installed for a part."""
START_SECONDS: Final = 90.0
DOWNLOAD_SECONDS: Final = 1_800.0
"""The first broker is downloaded."""


@dataclass(frozen=True)
class Part:
    """One process of the tree."""

    name: str
    command: Sequence[str]
    ready_s: float = START_SECONDS
    """How long it may take until it is ready."""
    port: int | None = None
    """The port at which it listens once it is ready; None if it says so by a ready file."""
    is_yours: bool = False
    """A program of whoever started the tree, who mends it meanwhile. It is never given up, and what it says is told."""


def broker(port: int, data: str) -> Part:
    """Kafka, at a port of the loopback address."""
    return Part("broker", [*COMMAND, "broker", "--port", str(port), "--data", data], DOWNLOAD_SECONDS)


def worker(where: Sequence[str]) -> Part:
    """A worker of the engine. Its slot is always the same, so one that starts again goes on at once."""
    return Part("worker", [*COMMAND, "worker", "--slot", "up", *where])


def view(where: Sequence[str], url: str) -> Part:
    """A view, which is ready when it has everything that there is."""
    return Part("view", [*COMMAND, "view", "--url", url, *where])


def console(where: Sequence[str], url: str, port: int, *, allow_actions: bool) -> Part:
    """The console, for this machine alone."""
    actions = ["--allow-actions"] if allow_actions else []
    return Part("console", [*COMMAND, "console", "--view", url, "--port", str(port), *actions, *where], port=port)


def task_worker(where: Sequence[str], tasks: str) -> Part:
    """A task worker with the handlers of a module. It ends as long as their TaskDefs are not registered."""
    return Part("task-worker", [*COMMAND, "task-worker", tasks, *where], is_yours=True)


def state_of(name: str, ready: Mapping[str, object]) -> str:
    """Return what the ready file of a part says of it, in words."""
    partitions = ready.get("shards")
    if name != "worker" or not isinstance(partitions, list):
        return "ok"
    return f"ok, {len(partitions)} partition{'' if len(partitions) == 1 else 's'}"
