"""Options and helpers shared by the commands that need a Client."""

import base64
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from halter.cli.connection import load_settings, patience
from halter.cli.usage import UsageMistake, in_utf8
from halter.files.json_tokens import found_at

if TYPE_CHECKING:
    from halter.client import Client
    from processors.core.records.values import Value, VariableType

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait for the outcome."),
]
Thread = Annotated[int, typer.Option("--thread", metavar="N", min=0, help="Number of the ThreadRun.")]
Unmask = Annotated[bool, typer.Option("--unmask", help="Show masked values.")]
WfRunId = Annotated[
    str, typer.Argument(metavar="WF_RUN", help="Id of the WfRun.", show_default=False, callback=in_utf8)
]


class NotAnAssignment(UsageMistake):
    """A --var does not have the form NAME=VALUE. Whoever typed it corrects it."""


@contextmanager
def connected(
    bootstrap: str | None,
    properties_file: Path | None,
    properties: list[str] | None,
    prefix: str | None,
    connect_timeout: float,
    *,
    to_send: bool = True,
    shows: Sequence[str] = (),
) -> "Iterator[Client]":
    """Yield a Client of the installation that the options name, once Kafka answers.

    `to_send=False`: the command only reads. `shows` names the modules with which it shows what it finds: they are
    imported while Kafka answers.
    """
    from halter.client import Client

    settings = load_settings(bootstrap, properties_file, properties, prefix)
    with patience(), Client.of(settings) as client:
        client.reader.connect("read_committed")  # as `reach` does first
        for module in shows:
            import_module(module)
        client.reach(connect_timeout, to_send=to_send)
        client.warn_with(note)
        if sys.stderr.isatty():
            client.reader.report = note
        yield client


class BadValue(UsageMistake):
    """A typed value is JSON that exceeds a limit of values, or begins like JSON and is not JSON. Whoever typed it
    corrects it."""


def typed_value(text: str, declared: "VariableType | None" = None, what: str = "CONTENT") -> "Value":
    """Return the value that a typed text stands for. Raises BadValue.

    For a STR it is the text itself, unless the text is in JSON's quotation marks. For a TIMESTAMP the text is ISO 8601,
    for BYTES base64. For all other types it is JSON if it is valid JSON, else the text itself. A text that begins like
    a JSON object, array or string and is not valid JSON is a mistake.
    """
    from processors.core.records.value_checks import NotJson, UnfitValue, typed_json
    from processors.core.records.values import ValueProblem, VariableType, timestamp_of

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
            return text  # the engine refuses it, and says what it expected
        raise BadValue(
            f"{what}: expected JSON, found {found_at(text, problem.position)}; to send it as text put it in quotation "
            f"marks: {_as_typed_text(text)}"
        ) from None
    except (ValueProblem, ValueError):
        return text  # as above, the engine refuses it


def _begins_as_json(text: str) -> bool:
    """Return True if a text begins like JSON, as a text typed without quotation marks hardly ever does."""
    return text.lstrip(" \t\r\n").startswith(("{", "[", '"'))


TEXT_SHOWN_MAX = 40


def _as_typed_text(text: str) -> str:
    """Return a text as JSON, quoted for the shell. For a long text, return only the form."""
    return shlex.quote(json.dumps(text, ensure_ascii=False)) if len(text) <= TEXT_SHOWN_MAX else "'\"…\"'"


def assignments(options: list[str] | None) -> dict[str, str]:
    """Return NAME -> VALUE of the options --var NAME=VALUE, as typed. Raises NotAnAssignment."""
    texts = {}
    for option in options or ():
        name, equals, text = option.partition("=")
        if not equals or not name:
            raise NotAnAssignment(f"--var: expected NAME=VALUE, found '{option}'")
        texts[name.strip()] = text
    return texts


def typed_values(texts: Mapping[str, str], declared: "Mapping[str, VariableType]") -> "dict[str, Value]":
    """Return the values of Variables. `declared` gives the type of each Variable."""
    return {name: typed_value(text, declared.get(name), f"--var {name}") for name, text in texts.items()}


def print_json(data: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def counted(number: int, what: str) -> str:
    """Return a number of things in words: `1 topic`, `2 topics`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def note(sentence: str) -> None:
    """Print a sentence that is not part of the result, on stderr. On a terminal it is wrapped."""
    from halter.show.wrapping import wrapped

    said, width = f"halter: {sentence}", terminal_width(sys.stderr)
    typer.echo(said if width is None else "\n".join(wrapped(said, width)), err=True)


LABEL: Final = re.compile(r" *\S+  +")
"""Begins a line whose words stand in a column: `  recorded  E  Halt …`."""


def print_line(line: str, **style: Any) -> None:
    """Print a line of a result. On a terminal it is wrapped, and goes on below its words."""
    from halter.show.wrapping import printable, wrapped

    line, width = printable(line), terminal_width()
    if width is not None:
        label = LABEL.match(line)
        column = len(line) - len(line.lstrip()) + 2 if label is None else len(label[0])
        for part in wrapped(line, max(width, 20), hanging=" " * min(column, max(width, 20) // 2)):
            typer.echo(styled(part, **style))
    else:
        typer.echo(styled(line, **style))


def styled(text: str, **style: Any) -> str:
    """Return the text with colours if stdout is a terminal."""
    return typer.style(text, **style) if sys.stdout.isatty() else text


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Return how wide a line may be; None if the stream (default: stdout) is no terminal, where lines are not cut."""
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None


class BadVersion(UsageMistake):
    """A version does not have the form MAJOR or MAJOR.REVISION. Whoever typed it corrects it."""


def parsed_version(text: str | None, option: str = "--version") -> tuple[int | None, int | None]:
    """Return the major version and the revision of MAJOR or MAJOR.REVISION; None for what is not given."""
    if text is None:
        return None, None
    major, dot, revision = text.partition(".")
    if not major.isdecimal() or (dot and not revision.isdecimal()):
        raise BadVersion(f"{option}: expected MAJOR or MAJOR.REVISION, found '{text}'")
    return int(major), int(revision) if dot else None
