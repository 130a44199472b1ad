"""The refusal of a definition command, on its way to the one place that reports it."""

from collections.abc import Iterable

from processors.core.records.events import RejectionCode
from processors.core.records.names import NAME_LENGTH_MAX, is_name
from processors.core.wf_spec.document_problems import DocumentProblem


class Refused(Exception):
    """A definition command is refused; `registration` makes a DefinitionRejected of it. It never leaves the core."""

    def __init__(self, code: str, message: str, problems: Iterable[DocumentProblem] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.problems = code, message, list(problems)


def invalid(message: str) -> Refused:
    """Return the refusal of a command that is wrong by itself."""
    return Refused(RejectionCode.INVALID_ARGUMENT, message)


def check_name(name: str, what: str) -> None:
    """Check the name of a definition or queue. Raises Refused."""
    if not is_name(name):
        raise invalid(
            f"expected {what} of at most {NAME_LENGTH_MAX} letters, digits and - (not first or last), "
            f"found {name[:200]!r}"
        )
