"""Debian's packages for tests that run programs of others. Where a package cannot be had, the test is skipped."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SECONDS_MAX = 130
UPDATE = ("apt-get", "update", "-q")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other test process uses apt-get, which does not wait for itself."""
    with Path(tempfile.gettempdir(), "halter-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_root() -> bool:
    return os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get") is not None


def run(*command: str, folder: Path | None = None) -> None:
    """Run a command of Debian's. Skips the test if it fails."""
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SECONDS_MAX, env=quiet, cwd=folder
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"`{' '.join(command)}` took more than {SECONDS_MAX} s")
    if done.returncode:
        pytest.skip(f"`{' '.join(command)}` failed: {done.stderr.strip()[-300:]}")
