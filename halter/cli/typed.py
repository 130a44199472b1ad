"""What was typed: values, versions and assignments, as what they stand for. Knows no Kafka."""

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from halter.cli.usage import UsageMistake

if TYPE_CHECKING:
    from processors.core.records.events import Definition
    from processors.core.records.values import Value, VariableType

TEXT_SHOWN_MAX: Final = 40
DIGITS_MAX: Final = 9
"""Most digits of a part of a version: records have no greater numbers."""


class NotAnAssignment(UsageMistake):
    """A --var does not have the form NAME=VALUE. Whoever typed it corrects it."""


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


def expect_content_or_none(text: str | None, *, no_content: bool) -> None:
    """Raise UsageMistake if an event is to have content, and none."""
    if text is not None and no_content:
        raise UsageMistake("expected CONTENT or --no-content, found both")


def typed_content(text: str | None, definition: "Definition | None", *, no_content: bool) -> "Value":
    """Return the content of an event as it was typed. Raises BadValue, NoContentGiven and UsageMistake."""
    expect_content_or_none(text, no_content=no_content)
    declared = None if definition is None else definition.content_type
    if text is not None:
        return typed_value(text, declared)
    if definition is not None and declared is not None and not no_content:
        raise NoContentGiven(
            f"expected CONTENT behind {definition.name}, a {declared}, found none, so nothing was sent; --no-content "
            "posts the event without one"
        )
    return None


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


class BadVersion(UsageMistake):
    """A version does not have the form MAJOR or MAJOR.REVISION. Whoever typed it corrects it."""


def parsed_version(text: str | None, option: str = "--version") -> tuple[int | None, int | None]:
    """Return the major version and the revision of MAJOR or MAJOR.REVISION; None for what is not given."""
    if text is None:
        return None, None
    major, dot, revision = text.partition(".")
    if not all(it.isdecimal() and len(it) <= DIGITS_MAX for it in ((major, revision) if dot else (major,))):
        raise BadVersion(f"{option}: expected MAJOR or MAJOR.REVISION, found '{text}'")
    return int(major), int(revision) if dot else None
