"""ExternalEvent, also that of a RunWfAndPost: taken in, or refused."""

from itertools import islice
from typing import Final

from processors.core.records.commands import ExternalEvent
from processors.core.records.events import ExternalEventKeyRef, ExternalEventPosted, RejectionCode
from processors.core.records.model import WfRun, WfSpecId
from processors.core.records.names import check_event_id
from processors.core.records.values import VALUE_BYTES_MAX, TellableProblem, Value, fits, kind_of, size_of, stored
from processors.core.rules.context import Context
from processors.core.rules.decide.refusals import Refusal, check_definitions
from processors.core.rules.external_events import misfit

FORGETTABLE_LOOKED_AT_MAX: Final = 64
"""Number of the oldest remembered ExternalEvents that are looked at when a new one comes. Some may wait long for their
handler.
"""


def posted(run: WfRun, command: ExternalEvent, context: Context, time_ms: int) -> ExternalEventPosted:
    """Return the arrival of an ExternalEvent, which may come before its WfRun and after its end. Raises Refusal."""
    content = checked_content(run, command, context, run.wf_spec)
    late = context.append_times and run.exists and time_ms < run.time_ms
    return ExternalEventPosted(
        command.external_event_def,
        command.external_event_id,
        content,
        command.thread,
        _forgettable(run, context),
        appended_ms=time_ms if late else None,
        keeps_outcomes=context.keeps_outcomes,
    )


def checked_content(run: WfRun, command: ExternalEvent, context: Context, bound_by: WfSpecId | None) -> Value:
    """Return the content of an ExternalEvent as it is stored, if it may be posted. Raises Refusal.

    `bound_by` is the version that the WfRun runs, or will run. The checks are made in this order, and the first that
    fails decides (rules event-for-any-id, event-id-used-once, event-content-checked, unclaimed-events-bounded).
    """
    check_definitions(command, context)
    definition = context.definitions.external_event_def(command.external_event_def, bound_by)
    if definition is None:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, f"there is no ExternalEventDef {command.external_event_def!r}")
    event_id = command.external_event_id
    try:
        check_event_id(event_id)
    except TellableProblem as problem:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, str(problem)) from None
    if (command.external_event_def, event_id) in run.external_events:
        raise Refusal(
            RejectionCode.ALREADY_EXISTS, f"ExternalEvent {command.external_event_def!r} {event_id!r} was posted before"
        )
    if not fits(command.content, definition.content_type):
        if definition is context.definitions.external_event_def(definition.name):
            sentence = f"expected {definition.content_type or 'a value'}, found {kind_of(command.content)}"
        else:  # who looks at the definitions sees another one
            sentence = misfit(bound_by, definition, command.content)
        raise Refusal(
            RejectionCode.INVALID_ARGUMENT, f"content of ExternalEvent {command.external_event_def!r}: {sentence}"
        )
    content = stored(command.content, definition.content_type)
    unclaimed = run.index.unclaimed_events
    if unclaimed >= context.limits.unclaimed_events:
        raise Refusal(RejectionCode.RESOURCE_EXHAUSTED, f"{unclaimed} ExternalEvents are unclaimed already")
    size, most = size_of(content), context.limits.unclaimed_bytes
    if size > VALUE_BYTES_MAX:
        raise Refusal(
            RejectionCode.INVALID_ARGUMENT,
            f"content of ExternalEvent {command.external_event_def!r}: "
            f"expected at most {VALUE_BYTES_MAX} bytes, found {size} as it is written",
        )
    if run.index.unclaimed_bytes + size > most:
        found = f"found {run.index.unclaimed_bytes} in {unclaimed} and {size} in this one"
        raise Refusal(
            RejectionCode.RESOURCE_EXHAUSTED, f"expected at most {most} bytes in unclaimed ExternalEvents, {found}"
        )
    return content


def _forgettable(run: WfRun, context: Context) -> list[ExternalEventKeyRef]:
    """Return which remembered ExternalEvents may be forgotten, two at most (rule event-id-remembered).

    A few at each new ExternalEvent are enough to keep their number where it is.
    """
    limits = context.limits
    surplus = len(run.external_events) + 1 - limits.remembered_events
    if surplus <= 0:
        return []
    forgettable: list[ExternalEventKeyRef] = []
    for _, event_def, event_id in islice(run.index.remembered, FORGETTABLE_LOOKED_AT_MAX):
        event = run.external_events[event_def, event_id]
        if len(forgettable) >= min(surplus, 2) or event.posted_ms > run.time_ms - limits.remembered_ms:
            break
        if event.key not in run.index.awaiting:
            forgettable.append(ExternalEventKeyRef(event.external_event_def, event.external_event_id))
    return forgettable
