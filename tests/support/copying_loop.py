"""A process that runs a Loop: `python -m tests.support.copying_loop SOURCE DESTINATION`, and options below.

Each record of the source becomes two of the destination, whose values say where it was. A record whose value begins
with `bad` becomes a dead letter, one that is empty nothing, and `large SIZE` one of that size.
"""

import argparse
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import structlog

from halter.transform import Output, SourceRecord, dead_letter
from halter.transform.loop import Loop
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics
from processors.runtime.group.clients import Slot
from processors.worker.logs import configure_logging


class Copying:
    """The mapping."""

    def __init__(self, topics: Topics, source: str, destination: str) -> None:
        self._topics, self.sources, self.destinations = topics, [source], [destination]

        self.bad, self.seen = b"bad", list[bytes]()

    def outputs(self, record: SourceRecord) -> Sequence[Output]:
        value = record.value or b""
        self.seen.append(value)
        if value.startswith(self.bad):
            return [self.dead_letter(record, "BAD", "expected a good record")]
        if not value:
            return []
        if value.startswith(b"large"):
            value = bytes(int(value.split()[1]))
        (to,) = self.destinations
        return [Output(to, record.key, b"%d %s %s" % (number, record.place.encode(), value)) for number in (0, 1)]

    def dead_letter(self, record: SourceRecord, code: str, message: str) -> Output:
        return dead_letter(self._topics, "copies", record, code, message)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("destination")
    parser.add_argument("--slot")
    parser.add_argument("--group", default="copying")
    parser.add_argument("--since-ms", type=int, default=0)
    parser.add_argument("--ready-file", type=Path)
    given = parser.parse_args()
    configure_logging("console", "info")
    settings = Settings.load(None, os.environ, {})
    topics, stopped = settings.topics(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    slot = Slot(given.slot, static=True) if given.slot else Slot(f"p{os.getpid()}")
    loop = Loop(
        settings,
        topics,
        Copying(topics, given.source, given.destination),
        name="copying",
        group=topics.prefix + given.group,
        slot=slot,
        since_ms=given.since_ms,
        stopped=stopped,
        log=structlog.get_logger("test"),
    )
    if given.ready_file is not None:
        given.ready_file.write_text("{}")
    loop.run()
    print("figures", loop.figures.as_dict(), flush=True)


if __name__ == "__main__":
    main()
