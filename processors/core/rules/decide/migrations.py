"""MigrateWfRun: a WfRun goes on by another version of its WfSpec."""

from collections.abc import Iterator

from processors.core.records.commands import MigrateWfRun
from processors.core.records.events import Event, Ignored, RejectionCode, WfRunMigrated
from processors.core.records.model import TERMINAL, Status, WfRun, WfSpecId
from processors.core.rules.bounds import MEASURES
from processors.core.rules.context import Context
from processors.core.rules.decide.refusals import Refusal, check_definitions, existing, version_to_run
from processors.core.rules.external_events import drop_unfit
from processors.core.rules.migrating import migration
from processors.core.rules.possible import Impossible
from processors.core.rules.restoring import note_restored


def migrated(run: WfRun, command: MigrateWfRun, context: Context) -> Iterator[Event]:
    """Take a WfRun over to a version that its state fits. Raises Refusal before the first event.

    A WfRun in ERROR may be taken over as well, to be rescued then (rule migrate-before-the-end). Unclaimed
    ExternalEvents are not offered again (rule migration-leaves-unclaimed-events), but what cannot be read as the
    version binds it is dropped (rule migration-drops-misfits).
    """
    existing(run)
    assert run.wf_spec is not None
    if not context.migrations:
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION, "workers of an earlier release run beside, which cannot read a migration"
        )
    if run.status in TERMINAL and run.status is not Status.ERROR:
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"the WfRun has ended, it is {run.status}")
    check_definitions(command, context)
    to = version_to_run(context, run.wf_spec.name, command.wf_spec_major, command.wf_spec_revision)
    if to == run.wf_spec:
        yield Ignored(MigrateWfRun.__name__, f"WfRun {run.wf_run_id!r} runs {to} already")
        return
    yield _checked(run, to, context)
    run.spec = context.definitions.wf_spec(to)
    note_restored(run)
    if context.binds_event_defs:
        yield from drop_unfit(run, context)


# (rule migrate-to-what-fits)
def _checked(run: WfRun, to: WfSpecId, context: Context) -> WfRunMigrated:
    """Return the migration. Raises Refusal with all that is in the way."""
    try:
        event = migration(run, to, context)
    except Impossible as problem:
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"its state does not fit {to}: {problem}") from None
    size, most = MEASURES[WfRunMigrated](event), context.limits.bytes_per_event
    if size > most:
        raise Refusal(
            RejectionCode.RESOURCE_EXHAUSTED,
            f"expected at most {most} bytes of names and values of Variables that come and go, found {size}",
        )
    return event
