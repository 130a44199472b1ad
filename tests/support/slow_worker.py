"""A real worker that stands still for a while in each turn, so that a test of latency can be seen to fail.

python -m tests.support.slow_worker --slot NAME [--ready-file FILE]
"""

import argparse
import os
import time
from pathlib import Path

from processors.codec import Codec
from processors.fold.definitions_view import DefinitionsView
from processors.fold.shard_folds import ShardFolds
from processors.kafka.settings import Settings
from processors.runtime import CrashPoints, Slot
from processors.runtime.group.crash_points import CrashPoint
from processors.worker import app
from processors.worker.logs import configure_logging
from processors.worker.ready_file import ReadyFile

PAUSE_SECONDS = 0.2
"""So long that a busy machine does not hide it."""


class Pauses(CrashPoints):
    """Stands still when a turn was folded."""

    def reached(self, point: CrashPoint) -> None:
        if point is CrashPoint.AFTER_FOLD:
            time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Run until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slot", required=True)
    parser.add_argument("--ready-file", type=Path, default=None)
    options = parser.parse_args()
    configure_logging()
    settings = Settings.load(None, os.environ, {})
    topics, codec = settings.topics(), Codec.load()
    definitions = DefinitionsView(codec)
    app.expect_topics(settings, topics)
    worker = app.build(
        settings,
        topics,
        ShardFolds(topics.partitions, codec, definitions),
        definitions,
        slot=Slot(options.slot, static=True),
        crash_points=Pauses(),
    )
    app.run(worker, ReadyFile(options.ready_file) if options.ready_file else None)


if __name__ == "__main__":
    main()
