"""Errors in how a command is used: they end it with one sentence, like all errors, but with exit code 2. And the
question before what cannot be undone.
"""

import sys
from typing import Final, TypeVar

from processors.core.records.errors import HalterError

EXIT_CODE: Final = 2
Words = TypeVar("Words", bound=str | list[str] | None)


class UsageMistake(HalterError):
    """Options or arguments cannot be used, alone or together. Whoever typed them corrects them."""


class BadOptions(UsageMistake):
    """Options do not go together. Whoever typed them decides which one is meant."""


def in_utf8(words: Words) -> Words:
    """Return the words of an argument. Raises UsageMistake if they are not UTF-8, which no record can hold.

    Use it as the `callback` of an argument that becomes part of a record.
    """
    given: str | list[str] | None = words
    for word in [given] if isinstance(given, str) else given or ():
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageMistake(f"expected text in UTF-8, found {word!a}") from None
    return words


class NotConfirmed(HalterError):
    """Nobody confirmed what a command would do. Whoever runs it confirms it, or passes --yes."""


def confirm(question: str, nothing: str) -> None:
    """Ask for confirmation on the terminal. Raises NotConfirmed, with what was not done, unless the answer is yes."""
    import typer

    if not sys.stdin.isatty():
        raise NotConfirmed(f"{nothing}: there is no terminal to ask for confirmation, pass --yes")
    if not typer.confirm(question, err=True):
        raise NotConfirmed(nothing)
