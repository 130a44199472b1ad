"""The names of failures, the class of a name, and which failures a handler catches."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from processors.core.records.model import Failure, FailureClass
from processors.core.records.spec import FailureHandlerDef
from processors.core.records.values import Value, size_of

# (rule technical-names)
CHILD_FAILED: Final = "CHILD_FAILED"
VAR_SUB_ERROR: Final = "VAR_SUB_ERROR"
VAR_MUTATION_ERROR: Final = "VAR_MUTATION_ERROR"
VAR_ERROR: Final = "VAR_ERROR"
TASK_FAILURE: Final = "TASK_FAILURE"
TASK_ERROR: Final = "TASK_ERROR"
TIMEOUT: Final = "TIMEOUT"
INTERNAL_ERROR: Final = "INTERNAL_ERROR"
USER_TASK_CANCELLED: Final = "USER_TASK_CANCELLED"

HAPPENING: Final = frozenset(
    {CHILD_FAILED, VAR_SUB_ERROR, VAR_MUTATION_ERROR, VAR_ERROR, TASK_FAILURE, TASK_ERROR, TIMEOUT, INTERNAL_ERROR}
)
"""The technical failures that happen, and the umbrella names for catching them: people are told to choose from them."""
RESERVED: Final = HAPPENING | {
    "CHILD_FAILURE",  # LittleHorse's name for CHILD_FAILED: nobody may use it for something else
    USER_TASK_CANCELLED,  # of LittleHorse's user tasks, which Halter does not have; it may be caught, and never happens
}
"""The names of technical failures; every other name is a business exception."""

# (rule chains-are-bounded)
LINKS_MAX: Final = 32
"""The most links in a chain of causes: handlers that fail below handlers that fail cannot make it endless."""
MESSAGE_LENGTH_MAX: Final = 1_000
"""The longest message, in characters, of a cause and of a failure that quotes its cause."""
CAUSE_BYTES_MAX: Final = 512 * 1024
"""The most bytes of content in a chain of causes, counted from the outermost on. Contents beyond it are left out."""

UMBRELLAS: Final = {
    VAR_ERROR: frozenset({VAR_ERROR, VAR_SUB_ERROR, VAR_MUTATION_ERROR}),
    TASK_ERROR: frozenset({TASK_ERROR, TASK_FAILURE, TIMEOUT}),
}
"""Name for catching -> the names that it stands for."""


# (rule reserved-names-are-the-engines)
def is_of_the_engine(name: str) -> bool:
    """Return True if no business exception may have this name: it is technical, or `catch` takes it for a class."""
    return name in RESERVED or name in FailureClass.__members__


# (rule class-by-name)
def failure_class_of(name: str) -> FailureClass:
    """Return the class of a failure: reserved names are ERRORs, all others are EXCEPTIONs."""
    return FailureClass.ERROR if name in RESERVED else FailureClass.EXCEPTION


def failure_of(name: str, message: str, content: Value = None) -> Failure:
    """Return a failure that has no cause below it."""
    return Failure(name, message, failure_class_of(name), content)


# (rule causes-form-a-chain)
def child_failed(message: str, thread: int, cause: Failure, failure_class: FailureClass) -> Failure:
    """Return CHILD_FAILED, with the failure of the thread below as its cause."""
    return Failure(CHILD_FAILED, _short(message), failure_class, cause.content, thread, _as_cause(cause))


def passed_on(thread: int, cause: Failure) -> Failure:
    """Return the failure of a thread below under its own name, with a link added to its chain."""
    return Failure(cause.name, cause.message, cause.failure_class, cause.content, thread, _as_cause(cause))


def size_of_failure(failure: Failure) -> int:
    """Return about how many bytes a failure and its causes take."""
    return sum(size_of(part) for link in failure.chain() for part in (link.name, link.content, link.message))


def without_contents(failure: Failure) -> Failure:
    """Return a failure without contents and with short messages, in all its links."""
    return _lightened(failure, 0)


def _short(message: str) -> str:
    return message if len(message) <= MESSAGE_LENGTH_MAX else message[: MESSAGE_LENGTH_MAX - 1] + "…"


def _as_cause(cause: Failure) -> Failure:
    """Return a cause that is small enough for its consequence: every consequence repeats the whole chain below it."""
    return _lightened(_shortened(cause), CAUSE_BYTES_MAX)


def _lightened(failure: Failure, bytes_max: int) -> Failure:
    if bytes_max and failure.cause is None and failure.content is None and len(failure.message) <= MESSAGE_LENGTH_MAX:
        return failure
    left = bytes_max
    contents: list[tuple[Failure, Value]] = []
    for link in failure.chain():
        left -= size_of(link.content)
        contents.append((link, link.content if left >= 0 else None))
    cause: Failure | None = None
    for link, content in reversed(contents):
        # A link that need not change is shared with the chain that it comes from, and so are its encoded bytes.
        if link.cause is cause and link.content is content and len(link.message) <= MESSAGE_LENGTH_MAX:
            cause = link
        else:
            cause = replace(link, message=_short(link.message), content=content, cause=cause)
    assert cause is not None
    return cause


def _shortened(cause: Failure) -> Failure:
    """Return a cause with room for a link above it. A full chain loses its second link, so both of its ends stay."""
    if sum(1 for _ in cause.chain()) < LINKS_MAX or cause.cause is None:
        return cause
    return replace(cause, cause_thread=cause.cause.cause_thread, cause=cause.cause.cause)


# (rule first-match-catches)
def matching_handler(handlers: Iterable[FailureHandlerDef], failure: Failure) -> FailureHandlerDef | None:
    """Return the first handler, in declared order, that catches the failure; None if none does."""
    return next((handler for handler in handlers if _catches(handler.catch, failure)), None)


# (rule catch-looks-along-the-chain)
def _catches(catch: str | None, failure: Failure) -> bool:
    if catch is None:
        return True
    if catch in FailureClass.__members__:
        return failure.failure_class == catch
    names = UMBRELLAS.get(catch, frozenset({catch}))
    return any(link.name in names for link in failure.chain())
