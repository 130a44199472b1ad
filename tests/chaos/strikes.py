"""Faults that strike programs of users beside the engine: what they share, whatever is attacked.

A program that attacks has scenes (`Scene`), faults by name, outcomes with a row of a table and problems, and a command
line (`attack`).
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, Protocol, Self

from tests.chaos.kafka import Brokers
from tests.support.halter_processes import Halter
from tests.support.machine import Machine
from tests.support.waiting import wait_until

SESSION_MS: Final = 6_000
END_SECONDS: Final = 120.0
READY_SECONDS: Final = 60.0
LOG_SHOWN: Final = 400
"""Characters of the log of a process that has ended where it should run."""
STUCK_CODE: Final = 70
"""Exit code of a process that a call to Kafka has not come back to."""


class Attacked:
    """Processes of one program, which a fault strikes. A context manager: they end with it."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        self.ended = 0
        """How many of them ended by their watchdog."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def cpu_seconds(self) -> float:
        """What those that run have used of a processor."""
        return sum(cpu_seconds_of(it.pid) for it in self.started if it.poll() is None)

    @property
    def first(self) -> subprocess.Popen[bytes]:
        """The victim."""
        return self.started[0]


class Processes(Attacked):
    """Processes that are started for one fault, each with arguments of its own."""

    def __init__(self, halter: Halter, name: str, arguments: Callable[[int], Sequence[str]], ready: str) -> None:
        """`arguments` of Python, by the number of the process. `ready`: what its log has when it takes part."""
        super().__init__()
        self._halter, self._name, self._arguments, self._ready = halter, name, arguments, ready

    def add(self, count: int = 1) -> subprocess.Popen[bytes]:
        """Start some more, side by side. Return the last one when all take part."""
        numbers = range(len(self.started), len(self.started) + count)
        for number in numbers:
            self.started.append(self._start(number))
        for number in numbers:
            wait_until(f"{self._name}-{number} takes part", partial(self._takes_part, number), READY_SECONDS)
        return self.started[-1]

    def _takes_part(self, number: int) -> bool:
        log = (self._halter.folder / f"{self._name}-{number}.log").read_text()
        assert self.started[number].poll() is None, f"{self._name}-{number} ended: {log.strip()[-LOG_SHOWN:]}"
        return self._ready in log

    def kill(self, number: int) -> None:
        """Kill one with SIGKILL, and start it again."""
        self.started[number].kill()
        self.started[number].wait(10)
        self.started[number] = self._start(number)

    def keep(self) -> None:
        """Start those again that have ended by their watchdog, as a supervisor does: Kafka did not answer."""
        for number, it in enumerate(self.started):
            if it.poll() == STUCK_CODE:
                self.ended += 1
                self.started[number] = self._start(number)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        return self._stack.enter_context(self._halter.started(f"{self._name}-{number}", *self._arguments(number)))


def cpu_seconds_of(pid: int) -> float:
    """Return what a process has used of a processor; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Scene(Protocol):
    """The installation, as a fault sees it."""

    @property
    def brokers(self) -> Brokers: ...
    @property
    def attacked(self) -> Sequence[Attacked]:
        """The programs, each with its processes."""


def nothing(_: Scene) -> None:
    """No fault."""


def kill(scene: Scene) -> None:
    for it in scene.attacked:
        it.first.kill()


def terminate(scene: Scene) -> None:
    for it in scene.attacked:
        it.first.send_signal(signal.SIGTERM)
        it.first.wait(60)


def stop_the_broker(scene: Scene) -> None:
    scene.brokers.stall(0, 4.0)


def stop_the_broker_for_long(scene: Scene) -> None:
    scene.brokers.stall(0, 30.0)


def restart_the_broker(scene: Scene) -> None:
    scene.brokers.restart(0)
    scene.brokers.wait_in_sync()


def kill_the_broker(scene: Scene) -> None:
    scene.brokers.kill(0, 2.0)
    scene.brokers.wait_in_sync()


class Fault(Protocol):
    """A fault that has a name."""

    @property
    def text(self) -> str:
        """What it is, as the table says it."""


class Outcome(Protocol):
    """What came of one fault."""

    problems: list[str]

    @property
    def row(self) -> str:
        """A row of the table."""


def row(text: str, *numbers: int) -> str:
    """Return a row of a table."""
    return f"| {text} | {' | '.join(f'{it:,}' for it in numbers)} |"


def table(columns: Sequence[str], outcomes: Sequence[Outcome]) -> str:
    """Return a table in Markdown."""
    head = [f"| Fault | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}"]
    return "\n".join([*head, *(it.row for it in outcomes)])


def attack(
    parser: argparse.ArgumentParser,
    faults: Mapping[str, Fault],
    columns: Sequence[str],
    run: Callable[[Path, Sequence[str], argparse.Namespace, Callable[[str], None]], Iterable[Outcome]],
) -> None:
    """Attack by the command line, and print the table. Exit code 1 if something is not as promised; logs stay then."""
    parser.add_argument("faults", nargs="*", help=f"some of {', '.join(faults)}; default: all")
    given = parser.parse_args()
    if unknown := set(given.faults) - set(faults):
        parser.error(f"expected some of {', '.join(faults)}, found {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="halter-chaos-"))
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    outcomes = list(run(folder, given.faults or [*faults], given, say))
    print(table(columns, outcomes))
    print(f"\nMachine: {Machine()}.")
    if any(it.problems for it in outcomes):
        sys.exit(f"halter: something is not as promised; the logs are in {folder}")
    shutil.rmtree(folder, ignore_errors=True)
