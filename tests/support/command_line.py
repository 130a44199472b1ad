"""The command line, called in the process of the tests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from halter import cli


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Run a command with logging as a new process has it, and leave it to the tests after this one as it was.

    Commands set up logging for their process, unless somebody has; `capture_logs` alone counts as somebody.
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
    """Exit code, stdout and stderr of a command."""
    with logging_as_before(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["halter", *arguments])
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
    out, err = capsys.readouterr()
    assert isinstance(code, int)
    return code, out, err
