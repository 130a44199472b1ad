"""Starts processes of ours with a log file, and says how a process ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from halter.processes import leash

LOG_LINES_SHOWN: Final = 12


def leashed(command: Sequence[str]) -> list[str]:
    """Return the command line of a process that ends when this process ends, even by SIGKILL (see `leash`)."""
    return [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command]


def start_logged(
    command: Sequence[str],
    log_file: Path,
    *,
    append: bool = False,
    environment: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a process that writes its stdout and stderr to a log file. `environment` replaces that of this process.

    The process gets a session of its own. Ctrl-C in a terminal reaches a whole process group, and the caller wants to
    stop its processes in its own order.
    """
    with log_file.open("ab" if append else "wb") as log:
        return subprocess.Popen(
            command,
            env=None if environment is None else dict(environment),
            stdin=stdin,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def how_it_ended(exit_code: int) -> str:
    """Return an exit code in words."""
    return f"was killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"ended with exit code {exit_code}"


def log_end(log_file: Path) -> str:
    """Return the last lines of a log file, indented for a message."""
    lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  | {line}" for line in lines[-LOG_LINES_SHOWN:]) or "  | (the log is empty)"
