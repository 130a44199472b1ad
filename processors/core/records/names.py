"""The forms of ids and names, and what of a command is wrong by itself.

The rules ask before they take a command, and whoever sends one asks before sending it. Knows a command alone: what
depends on definitions or on the WfRun, `decide` says.
"""

import re
from typing import Final

from processors.core.records.commands import (
    Command,
    CorrelatedEvent,
    ExternalEvent,
    OperatorCommand,
    ReportTaskProgress,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    RunWfAndPost,
    SkipRecord,
    StopWfRun,
)
from processors.core.records.failures import is_of_the_engine
from processors.core.records.model import TaskStatus
from processors.core.records.values import (
    PROGRESS_BYTES_MAX,
    TellableProblem,
    Value,
    ValueProblem,
    fits,
    kind_of,
    size_of,
)

NAME_LENGTH_MAX: Final = 128
"""Longest id of a WfRun and longest name, in characters. Every link of a chain of causes repeats a failure's name."""
EVENT_ID_LENGTH_MAX: Final = 256
CORRELATION_KEY_LENGTH_MAX: Final = 256
NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?")
"""The form of what is seen outside: ids of WfRuns, names of definitions, names that an EXIT fails with."""
NAME_IN_WORDS: Final = f"a name of at most {NAME_LENGTH_MAX} letters, digits and - (not first or last)"
INNER_NAME: Final = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_]*")
"""The form of what is seen inside a WfSpec: names of ThreadSpecs, nodes, Variables and inputs."""
EXCEPTION_NAME: Final = re.compile(r"[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?")
"""The form of business exceptions that task workers report: `_` too, since their names are those of programs."""


# (rule names-of-definitions)
def is_name(name: str) -> bool:
    """Return True if a definition, or a failure of an EXIT, may have this name."""
    return len(name) <= NAME_LENGTH_MAX and NAME.fullmatch(name) is not None


def is_inner_name(name: str) -> bool:
    """Return True if a ThreadSpec, a node, a Variable or an input may have this name."""
    return len(name) <= NAME_LENGTH_MAX and INNER_NAME.fullmatch(name) is not None


def is_exception_name(name: str) -> bool:
    """Return True if a business exception that a task worker reports may have this name."""
    return len(name) <= NAME_LENGTH_MAX and EXCEPTION_NAME.fullmatch(name) is not None


# (rule wf-run-id-form)
def check_wf_run_id(wf_run_id: str) -> None:
    """Check the id of a WfRun; raises TellableProblem for what cannot be one."""
    if not is_name(wf_run_id):
        raise TellableProblem(
            f"expected an id of 1 to {NAME_LENGTH_MAX} letters, digits and hyphens that neither starts nor ends "
            f"with a hyphen, found {wf_run_id[:NAME_LENGTH_MAX]!r}"
        )


def check_event_id(event_id: str) -> None:
    """Check the id of an ExternalEvent; raises TellableProblem for what cannot be one."""
    if not 0 < len(event_id) <= EVENT_ID_LENGTH_MAX:
        raise TellableProblem(
            f"expected an event id of 1 to {EVENT_ID_LENGTH_MAX} characters, found {len(event_id)}",
        )


# (rule form-of-a-correlation-key)
def check_correlation_key(key: str) -> None:
    """Check a correlation key; raises TellableProblem for what cannot be one."""
    if not 0 < len(key) <= CORRELATION_KEY_LENGTH_MAX:
        raise TellableProblem(
            f"expected a correlation key of 1 to {CORRELATION_KEY_LENGTH_MAX} characters, found {len(key)}"
        )


def check_exception_name(name: str) -> None:
    """Check the name of a business exception; raises TellableProblem, also for the names of the engine's failures."""
    if not is_exception_name(name):
        raise TellableProblem(
            f"expected a business exception named by 1 to {NAME_LENGTH_MAX} letters, digits, - and _ (not "
            f"first or last), found {name[:80]!r}"
        )
    if is_of_the_engine(name):
        raise TellableProblem(f"expected a business exception with a name of its own, found the engine's {name}")


def check_progress(content: Value) -> None:
    """Check the progress of a task attempt; raises TellableProblem for what is too large, or no value."""
    if not fits(content, None):
        raise TellableProblem(f"progress: expected a finite number, found {kind_of(content)} that is none")
    try:
        size = size_of(content)
    except ValueProblem as problem:
        raise TellableProblem(f"progress: {problem.unquoted}") from None
    if size > PROGRESS_BYTES_MAX:
        raise TellableProblem(f"progress: expected at most {PROGRESS_BYTES_MAX} bytes, found {size}")


def check_names(command: Command | OperatorCommand | CorrelatedEvent) -> None:
    """Check the ids, names and numbers of a command; raises TellableProblem if no WfRun could take it."""
    match command:
        case SkipRecord():
            return
        case CorrelatedEvent():
            check_correlation_key(command.correlation_key)
        case _:
            check_wf_run_id(command.wf_run_id)
    match command:
        case ExternalEvent():
            _check_event(command)
            if command.thread is not None:
                _check_thread(command.thread)
        case CorrelatedEvent():
            _check_event(command)
        case RunWf():
            _check_wf_spec_name(command.wf_spec_name)
        case RunWfAndPost():
            _check_wf_spec_name(command.wf_spec_name)
            _check_event(command)
        case StopWfRun() | ResumeWfRun() | RescueThreadRun():
            _check_thread(command.thread)
        case ReportTaskRun():
            if command.status is TaskStatus.TIMEOUT:
                raise TellableProblem("TIMEOUT is not for workers to report")
            if command.status is TaskStatus.EXCEPTION:
                check_exception_name(command.failure_name or "")
        case ReportTaskProgress():
            check_progress(command.content)
        case _:
            pass


def _check_event(command: ExternalEvent | RunWfAndPost | CorrelatedEvent) -> None:
    if not command.external_event_def:
        raise TellableProblem("expected the name of an ExternalEventDef, found an empty text")
    check_event_id(command.external_event_id)


def _check_wf_spec_name(name: str) -> None:
    if not name:
        raise TellableProblem("expected the name of a WfSpec, found an empty text")


def _check_thread(number: int) -> None:
    if number < 0:
        raise TellableProblem(f"expected the number of a thread, 0 or more, found {number}")
