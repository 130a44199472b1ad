"""A Chromium for tests of pages: one that is on the machine, or Debian's, installed where apt and root are at hand.

Playwright drives it. It cannot fetch a browser of its own where only package registries are reached.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SETTING = "HALTER_CHROMIUM"
INSTALL = (("apt-get", "update", "-q"), ("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"))
SECONDS_MAX = 130
OPTIONS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """Return the path of a Chromium, which is installed if need be. Skips the test where none can be had."""
    if named := os.environ.get(SETTING):
        return named
    if found := _on_the_path():
        return found
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(f"no Chromium is on the PATH or in {SETTING}, and only root can install one, with apt-get")
    with Path(tempfile.gettempdir(), "halter-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other test process may be installing it
        if found := _on_the_path():
            return found
        for command in INSTALL:
            quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, timeout=SECONDS_MAX, env=quiet
                )
            except subprocess.TimeoutExpired:
                pytest.skip(f"`{' '.join(command)}` took more than {SECONDS_MAX} s")
            if done.returncode:
                pytest.skip(f"`{' '.join(command)}` failed: {done.stderr.strip()[-300:]}")
    found = _on_the_path()
    assert found is not None, "apt-get has installed chromium, and there is none on the PATH"
    return found


def _on_the_path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a Chromium without a window."""
    path = chromium()
    as_root = ("--no-sandbox",) if os.name == "posix" and os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=[*OPTIONS, *as_root])
        try:
            yield started
        finally:
            started.close()
