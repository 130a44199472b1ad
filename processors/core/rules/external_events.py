"""ExternalEvents that came before their WfRun, or before its migration: how its WfSpec reads them.

Until a WfRun is started an ExternalEvent is checked against the newest revision of its ExternalEventDef. The WfSpec may
bind another one. What does not fit that is dropped when the WfRun starts, so that no node and no handler is ever given
a content of a type that it was not written for (docs/adr/0012). So is what does not fit the version that a migration
takes it to.
"""

from collections.abc import Iterator
from typing import Final

from processors.core.records.events import Definition, Event, ExternalEventDropped
from processors.core.records.model import WfRun, WfRunExternalEvent, WfSpecId
from processors.core.records.values import Value, fits, kind_of, stored
from processors.core.rules.context import Context

BEFORE_ITS_WF_RUN: Final = 0
"""The `posted_seq` of an ExternalEvent that came before its WfRun."""


def drop_unfit(run: WfRun, context: Context) -> Iterator[Event]:
    """Drop what came before this WfRun started, or went over to another version, and is not what its WfSpec binds.

    They are dropped by ExternalEventDef, and of each in the order of arrival (rule early-misfit-dropped).
    """
    assert run.spec is not None
    for event_def in sorted(run.spec.external_event_defs.intersection(run.index.unclaimed)):
        bound = context.definitions.external_event_def(event_def, run.wf_spec)
        if bound is None or bound.content_type is None:
            continue
        for event_id in list(run.index.unclaimed[event_def]):
            content = run.external_events[event_def, event_id].content
            if not fits(content, bound.content_type):
                yield ExternalEventDropped(event_def, event_id, misfit(run.wf_spec, bound, content))


def misfit(bound_by: WfSpecId | None, bound: Definition, content: Value) -> str:
    """Return the sentence for content that does not fit what a WfSpec binds, which may not be the newest revision."""
    return (
        f"expected {bound.content_type} as revision {bound.version} of ExternalEventDef {bound.name!r}, "
        f"which {bound_by} binds, found {kind_of(content)}"
    )


def content_of(run: WfRun, context: Context, event: WfRunExternalEvent) -> Value:
    """Return the content of an ExternalEvent as the type that the WfSpec binds stores it: an INT as DOUBLE.

    One that came before its WfRun, or before a migration, may have been checked against another revision.
    """
    if not context.binds_event_defs:
        return event.content  # as it was checked when it came
    bound = context.definitions.external_event_def(event.external_event_def, run.wf_spec)
    if bound is None or not fits(event.content, bound.content_type):
        return event.content  # its WfRun was started before WfSpecs bound anything
    return stored(event.content, bound.content_type)
