"""Compares handlers with the TaskDefs that are registered, before the first attempt is taken.

A TaskDef changes while task workers run, and older WfSpecs go on by its earlier revisions. So a handler that fitted
when it was deployed starts again; what no longer fits is a warning. Knows definitions and queues; takes no requests.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from halter.client import Client
from halter.task_worker.handlers import Handler
from halter.task_worker.task import WorkerNotStarted
from processors.core.records.commands import DefinitionKind
from processors.core.records.errors import HalterError
from processors.core.records.events import Definition
from processors.core.wf_spec.near_names import NearNames


def check_task_defs(client: Client, handlers: Iterable[Handler], topic: str, log: Any) -> None:
    """Compare typed handlers with their TaskDefs. Raises WorkerNotStarted with a sentence for each mismatch.

    A handler that was written to an earlier revision goes on: what no longer fits is a warning.
    """
    compared = [(it.task_def, it.mismatches) for it in handlers if it.mismatches is not None]
    if not compared:
        return
    try:
        definitions = client.definitions()
    except HalterError as error:
        # An installation of an earlier release gives task workers no right to read them.
        log.warning("task_defs_not_checked", reason=str(error))
        return
    known = definitions.names(DefinitionKind.TASK_DEF)
    problems, near = [], NearNames()
    for name, mismatches in compared:
        newest = definitions.task_def(name)
        if newest is None:
            hint = near.meant(name, known) or ": register it before (`halter spec put FILE`)"
            problems.append(f"@task({name!r}): expected a TaskDef of this name, found none{hint}")
            continue
        if newest.deleted:
            log.warning(
                "task_def_is_deleted", task_def=name, reason="only WfRuns that ran before request attempts of it"
            )
        revisions = definitions.versions(DefinitionKind.TASK_DEF, name)
        queue = client.topics.task_queue(newest.queue)
        if queue != topic:
            # What was requested before the TaskDef moved is still here.
            if topic not in {topic_of_queue(client, it) for it in revisions}:
                problems.append(f"@task({name!r}): expected a task worker of '{queue}', found one of '{topic}'")
                continue
            log.warning("task_def_moved", task_def=name, reason=f"attempts that are requested now go to '{queue}'")
        found = list(mismatches(newest))
        # The output of a deployed handler may be that of an earlier revision, which older WfSpecs bind.
        outputs = {it.output: it for it in revisions if it.output is not None}
        fitting = [it for it in outputs.values() if found and not any(mismatches(replace(newest, output=it.output)))]
        if fitting:
            log.warning(
                "task_def_changed",
                task_def=name,
                fits=str(fitting[-1].version),
                newest=str(newest.version),
                reason="; ".join(found),
            )
        else:
            problems += found
    if problems:
        raise WorkerNotStarted("\n".join(problems))


def topic_of_queue(client: Client, task_def: Definition) -> str | None:
    """Return the topic of a TaskDef's queue; None if it is no longer declared."""
    return client.topics.task_queues.get(task_def.queue) if task_def.queue else client.topics.task_requests
