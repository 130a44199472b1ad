"""Why a command is refused: the checks that several commands share."""

from typing import Final

from processors.core.records.commands import (
    Command,
    CorrelatedEvent,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    ReportTaskProgress,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    RunWfAndPost,
    StartTaskRun,
    StopWfRun,
    TimerFired,
)
from processors.core.records.events import RejectionCode
from processors.core.records.model import ThreadRun, WfRun, WfSpecId
from processors.core.records.names import check_wf_run_id
from processors.core.records.values import TellableProblem, Timestamp, iso_of
from processors.core.rules.context import Context, DefinitionLookup

_HAVE_IDENTITIES: Final = (ExternalEvent, StartTaskRun, ReportTaskProgress, ReportTaskRun, TimerFired)
"""Commands that are known again by what they say, not by a command id."""


class Refusal(Exception):
    """A command cannot be taken as it is; it becomes a `Rejected` event."""

    def __init__(self, code: RejectionCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_id(wf_run_id: str) -> None:
    """Raise Refusal for what cannot be the id of a WfRun."""
    try:
        check_wf_run_id(wf_run_id)
    except TellableProblem as problem:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, str(problem)) from None


def check_repeat(run: WfRun, command: Command) -> None:
    """Raise Refusal for a command whose id was decided lately (rule command-id-decided-once)."""
    if isinstance(command, _HAVE_IDENTITIES):
        return
    if command.command_id is not None and command.command_id in run.command_ids:
        raise Refusal(RejectionCode.ALREADY_EXISTS, f"command id {command.command_id!r} was decided before")


# (rule wf-run-id-used-once)
def check_unused(run: WfRun) -> None:
    """Raise Refusal where a WfRun was started under this id."""
    if run.exists:
        since = iso_of(Timestamp(run.started_ms or 0))
        raise Refusal(RejectionCode.ALREADY_EXISTS, f"the WfRun was started at {since}; it is {run.status}")


def version_to_run(context: Context, name: str, major: int | None, revision: int | None) -> WfSpecId:
    """Return the newest version of a WfSpec, of a major version or exactly. Raises Refusal if there is none."""
    spec_id = context.definitions.latest_wf_spec(name, major, revision)
    if spec_id is None:
        version = "".join(f" {number}" for number in (major, revision) if number is not None)
        raise Refusal(RejectionCode.NOT_FOUND, f"there is no WfSpec {name!r}{version}")
    return spec_id


def version_of_fork(command: ForkWfRun) -> tuple[str, int | None, int | None]:
    """Return the WfSpec that a fork asks for: its name, major version and revision."""
    its = command.snapshot.wf_spec
    asked = command.wf_spec_major, command.wf_spec_revision
    return its.name, *((its.major, its.revision) if asked == (None, None) else asked)


# (rule unknown-definitions-looked-for)
def may_lack_definition(command: object, definitions: DefinitionLookup) -> bool:
    """Say whether a command may be refused for a definition that it names and that these definitions do not have.

    Which WfSpec a MigrateWfRun is about, its WfRun says, so that may always be.
    """
    match command:
        case ExternalEvent() | CorrelatedEvent():
            return definitions.external_event_def(command.external_event_def) is None
        case RunWf():
            return _lacks_wf_spec(command, definitions)
        case RunWfAndPost():
            lacks_event = definitions.external_event_def(command.external_event_def) is None
            return lacks_event or _lacks_wf_spec(command, definitions)
        case ForkWfRun():
            return definitions.latest_wf_spec(*version_of_fork(command)) is None
        case _:
            return isinstance(command, MigrateWfRun)


def _lacks_wf_spec(command: RunWf | RunWfAndPost, definitions: DefinitionLookup) -> bool:
    wf_spec = command.wf_spec_name, command.wf_spec_major, command.wf_spec_revision
    return definitions.latest_wf_spec(*wf_spec) is None


def existing(run: WfRun) -> None:
    """Raise Refusal where no WfRun was started under this id."""
    if not run.exists:
        raise Refusal(RejectionCode.NOT_FOUND, "there is no such WfRun")


def named_thread(run: WfRun, command: StopWfRun | ResumeWfRun | RescueThreadRun) -> ThreadRun | None:
    """Return the thread that a command names; None for one that has completed and left. Raises Refusal."""
    existing(run)
    if not run.was_used(command.thread):
        raise Refusal(
            RejectionCode.INVALID_ARGUMENT,
            f"there is no thread {command.thread}; the greatest number is {run.greatest_thread_number}",
        )
    return run.threads.get(command.thread)


def check_definitions(command: RunWf | ForkWfRun | ExternalEvent | MigrateWfRun, context: Context) -> None:
    """Raise Refusal if the definitions are not at the position that the producer saw.

    The caller has waited for that position before it folds the command, unless no such position exists.
    """
    wanted, reached = command.definitions_position, context.definitions.position
    if wanted is not None and wanted > reached:
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION, f"position {wanted} of definitions was not reached; it is {reached}"
        )
