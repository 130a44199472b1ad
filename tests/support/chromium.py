"""A Chromium for tests of pages: one that is on the machine, or Debian's, installed where apt and root are at hand.

Playwright drives it. It cannot fetch a browser of its own where only package registries are reached.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.debian import UPDATE, is_root, one_at_a_time, run

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SETTING = "HALTER_CHROMIUM"
INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium")
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
    if not is_root():
        pytest.skip(f"no Chromium is on the PATH or in {SETTING}, and only root can install one, with apt-get")
    with one_at_a_time():
        if found := _on_the_path():
            return found
        run(*UPDATE)
        run(*INSTALL)
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
