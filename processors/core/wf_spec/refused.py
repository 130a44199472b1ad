"""Why a definition command is refused, on its way to the one place that says so."""

from collections.abc import Iterable

from processors.core.records.events import RejectionCode
from processors.core.wf_spec.document_problems import DocumentProblem


class Refused(Exception):
    """Carries why a command is refused to the one place that says so."""

    def __init__(self, code: str, message: str, problems: Iterable[DocumentProblem] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.problems = code, message, list(problems)


def invalid(message: str) -> Refused:
    return Refused(RejectionCode.INVALID_ARGUMENT, message)
