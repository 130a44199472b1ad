"""What may be an id or a name: asked by the rules that refuse a command, and by whoever sends one, before it does.

Knows a command alone. What depends on definitions or on the WfRun is for `decide` to say.
"""

import re

from processors.core.records.commands import (
    Command,
    ExternalEvent,
    OperatorCommand,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    SkipRecord,
    StopWfRun,
    TaskStatus,
)
from processors.core.records.failures import is_of_the_engine
from processors.core.records.values import TellableProblem

WF_RUN_ID = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?")
WF_RUN_ID_LENGTH_MAX = 128
EVENT_ID_LENGTH_MAX = 256
EXCEPTION_NAME = re.compile(r"[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?")
"""Of business exceptions that task workers report: `_` too, since their names are those of programs."""
EXCEPTION_NAME_LENGTH_MAX = 128
"""Every link of a chain of causes repeats it."""


# (rule wf-run-id-form)
def check_wf_run_id(wf_run_id: str) -> None:
    """Raises TellableProblem for what cannot be the id of a WfRun."""
    if not WF_RUN_ID.fullmatch(wf_run_id) or len(wf_run_id) > WF_RUN_ID_LENGTH_MAX:
        raise TellableProblem(
            f"expected an id of 1 to {WF_RUN_ID_LENGTH_MAX} letters, digits and hyphens that neither starts nor ends "
            f"with a hyphen, found {wf_run_id[:WF_RUN_ID_LENGTH_MAX]!r}"
        )


def check_event_id(event_id: str) -> None:
    """Raises TellableProblem for what cannot be the id of an ExternalEvent."""
    if not 0 < len(event_id) <= EVENT_ID_LENGTH_MAX:
        raise TellableProblem(
            f"expected an event id of 1 to {EVENT_ID_LENGTH_MAX} characters, found {len(event_id)}",
        )


def is_exception_name(name: str) -> bool:
    """Whether a name is formed as those of business exceptions are."""
    return EXCEPTION_NAME.fullmatch(name) is not None and len(name) <= EXCEPTION_NAME_LENGTH_MAX


def check_exception_name(name: str) -> None:
    """Raises TellableProblem for what no business exception may be named: also for names of the engine's failures."""
    if not is_exception_name(name):
        raise TellableProblem(
            f"expected a business exception named by 1 to {EXCEPTION_NAME_LENGTH_MAX} letters, digits, - and _ (not "
            f"first or last), found {name[:80]!r}"
        )
    if is_of_the_engine(name):
        raise TellableProblem(f"expected a business exception with a name of its own, found the engine's {name}")


def check_names(command: Command | OperatorCommand) -> None:
    """Raises TellableProblem if the command is refused for an id, name or number, whatever the WfRun is like."""
    if isinstance(command, SkipRecord):
        return
    check_wf_run_id(command.wf_run_id)
    if isinstance(command, RunWf) and not command.wf_spec_name:
        raise TellableProblem("expected the name of a WfSpec, found an empty text")
    if isinstance(command, ExternalEvent):
        if not command.external_event_def:
            raise TellableProblem("expected the name of an ExternalEventDef, found an empty text")
        check_event_id(command.external_event_id)
        if command.thread is not None and command.thread < 0:
            raise TellableProblem(f"expected the number of a thread, 0 or more, found {command.thread}")
    if isinstance(command, StopWfRun | ResumeWfRun | RescueThreadRun) and command.thread < 0:
        raise TellableProblem(f"expected the number of a thread, 0 or more, found {command.thread}")
    if isinstance(command, ReportTaskRun):
        if command.status is TaskStatus.TIMEOUT:
            raise TellableProblem("TIMEOUT is not for workers to report")
        if command.status is TaskStatus.EXCEPTION:
            check_exception_name(command.failure_name or "")
