"""Names of failures, what class a name has, and which failures a handler catches (SEMANTICS 4.1, 4.2, N1)."""

from collections.abc import Iterable
from dataclasses import replace

from processors.core.records.model import Failure, FailureClass
from processors.core.records.spec import FailureHandlerDef
from processors.core.records.values import Value, size_of

CHILD_FAILED = "CHILD_FAILED"
VAR_SUB_ERROR = "VAR_SUB_ERROR"
VAR_MUTATION_ERROR = "VAR_MUTATION_ERROR"
VAR_ERROR = "VAR_ERROR"
TASK_FAILURE = "TASK_FAILURE"
TASK_ERROR = "TASK_ERROR"
TIMEOUT = "TIMEOUT"
INTERNAL_ERROR = "INTERNAL_ERROR"
USER_TASK_CANCELLED = "USER_TASK_CANCELLED"

HAPPENING = frozenset(
    {CHILD_FAILED, VAR_SUB_ERROR, VAR_MUTATION_ERROR, VAR_ERROR, TASK_FAILURE, TASK_ERROR, TIMEOUT, INTERNAL_ERROR}
)
"""Technical failures that there are, or that a name for catching stands for: what people are told to choose from."""
RESERVED = HAPPENING | {
    "CHILD_FAILURE",  # LittleHorse's name for CHILD_FAILED: nobody may use it for something else
    USER_TASK_CANCELLED,  # of LittleHorse's user tasks, which there are not: as before, it may be caught in vain
}
"""Names of technical failures; every other name is a business exception."""

LINKS_MAX = 32
"""Of a failure's chain of causes: handlers that fail below handlers that fail cannot make it endless."""
MESSAGE_LENGTH_MAX = 1_000
"""Of a message that tells a cause's, which may tell another's; and of a cause's."""
CAUSE_BYTES_MAX = 512 * 1024
"""Of the contents in a chain of causes: beyond it they are left out, from the outside in."""

UMBRELLAS = {
    VAR_ERROR: frozenset({VAR_ERROR, VAR_SUB_ERROR, VAR_MUTATION_ERROR}),
    TASK_ERROR: frozenset({TASK_ERROR, TASK_FAILURE, TIMEOUT}),
}
"""Names for catching -> the names they stand for."""


def is_of_the_engine(name: str) -> bool:
    """Whether no business exception may have this name: it is technical, or `catch` means a whole class by it (4.1)."""
    return name in RESERVED or name in FailureClass.__members__


def failure_class_of(name: str) -> FailureClass:
    """By name: reserved names are ERRORs, all others EXCEPTIONs (4.1)."""
    return FailureClass.ERROR if name in RESERVED else FailureClass.EXCEPTION


def failure_of(name: str, message: str, content: Value = None) -> Failure:
    """A failure that has no cause below it."""
    return Failure(name, message, failure_class_of(name), content)


def child_failed(message: str, thread: int, cause: Failure, failure_class: FailureClass) -> Failure:
    """CHILD_FAILED, with the failure of the thread below as its cause (N1)."""
    return Failure(CHILD_FAILED, _short(message), failure_class, cause.content, thread, _as_cause(cause))


def passed_on(thread: int, cause: Failure) -> Failure:
    """The failure of a thread below under its own name, with a link added to its chain (N1)."""
    return Failure(cause.name, cause.message, cause.failure_class, cause.content, thread, _as_cause(cause))


def size_of_failure(failure: Failure) -> int:
    """About how many bytes a failure and its causes take."""
    return sum(size_of(part) for link in failure.chain() for part in (link.name, link.content, link.message))


def without_contents(failure: Failure) -> Failure:
    """A failure without what makes it large, in all its links."""
    return _lightened(failure, 0)


def _short(message: str) -> str:
    return message if len(message) <= MESSAGE_LENGTH_MAX else message[: MESSAGE_LENGTH_MAX - 1] + "…"


def _as_cause(cause: Failure) -> Failure:
    """A cause that its consequence can carry: every one repeats what is below it."""
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
        # What need not change is shared with the chain it comes from, and so is what it was encoded to.
        if link.cause is cause and link.content is content and len(link.message) <= MESSAGE_LENGTH_MAX:
            cause = link
        else:
            cause = replace(link, message=_short(link.message), content=content, cause=cause)
    assert cause is not None
    return cause


def _shortened(cause: Failure) -> Failure:
    """A cause with room above it: of a chain at its bound the second link goes, so both of its ends stay."""
    if sum(1 for _ in cause.chain()) < LINKS_MAX or cause.cause is None:
        return cause
    return replace(cause, cause_thread=cause.cause.cause_thread, cause=cause.cause.cause)


def matching_handler(handlers: Iterable[FailureHandlerDef], failure: Failure) -> FailureHandlerDef | None:
    """The first handler, in declared order, that catches the failure."""
    return next((handler for handler in handlers if _catches(handler.catch, failure)), None)


def _catches(catch: str | None, failure: Failure) -> bool:
    if catch is None:
        return True
    if catch in FailureClass.__members__:
        return failure.failure_class == catch
    names = UMBRELLAS.get(catch, frozenset({catch}))
    return any(link.name in names for link in failure.chain())
