"""Mistakes of whoever typed a command, told as all others are, with the exit code of wrong options."""

from typing import Final, TypeVar

from processors.errors import HalterError

EXIT_CODE: Final = 2
Words = TypeVar("Words", bound=str | list[str] | None)


class UsageMistake(HalterError):
    """Options or arguments cannot be used, alone or together. Whoever typed them corrects them."""


def in_utf8(words: Words) -> Words:
    """Be the callback of an argument that becomes part of a record, where bytes that are no text have no place."""
    given: str | list[str] | None = words
    for word in [given] if isinstance(given, str) else given or ():
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageMistake(f"expected text in UTF-8, found {word!a}") from None
    return words
