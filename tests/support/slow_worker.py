"""`halter worker` that stands still for a while in each turn, so that a test of latency can be seen to fail.

python -m tests.support.slow_worker --slot NAME [--ready-file FILE]
"""

import argparse
import os
import time
from pathlib import Path

from halter.cli.running_options import Running
from halter.cli.worker import run_here
from processors.kafka.settings import Settings
from processors.runtime.group.crash_points import CrashPoint, CrashPoints
from processors.worker.logs import configure_logging

PAUSE_SECONDS = 0.2
"""So long that a busy machine does not hide it."""


def stand_still(_: CrashPoints, point: CrashPoint) -> None:
    """Stand still when a turn was folded."""
    if point is CrashPoint.AFTER_FOLD:
        time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Run until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slot", required=True)
    parser.add_argument("--ready-file", type=Path, default=None)
    options = parser.parse_args()
    configure_logging()
    CrashPoints.reached = stand_still  # type: ignore[method-assign]  # what this worker is for
    run_here(Settings.load(None, os.environ, {}), options.slot, options.ready_file, Running())


if __name__ == "__main__":
    main()
