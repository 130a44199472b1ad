"""Calls the command line in the process of the tests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from halter import cli


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Give the block the logging of a new process, and restore the logging of before at the end.

    Commands set up logging for their process unless it is set up already, and `capture_logs` alone counts as set up.
    """
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    try:
        yield
    finally:
        structlog.reset_defaults()
        if before is not None:
            structlog.configure(**before)


def halter(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command, and return its exit code, stdout and stderr."""
    with logging_as_before(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["halter", *arguments])
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
    out, err = capsys.readouterr()
    assert isinstance(code, int)
    return code, out, err
