"""What statements are given, checked where it is written: a wrong type is told in a sentence with its line.

Knows no statement and no expression. The core checks what a WfSpec may hold; here is what Python lets through before.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from processors.core.records.errors import HalterError
from processors.core.records.spec import Backoff


class WrongOperand(HalterError, TypeError):
    """Something of a type that no WfSpec is made of. Whoever wrote the line changes it."""


def kind_of(given: object) -> str:
    """Return what a sentence calls a thing of a wrong type."""
    return f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__


def text_of(what: str, given: object) -> str:
    """Return a text. Raises WrongOperand."""
    if not isinstance(given, str):
        raise WrongOperand(f"{what}: expected text, found {kind_of(given)}")
    try:
        return encodable(given)
    except WrongOperand as error:
        raise WrongOperand(f"{what}: {error}") from None


def encodable(text: str) -> str:
    """Return a text that UTF-8 has. Raises WrongOperand for half of a surrogate pair, which no document holds."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise WrongOperand(f"expected text, found half of a surrogate pair ({half!r})") from None
    return text


def flag_of(what: str, given: object) -> bool:
    """Return True or False. Raises WrongOperand: text such as "no" would be true."""
    if isinstance(given, bool):
        return given
    raise WrongOperand(f"{what}: expected True or False, found {kind_of(given)}")


def number_of(what: str, given: object) -> int:
    """Return a whole number. Raises WrongOperand."""
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    raise WrongOperand(f"{what}: expected a whole number, found {kind_of(given)}")


def mapping_of(what: str, given: object) -> Mapping[str, Any]:
    """Return a mapping whose keys are text. Raises WrongOperand."""
    if not isinstance(given, Mapping):
        raise WrongOperand(f"{what}: expected a mapping, found {kind_of(given)}")
    for key in given:
        text_of(f"a key of {what}", key)
    return given


def items_of(what: str, given: object) -> Iterable[Any]:
    """Return something that has items. Raises WrongOperand: the letters of a text are none."""
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping):
        return given
    raise WrongOperand(f"{what}: expected a list, found {kind_of(given)}")


def backoff_of(given: object) -> Backoff | None:
    """Return a Backoff, or None. Raises WrongOperand."""
    if given is None:
        return None
    if not isinstance(given, Backoff):
        raise WrongOperand(f"backoff: expected a Backoff, found {kind_of(given)}")
    number_of("base_ms of the Backoff", given.base_ms)
    number_of("max_ms of the Backoff", given.max_ms)
    if isinstance(given.multiplier, bool) or not isinstance(given.multiplier, int | float):
        raise WrongOperand(f"multiplier of the Backoff: expected a number, found {kind_of(given.multiplier)}")
    return given
