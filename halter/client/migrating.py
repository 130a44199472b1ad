"""Trying a migration: what the engine would decide, by its own rules, on the state as the topics have it now.

Sends nothing. Meanwhile the WfRun goes on, so what is true now may not be when a MigrateWfRun is folded.
"""

import time
from typing import Final

from halter.client.errors import CommandRejected
from processors.codec import Codec
from processors.core.records.commands import MigrateWfRun
from processors.core.records.events import Cause, LogEntry, Rejected, WfRunMigrated
from processors.core.records.model import WfRun
from processors.core.records.topic_names import WF_COMMANDS
from processors.core.rules.context import Context
from processors.core.rules.engine import attach, handle, new_run
from processors.core.wf_spec.definitions import Definitions

NO_OFFSET: Final = -1
"""The offset in the cause of events that did not happen."""


class Known:
    """The definitions that a client has read, as rules look them up."""

    def __init__(self, definitions: Definitions, position: int) -> None:
        self._definitions, self.position = definitions, position
        self.wf_spec, self.latest_wf_spec = definitions.wf_spec, definitions.latest_wf_spec
        self.task_def, self.workflow_event_def = definitions.task_def, definitions.workflow_event_def
        self.external_event_def = definitions.external_event_def


def tried(command: MigrateWfRun, run: WfRun | None, definitions: Definitions, codec: Codec) -> list[LogEntry]:
    """Return the events that a command would bring about, with all that follows in the same command.

    `run` is the caller's own, and is changed. Raises CommandRejected.
    """
    known = Known(definitions, command.definitions_position or 0)
    context = Context(known, migrations=codec.knows(WfRunMigrated.__name__))
    run = new_run(command.wf_run_id) if run is None else attach(run, context)
    cause = Cause(WF_COMMANDS, 0, NO_OFFSET, command.command_id, context.definitions.position)
    entries = handle(run, command, cause, time.time_ns() // 1_000_000, context)
    if isinstance(entries[0].event, Rejected):
        raise CommandRejected(entries[0], entries[0].event)
    return entries
