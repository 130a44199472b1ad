"""What the commands that need a Client share: their options, and the way to a Client."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli.connection import load_settings
from processors.errors import HalterError

if TYPE_CHECKING:
    from halter.client import Client
    from processors.core.values import Value

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait for what becomes of it."),
]
Thread = Annotated[int, typer.Option("--thread", metavar="N", min=0, help="Number of the ThreadRun.")]
Unmask = Annotated[bool, typer.Option("--unmask", help="Show masked values too.")]
WfRunId = Annotated[str, typer.Argument(metavar="WF_RUN", help="Id of the WfRun.", show_default=False)]


class NotAnAssignment(HalterError):
    """A --var is not of the form NAME=VALUE. Whoever typed it corrects it."""


@contextmanager
def connected(
    bootstrap: str | None, properties_file: Path | None, properties: list[str] | None, prefix: str | None
) -> "Iterator[Client]":
    """A Client of the installation that the options name."""
    from halter.client import Client

    with Client(load_settings(bootstrap, properties_file, properties, prefix)) as client:
        yield client


def typed_value(text: str) -> "Value":
    """What somebody typed: JSON where it is JSON, else text. `5` is an INT, `"5"` and `five` are STR."""
    from processors.core.values import ValueProblem, from_json

    try:
        return from_json(text)
    except ValueProblem:
        return text


def assignments(options: list[str] | None) -> "dict[str, Value]":
    """The values of --var NAME=VALUE options."""
    values = {}
    for option in options or ():
        name, equals, text = option.partition("=")
        if not equals or not name:
            raise NotAnAssignment(f"--var: expected NAME=VALUE, found '{option}'")
        values[name.strip()] = typed_value(text)
    return values


def print_json(data: Any) -> None:
    """One document on stdout."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def note(sentence: str) -> None:
    """Something beside the result: stderr."""
    typer.echo(f"halter: {sentence}", err=True)


def styled(text: str, **style: Any) -> str:
    """The text with colours, if a person looks at it."""
    return typer.style(text, **style) if sys.stdout.isatty() else text
