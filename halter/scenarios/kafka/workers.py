"""The worker processes of scenarios: `halter worker --scenario`, started before they are needed.

A start takes a second or two, most of it without Kafka. So the next process is started while a scenario runs. It gets
ready, and waits on its standard input for its scenario. A crash then costs only joining the group and restoring.
"""

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from halter.processes.children import how_it_ended, log_end, start_logged
from halter_kafka import COMMAND
from processors.core.records.errors import HalterError
from processors.kafka.settings import Settings
from processors.worker.scenario_worker import Assignment, ScenarioClock

SPARES_MAX: Final = 2
STOP_SECONDS: Final = 5.0

EAGER: Final[Mapping[str, str]] = {"KAFKA_FETCH_WAIT_MAX_MS": "10"}
"""Properties for workers, unless the user has set them. They keep waits short, as the engine waits for each record."""


class WorkerEnded(HalterError):
    """A worker process ended by itself. The message has the end of its log. Report it with the scenario."""


class WorkerProcess:
    """One worker process. It ends when this process ends, because its standard input does."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log_file: Path) -> None:
        self._log_file = log_file
        self._killed = False
        self._process = start_logged(command, log_file, environment=environment, stdin=subprocess.PIPE)

    def work_for(self, assignment: Assignment) -> None:
        """Give the process its scenario. It begins at once."""
        self._tell(assignment.line())

    def let_fire(self, until_ms: int) -> None:
        """Let the worker fire one timer that is due by then."""
        self._tell(ScenarioClock.line(until_ms))

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            self._process.wait(STOP_SECONDS)
            self.expect_running()

    def expect_running(self) -> None:
        """Raise WorkerEnded if the process has ended and `kill` did not end it.

        After `kill`, records that it wrote are still to be read.
        """
        code = self._process.poll()
        if code is not None and not self._killed:
            raise WorkerEnded(f"the worker {how_it_ended(code)}:\n{self.log_end()}")

    def log_end(self) -> str:
        """Return the last lines of the process' log."""
        return log_end(self._log_file)

    def kill(self) -> None:
        """Kill the process with SIGKILL, and wait until it has ended."""
        self._killed = True
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the last line was never read
            self._process.stdin.close()


class Workers:
    """Starts worker processes before they are needed. All use the same Kafka; each gets its scenario later."""

    def __init__(self, settings: Settings, folder: Path, expected: int) -> None:
        """`expected` is a guess how many are needed in all. It keeps the last ones from being started for nothing."""
        self._folder, self._left, self._started = folder, expected, 0
        topics_file = ["--topics-file", str(settings.topics_file)] if settings.topics_file else []
        self._command = [*COMMAND, "worker", "--scenario", "--log-format", "json", *topics_file]
        # Passed as variables, because every user of the machine can read a command line.
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_"))},
            **EAGER,
            **{f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.properties.items()},
        }
        self._spares: list[WorkerProcess] = []
        self._fill()

    def take(self) -> WorkerProcess:
        """Return a process that is ready, or soon will be, and start the next one."""
        worker = self._spares.pop(0) if self._spares else self._start()
        self._left -= 1
        self._fill()
        return worker

    def _fill(self) -> None:
        while len(self._spares) < min(SPARES_MAX, self._left):
            self._spares.append(self._start())

    def _start(self) -> WorkerProcess:
        self._started += 1
        return WorkerProcess(self._command, self._environment, self._folder / f"worker-{self._started}.log")

    def close(self) -> None:
        """End the processes that were not taken."""
        while self._spares:
            self._spares.pop().kill()
