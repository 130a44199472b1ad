"""A worker process with the counting fold, for tests: python -m tests.support.counting_worker [options]

It is like `halter worker`, except for the fold. KAFKA_* and HALTER_* variables say where Kafka is.
HALTER_STOP_AT=point:n makes a zombie: the process stops (SIGSTOP) when it reaches that crash point for the n-th time,
and may be continued. HALTER_RESTORE_MS_PER_ROW makes restores slow.
"""

import argparse
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from processors.core.records.errors import HalterError
from processors.kafka.settings import Settings
from processors.runtime.group.clients import Slot
from processors.runtime.group.crash_points import CrashAt, CrashPoint, CrashPoints
from processors.worker import app
from processors.worker.logs import configure_logging
from processors.worker.ready_file import ReadyFile
from tests.support.counting_fold import CountingDefinitions, CountingFactory, CountingFold


class StopAt(CrashPoints):
    """Stops the process at a crash point, as an overloaded machine would: the process believes that no time passed."""

    def __init__(self, text: str) -> None:
        name, _, times = text.partition(":")
        self._point, self._left = CrashPoint(name), int(times or 1)

    def reached(self, point: CrashPoint) -> None:
        if point is self._point:
            self._left -= 1
            if self._left == 0:
                # Sent to this thread: if it were sent to the process, another thread might take it and this one go on.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


class SlowToRestore(CountingFactory):
    """Makes folds that take time for every restored row, as a state of many millions of rows would."""

    def __init__(self, definitions: CountingDefinitions, seconds_per_row: float) -> None:
        super().__init__(definitions)
        self._seconds_per_row = seconds_per_row

    def create(self, partition: int) -> CountingFold:
        fold = super().create(partition)
        restore, seconds = fold.restore, self._seconds_per_row

        def slowly(topic: str, key: bytes, value: bytes) -> None:
            time.sleep(seconds)
            restore(topic, key, value)

        fold.restore = slowly  # type: ignore[method-assign]
        return fold


def crash_points_from_variables() -> CrashPoints | None:
    if text := os.environ.get("HALTER_CRASH_AT"):
        return CrashAt.parse(text)
    if text := os.environ.get("HALTER_STOP_AT"):
        return StopAt(text)
    return None


def main() -> None:
    """Run until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slot", default=None)
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--ready-file", type=Path, default=None)
    options = parser.parse_args()
    configure_logging()
    try:
        settings = Settings.load(None, os.environ, {})
        topics = settings.topics()
        definitions = CountingDefinitions()
        app.expect_topics(settings, topics)
        worker = app.build(
            settings,
            topics,
            SlowToRestore(definitions, int(os.environ.get("HALTER_RESTORE_MS_PER_ROW", "0")) / 1_000),
            definitions,
            slot=Slot(options.slot or f"{socket.gethostname()}-{os.getpid()}", options.static),
            crash_points=crash_points_from_variables(),
        )
        app.run(worker, ReadyFile(options.ready_file) if options.ready_file else None)
    except HalterError as error:
        sys.exit(f"halter: {error}")


if __name__ == "__main__":
    main()
