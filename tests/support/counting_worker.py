"""A worker process with the counting fold, for tests: python -m tests.support.counting_worker [options]

As `halter worker`, but for the fold. KAFKA_* and HALTER_* variables say where Kafka is.
"""

import argparse
import os
import socket
import sys
from pathlib import Path

from processors import app
from processors.errors import HalterError
from processors.observability import ReadyFile, configure_logging
from processors.runtime import CrashAt, Slot
from processors.settings import Settings
from tests.support.counting_fold import CountingDefinitions, CountingFactory


def main() -> None:
    """Run until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slot", default=None)
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--ready-file", type=Path, default=None)
    options = parser.parse_args()
    configure_logging()
    settings = Settings.load(None, os.environ, {})
    topics = settings.topics()
    definitions = CountingDefinitions()
    crash_at = os.environ.get("HALTER_CRASH_AT")
    try:
        app.expect_topics(settings, topics)
        worker = app.build(
            settings,
            topics,
            CountingFactory(definitions),
            definitions,
            slot=Slot(options.slot or f"{socket.gethostname()}-{os.getpid()}", options.static),
            steps=CrashAt.parse(crash_at) if crash_at else None,
        )
        app.run(worker, ReadyFile(options.ready_file) if options.ready_file else None)
    except HalterError as error:
        sys.exit(f"halter: {error}")


if __name__ == "__main__":
    main()
