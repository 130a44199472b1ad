"""Callbacks of arguments and options that can be wrong by themselves: they are refused before anything is asked.

A command asks Kafka, a view or an export, and whoever mistyped a moment should not wait for those. What it takes a
topics.yaml to know (names of topics, numbers of partitions) is checked by `expecting` of `connected` and `source`.

Knows no command. Imports what a check needs only where an argument is given.
"""

import math
from pathlib import Path
from typing import Final, TypeVar

import typer

from halter.cli.usage import UsageMistake, in_utf8

Words = TypeVar("Words", bound=str | list[str] | None)
LONG_MAX: Final = 2**63 - 1
"""The greatest number that a record can have."""
SECONDS_MAX: Final = 1e9
"""About thirty years: Python waits no longer than about three hundred."""


def name_of(param: typer.CallbackParam) -> str:
    """Return what a parameter is called in a sentence: its option, or the word in the help."""
    return next((it for it in param.opts if it.startswith("--")), None) or param.metavar or param.human_readable_name


def filled(param: typer.CallbackParam, words: Words) -> Words:
    """Return ids or names. Raises UsageMistake for an empty one: a shell gives it for a variable that is not set."""
    given: str | list[str] | None = words
    if "" in ([given] if isinstance(given, str) else given or ()):
        name = name_of(param)
        what = "the id of a WfRun" if "WF_RUN" in name else "a name or an id"
        raise UsageMistake(f"{name}: expected {what}, found an empty text")
    return in_utf8(words)


def moment(param: typer.CallbackParam, text: str | None) -> str | None:
    """Return a moment of a WfRun as people write it. Raises NoSuchMoment if no WfRun can have such a moment."""
    if text is None:
        return None
    from halter.history.moments import NoSuchMoment, check_moment

    try:
        check_moment(in_utf8(text))
    except NoSuchMoment as bad:
        raise NoSuchMoment(f"{name_of(param)}: {bad}") from None
    return text


def not_nan(param: typer.CallbackParam, given: float | None) -> float | None:
    """Return a number. Raises UsageMistake for nan, which is in every range."""
    if given is not None and math.isnan(given):
        raise UsageMistake(f"{name_of(param)}: expected a number, found {given:g}")
    return given


def seconds(param: typer.CallbackParam, given: float) -> float:
    """Return a number of seconds. Raises UsageMistake for one that nobody can wait: nan, inf."""
    if not math.isfinite(given) or given > SECONDS_MAX:
        raise UsageMistake(f"{name_of(param)}: expected a number of seconds, found {given:g}")
    return given


def operator_or_reason(param: typer.CallbackParam, text: str | None) -> str | None:
    """Return who asks for something, or why. Raises UsageMistake if a record would not take it."""
    if text is None:
        return None
    from processors.fold.inputs import OPERATOR_LENGTH_MAX, REASON_LENGTH_MAX

    name = name_of(param)
    most = OPERATOR_LENGTH_MAX if name == "--operator" else REASON_LENGTH_MAX
    if len(text) > most:
        raise UsageMistake(f"{name}: expected at most {most:,} characters, found {len(text):,}")
    return in_utf8(text)


def to_write(file: Path | None) -> Path | None:
    """Return a file that a command is to write; '-' may stand for stdout. Raises CannotWrite if it cannot be one."""
    if file is not None and str(file) != "-":
        expect_writable(file)
    return file


def expect_writable(file: Path) -> None:
    """Raise CannotWrite if no file can be written there. What a file system refuses later is told then."""
    from halter.files.whole_file import CannotWrite

    if file.is_dir():
        raise CannotWrite(f"expected to write {file}, found a folder there")
    if not file.parent.is_dir():
        raise CannotWrite(f"expected to write {file}, found no folder {file.parent}")


def version_typed(param: typer.CallbackParam, text: str | None) -> str | None:
    """Return a version as it was typed. Raises BadVersion unless it is MAJOR or MAJOR.REVISION."""
    from halter.cli.typed import parsed_version

    parsed_version(text, name_of(param))
    return text
