"""Options and helpers shared by the commands that need a Client."""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from halter.cli.connection import Kafka, load_settings, patience, waiting_for_kafka
from halter.cli.given import LONG_MAX, filled, seconds
from halter.cli.usage import UsageMistake

if TYPE_CHECKING:
    from halter.client import Client
    from processors.core.records.events import Definition
    from processors.core.records.values import Value, VariableType
    from processors.kafka.topics import Topics

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait for the outcome.", callback=seconds),
]
Thread = Annotated[int, typer.Option("--thread", metavar="N", min=0, max=LONG_MAX, help="Number of the ThreadRun.")]
Unmask = Annotated[bool, typer.Option("--unmask", help="Show masked values.")]


WfRunId = Annotated[str, typer.Argument(metavar="WF_RUN", help="Id of the WfRun.", show_default=False, callback=filled)]


class NotAnAssignment(UsageMistake):
    """A --var does not have the form NAME=VALUE. Whoever typed it corrects it."""


@contextmanager
def connected(
    kafka: Kafka,
    *,
    to_send: bool = True,
    shows: Sequence[str] = (),
    expecting: "Callable[[Topics], object]" = lambda _: None,
) -> "Iterator[Client]":
    """Yield a Client of the installation that the options name, once Kafka answers.

    `to_send=False`: the command only reads. `shows` names the modules with which it shows what it finds: they are
    imported while Kafka answers. `expecting` raises what is wrong with the arguments, by what topics.yaml says.
    """
    settings = load_settings(kafka)  # first: what is wrong with them is told at once
    topics = settings.topics()
    expecting(topics)
    from halter.client import Client

    with patience(), Client.of(settings, topics) as client:
        client.reader.connect("read_committed")  # as `reach` does first
        for module in shows:
            import_module(module)
        with waiting_for_kafka(settings, kafka.connect_timeout):
            client.reach(kafka.connect_timeout, to_send=to_send)
        client.warn_with(note)
        if sys.stderr.isatty():
            client.reader.report = note
        yield client


class BadValue(UsageMistake):
    """A typed value is JSON that exceeds a limit of values, or begins like JSON and is not JSON. Whoever typed it
    corrects it."""


def typed_value(text: str, declared: "VariableType | None" = None, what: str = "CONTENT") -> "Value":
    """Return the value that a typed text stands for (`halter.files.typed_values`). Raises BadValue."""
    from halter.files import typed_values

    try:
        return typed_values.typed_value(text, declared, what)
    except typed_values.UnfitText as unfit:
        shows_text = unfit.quoting.startswith("to send")
        typed = _as_typed_text(text) if shows_text else "'\"…\"'"
        raise BadValue(f"{unfit.sentence}; {unfit.quoting}: {typed}" if unfit.quoting else unfit.sentence) from None


NoContent = Annotated[
    bool, typer.Option("--no-content", help="Post the event without content, although its type is declared.")
]


class NoContentGiven(UsageMistake):
    """An event was typed without the content that its ExternalEventDef declares. Whoever typed it adds it."""


def content_or_none(text: str | None, *, no_content: bool) -> None:
    """Raise UsageMistake if an event is to have content and none."""
    if text is not None and no_content:
        raise UsageMistake("expected CONTENT or --no-content, found both")


def typed_content(text: str | None, definition: "Definition | None", *, no_content: bool) -> "Value":
    """Return the content of an event as it was typed. Raises BadValue, NoContentGiven and UsageMistake."""
    content_or_none(text, no_content=no_content)
    declared = None if definition is None else definition.content_type
    if text is not None:
        return typed_value(text, declared)
    if definition is not None and declared is not None and not no_content:
        raise NoContentGiven(
            f"expected CONTENT behind {definition.name}, a {declared}, found none, so nothing was sent; --no-content "
            "posts the event without one"
        )
    return None


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
    """Return the values of Variables. `declared` gives the type of each Variable; none if nobody knows them.

    Raises BadValue.
    """
    for name in texts if declared else ():
        if name not in declared:
            from processors.core.wf_spec.near_names import NearNames

            hint = NearNames().meant_or_known(name, declared)
            raise BadValue(f"--var {name}: expected a Variable that may be given at the start, found none{hint}")
    return {name: typed_value(text, declared.get(name), f"--var {name}") for name, text in texts.items()}


def print_json(data: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


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


DIGITS_MAX: Final = 9
"""Most digits of a part of a version: records have no greater numbers."""


def parsed_version(text: str | None, option: str = "--version") -> tuple[int | None, int | None]:
    """Return the major version and the revision of MAJOR or MAJOR.REVISION; None for what is not given."""
    if text is None:
        return None, None
    major, dot, revision = text.partition(".")
    if not all(it.isdecimal() and len(it) <= DIGITS_MAX for it in ((major, revision) if dot else (major,))):
        raise BadVersion(f"{option}: expected MAJOR or MAJOR.REVISION, found '{text}'")
    return int(major), int(revision) if dot else None
