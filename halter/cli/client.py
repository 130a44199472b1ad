"""What the commands that need a Client share: their options, and the way to a Client."""

import base64
import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli.connection import load_settings, patience
from halter.cli.usage import UsageMistake, in_utf8
from halter.json_tokens import found_at

if TYPE_CHECKING:
    from halter.client import Client
    from processors.core.values import Value, VariableType

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait for what becomes of it."),
]
Thread = Annotated[int, typer.Option("--thread", metavar="N", min=0, help="Number of the ThreadRun.")]
Unmask = Annotated[bool, typer.Option("--unmask", help="Show masked values too.")]
WfRunId = Annotated[
    str, typer.Argument(metavar="WF_RUN", help="Id of the WfRun.", show_default=False, callback=in_utf8)
]


class NotAnAssignment(UsageMistake):
    """A --var is not of the form NAME=VALUE. Whoever typed it corrects it."""


@contextmanager
def connected(
    bootstrap: str | None,
    properties_file: Path | None,
    properties: list[str] | None,
    prefix: str | None,
    connect_timeout: float,
) -> "Iterator[Client]":
    """A Client of the installation that the options name, once Kafka answers."""
    from halter.client import Client

    settings = load_settings(bootstrap, properties_file, properties, prefix)
    with patience(), Client(settings) as client:
        client.reach(connect_timeout)
        if sys.stderr.isatty():
            client.reader.report = note
        yield client


class BadValue(UsageMistake):
    """What is typed for a value is JSON that no value can be, or was meant as JSON and is none. Whoever typed it
    corrects it."""


def typed_value(text: str, declared: "VariableType | None" = None, what: str = "CONTENT") -> "Value":
    """What somebody typed, as the declared type wants it; else JSON where it is JSON, else text. Raises BadValue.

    A STR is text as it stands, unless it is in JSON's quotation marks; a TIMESTAMP is ISO 8601, BYTES are base64.
    For all others, what begins as JSON's objects, arrays and texts do, and is no JSON, is a mistake and not text.
    """
    from processors.core.values import NotJson, UnfitValue, ValueProblem, VariableType, timestamp_of, typed_json

    try:
        match declared:
            case VariableType.STR if not text.startswith('"'):
                return text
            case VariableType.TIMESTAMP:
                return timestamp_of(text)
            case VariableType.BYTES:
                return base64.b64decode(text, validate=True)
            case _:
                return typed_json(text, what)
    except UnfitValue as problem:
        hint = "" if _begins_as_json(text) else "; in quotation marks it is text: '\"…\"'"
        raise BadValue(f"{problem}{hint}") from None
    except NotJson as problem:
        if declared is VariableType.STR or not _begins_as_json(text):
            return text  # whoever decides will say what was expected
        raise BadValue(
            f"{what}: expected JSON, found {found_at(text, problem.position)}; to send it as text put it in quotation "
            f"marks: {_as_typed_text(text)}"
        ) from None
    except (ValueProblem, ValueError):
        return text  # as above


def _begins_as_json(text: str) -> bool:
    """Whether it begins as no text does that somebody types without quotation marks."""
    return text.lstrip(" \t\r\n").startswith(("{", "[", '"'))


TEXT_SHOWN_MAX = 40


def _as_typed_text(text: str) -> str:
    """How a shell is given a text as JSON; of a long one its form only."""
    return shlex.quote(json.dumps(text, ensure_ascii=False)) if len(text) <= TEXT_SHOWN_MAX else "'\"…\"'"


def assignments(options: list[str] | None) -> dict[str, str]:
    """What --var NAME=VALUE options say, as it is typed. Raises NotAnAssignment."""
    texts = {}
    for option in options or ():
        name, equals, text = option.partition("=")
        if not equals or not name:
            raise NotAnAssignment(f"--var: expected NAME=VALUE, found '{option}'")
        texts[name.strip()] = text
    return texts


def typed_values(texts: Mapping[str, str], declared: "Mapping[str, VariableType]") -> "dict[str, Value]":
    """The values of Variables; `declared`: Variable -> type."""
    return {name: typed_value(text, declared.get(name), f"--var {name}") for name, text in texts.items()}


def print_json(data: Any) -> None:
    """One document on stdout."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def note(sentence: str) -> None:
    """Something beside the result: stderr."""
    typer.echo(f"halter: {sentence}", err=True)


def styled(text: str, **style: Any) -> str:
    """The text with colours, if a person looks at it."""
    return typer.style(text, **style) if sys.stdout.isatty() else text


def terminal_width() -> int | None:
    """How wide a line may be, if a person looks at it; what goes elsewhere has its lines whole."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class BadVersion(UsageMistake):
    """A version is not MAJOR or MAJOR.REVISION. Whoever typed it corrects it."""


def parsed_version(text: str | None) -> tuple[int | None, int | None]:
    """MAJOR or MAJOR.REVISION."""
    if text is None:
        return None, None
    major, dot, revision = text.partition(".")
    if not major.isdecimal() or (dot and not revision.isdecimal()):
        raise BadVersion(f"--version: expected MAJOR or MAJOR.REVISION, found '{text}'")
    return int(major), int(revision) if dot else None
