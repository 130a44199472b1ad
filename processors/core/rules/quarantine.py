"""Quarantine of a WfRun: its inputs are kept instead of decided, until it is released.

It is for the day on which a rule of ours breaks on one WfRun. Nothing here runs a rule, or even looks at a WfSpec. What
was kept is decided on release as if it had come only then, but with its own time and cause.
"""

from processors.core.records.commands import QuarantineWfRun, ReleaseWfRun
from processors.core.records.events import Event, RejectionCode, WfRunQuarantined, WfRunReleased
from processors.core.records.model import WfRun
from processors.core.records.values import Timestamp, iso_of
from processors.core.rules.decide import Refusal, check_id


def quarantined(run: WfRun, command: QuarantineWfRun, time_ms: int) -> Event:
    """Return what comes of a QuarantineWfRun. Raises Refusal.

    It may name an id under which nothing runs: the RunWf may be what breaks.
    """
    if not run.exists:
        check_id(command.wf_run_id)
    if run.quarantined_ms is not None:
        since = iso_of(Timestamp(run.quarantined_ms))
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"it is in quarantine already, since {since}")
    return WfRunQuarantined(time_ms, command.reason, command.operator)


def released(run: WfRun, command: ReleaseWfRun, time_ms: int) -> Event:
    """Return what comes of a ReleaseWfRun, before the inputs that were kept are decided. Raises Refusal."""
    if run.quarantined_ms is None:
        raise Refusal(RejectionCode.FAILED_PRECONDITION, "it is not in quarantine")
    return WfRunReleased(time_ms, len(run.kept_inputs), command.reason, command.operator)
