"""Calls the command line: in the process of the tests, or in a new one to see what it imports."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
import structlog
from typer.core import TyperGroup

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


SLOW = frozenset(
    {
        "avro",
        "confluent_kafka.schema_registry",
        "faust",
        "halter.scenarios",
        "halter.task_worker",
        "jgo",
        "mode",
        "processors.runtime",
        "processors.worker",
        "prometheus_client",
        "pydantic",
        "rich.console",
        "rocksdict",
        "structlog",
        "uvloop",
    }
)
"""Modules that take long to import, or that bring many others, and that few commands need."""


def slow_imports(*arguments: str, environment: Mapping[str, str] = os.environ) -> set[str]:
    """Run a command that succeeds in a new process, and return the slow modules that it imported.

    Python itself reports imports, because a command ends its process before a test could look at `sys.modules`.
    """
    command = [sys.executable, "-X", "importtime", "-m", "halter", *arguments]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=90, stdin=subprocess.DEVNULL
    )
    assert ended.returncode == 0, ended.stderr[-2_000:]
    lines = (line for line in ended.stderr.splitlines() if line.startswith("import time:"))
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "halter.cli" in imported
    return imported & SLOW


def _below(group: TyperGroup, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield every command below a group, with its options."""
    for part, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _below(command, f"{name}{part} ")
        else:
            yield f"{name}{part}", {option for parameter in command.params for option in parameter.opts}


def all_commands() -> dict[str, set[str]]:
    """Return every command of `halter`, those of groups as `scenario run`, each with its options."""
    found = {}
    for name in cli.COMMANDS:
        command = cli.load(name)
        if isinstance(command, TyperGroup):
            found |= dict(_below(command, f"{name} "))
        else:
            found[name] = {option for parameter in command.params for option in parameter.opts}
    return found
