"""Calls the command line: in the process of the tests, or in a new one to see what it imports."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command has left."""

    returncode: int
    stdout: str
    stderr: str


def halter(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command, and return its exit code, stdout and stderr."""
    code = _run(*arguments)
    out, err = capsys.readouterr()
    return code, out, err


def run_here(environment: Mapping[str, str], *arguments: str) -> Ended:
    """Run a command in this process, with what it would find in a new one: variables, no terminal, nothing on stdin.

    A new process takes most of a second to import what a command needs.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    streams = {name: TextIOWrapper(BytesIO(), encoding="utf-8") for name in ("stdout", "stderr")}
    try:
        with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open(encoding="utf-8") as nothing:
            for name in os.environ.keys() - environment.keys():
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", nothing)
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            code = _run(*arguments)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return Ended(code, *map(_text_of, streams.values()))


def _text_of(stream: TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


def _run(*arguments: str) -> int:
    with logging_as_before(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["halter", *arguments])
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int)
    return code


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
