"""A process that asks a cluster what a worker asks its group's coordinator: `python -m … BOOTSTRAP`.

It is a process of its own, because one question too many may end it. It prints a line for each thing it did, and goes
on when it gets a line.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import KafkaException

from processors.kafka.settings import Settings
from processors.runtime.group.clients import Clients, Slot
from processors.runtime.group.cluster import Cluster


def driven(work: Any) -> Any:
    """Wait for an answer."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
        time.sleep(0.005)


def is_answered(question: Callable[[], Any]) -> bool:
    """Ask once."""
    try:
        question()
    except KafkaException:
        return False
    return True


def say(line: str) -> None:
    """Print what was done, and wait for a line."""
    print(line, flush=True)
    sys.stdin.readline()


def main() -> None:
    """Ask while the broker is there, while it is silent, and after it."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    settings = Settings.load(None, {}, {"bootstrap.servers": sys.argv[1]}, prefix="asked-", partitions=1)
    cluster = Cluster(Clients(settings, settings.topics(), Slot("one")))
    place = ("asked-wf-commands", 0)
    questions: list[Callable[[], Any]] = [
        lambda: driven(cluster.members()),
        lambda: driven(cluster.group_offsets().look([place])),
    ]
    # Connected, but not yet told who the coordinator is: it looks for it while the broker is silent.
    is_answered(lambda: driven(cluster.identity([place[0]])))
    say("connected")
    say(f"in silence: {[is_answered(it) for it in questions]}")
    until = time.monotonic() + 30
    while not all(is_answered(it) for it in questions) and time.monotonic() < until:
        pass
    say(f"after it: {[is_answered(it) for it in questions]}")


if __name__ == "__main__":
    main()
